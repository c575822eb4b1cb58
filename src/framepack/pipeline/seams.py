"""Frames of the new part where they meet a source's: each gets what the VAE makes of the source differently.

The source's frame at the seam less what the VAE makes of it is added, and fades over a section. Its fine detail fits
only where a frame still shows the same: elsewhere the frame's own detail is made stronger, by as much as the VAE
weakens the source's. Boundary: decoded frames in, frames out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.pipeline.given import Given
from framepack.spec.plan import SectionPlan

FINE = 5
"""Pixels a side of the square whose mean is coarse; the rest is fine detail."""
NEAR = 17
"""Pixels a side of the square in which two frames are compared."""
PHASES = 4
"""Frames of a source whose detail is measured: the VAE's frames differ by their place in a latent."""
MOST, LEAST_MORE = 1.0, -0.5
"""Times its own detail that a frame may be given beside it."""
LUMA = (0.299, 0.587, 0.114)
LEAST = 1e-4


def joined(clip: Tensor, section: SectionPlan, given: Given) -> Tensor:
    """A decoded clip, float32 (T, H, W, 3), without the frames that are not the video's, drawn to those beside it."""
    first, last = section.dropped
    kept, frames = clip[first : len(clip) - last], len(section.latents) * given.sources.temporal
    before, after = section.meets
    if before:
        kept = continued(kept, clip[:first].flip(0), theirs(given, before, -1), frames)
    if after:
        kept = continued(kept.flip(0), clip[len(clip) - last :], theirs(given, after, 1), frames).flip(0)
    return kept


def theirs(given: Given, side: str, order: int) -> Tensor:
    """The source's frames next to the new part, nearest first, (t, H, W, 3) in -1..1.

    They are such as `to_uint8` turns into the same levels. order: -1 where the source comes before, else 1.
    """
    frames = given.sources.clips[side].end[::order][:PHASES].copy()  # type: ignore[index]
    return (torch.from_numpy(frames).float() + 0.5 - 127.5) / 127.5


def continued(frames: Tensor, decoded: Tensor, source: Tensor, count: int) -> Tensor:
    """New frames (T, H, W, 3), nearest first, drawn to a source's frames, less and less over `count` of them.

    source, decoded: the source's frames, nearest first, and what the VAE makes of them.
    """
    decoded = decoded[: len(source)]
    offset = source[0] - decoded[0]
    coarse, shown = mean_near(offset[None], FINE)[0], detail(decoded[:1])
    more = lacking(decoded, source)
    drawn = frames.clone()
    for index, frame in enumerate(frames[:count]):
        share, own = 1 - (index + 1) / (count + 1), detail(frame[None])
        same = likeness(own, shown)[0]
        # details that are not the same add up by their squares
        rest = (1 - same.square()).sqrt()
        drawn[index] += share * (coarse + same * (offset - coarse) + rest * more * own[0])
    return drawn


def lacking(decoded: Tensor, source: Tensor) -> float:
    """How many times their own detail decoded frames (T, H, W, 3) need beside it to be as sharp as the source's."""
    own = sharpness(decoded)
    once = sharpness(decoded + detail(decoded)) - own
    return min(max((sharpness(source) - own) / max(once, LEAST), LEAST_MORE), MOST)


def sharpness(frames: Tensor) -> float:
    """The mean length of the brightness' gradient."""
    luma = frames @ frames.new_tensor(LUMA)
    return float(torch.hypot(luma.diff(dim=2)[:, :-1], luma.diff(dim=1)[:, :, :-1]).mean())


def mean_near(frames: Tensor, side: int) -> Tensor:
    """The mean of a square around each pixel: (T, H, W, C) to the same."""
    edge = side // 2
    padded = F.pad(frames.movedim(-1, 1), (edge, edge, edge, edge), mode="replicate")
    return F.avg_pool2d(padded, side, stride=1).movedim(1, -1)


def detail(frames: Tensor) -> Tensor:
    """What is fine in frames (T, H, W, 3)."""
    return frames - mean_near(frames, FINE)


def likeness(one: Tensor, other: Tensor) -> Tensor:
    """How far two frames' detail, (1, H, W, 3) each, is the same around each pixel: (1, H, W, 1), 0..1."""
    product, first, second = (
        mean_near(part.sum(-1, keepdim=True), NEAR) for part in (one * other, one.square(), other.square())
    )
    return (product / (first * second).sqrt().clamp(min=LEAST**2)).clamp(0, 1)
