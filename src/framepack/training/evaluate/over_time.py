"""What prompts over time and keyframes do: when a prompt takes over, how abruptly, and how near a keyframe is reached.

The moment is that of the true video, of the motions before and after it, which is nearest; the size of both motions is
found with it. Frames are seen through the preview's linear map, at the latents' own size and rate: a change of seconds
needs no more, and the VAE takes no time.
Boundary: latents in, numbers out; writes nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from framepack import FramePack, GenerationRequest
from framepack.pipeline.engine import SectionResult
from framepack.spec.geometry import HUNYUAN
from framepack.spec.plan import plan
from framepack.training.data.motions import MOTIONS, render
from framepack.training.evaluate.scenes import Picture

Small = NDArray[np.float32]
"""One small frame for each latent, (T, h, w, 3), grey levels 0..255."""
SPACING = 2
"""Frames between the moments that are tried last, beside the best of those that begin a latent."""
SIZES = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
"""Of a motion, that are tried."""
NORMAL = (1.0, 1.0)


def latents_of(framepack: FramePack, request: GenerationRequest) -> Tensor:
    """The latents of all sections, (1, C, N, h, w), in timeline order; keyframes that lie between them are left out."""
    made = framepack.sections(request, frames_from=len(plan(request.resolved())))
    found = [event for event in made if isinstance(event, SectionResult)]
    return torch.cat([one.latents for one in sorted(found, key=lambda one: one.section.latents.start)], dim=2)


class TrueChanges:
    """True videos in which one motion takes over from another, at any frame and with either motion of any size.

    The second motion begins from the picture of that moment, as a text does that takes over: light that rose falls from
    there at once, and a picture that has turned is panned across the screen.
    """

    def __init__(self, picture: Picture, before: str, after: str, latents: int) -> None:
        """Of latents 1 .. `latents`. before, after: keys of MOTIONS."""
        self._start = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        self.motions, self._latents = (before, after), latents
        covered = torch.arange(1, latents + 1)[:, None] * HUNYUAN.temporal - torch.tensor([2.5, 0.5])
        self._frames = covered.flatten()

    def small(self, change: float, sizes: tuple[float, float] = NORMAL) -> Small:
        """The video in which the motion changes at a frame. sizes: of each motion, 1 as its prompt means it."""
        first, second = (MOTIONS[motion].row() * size for motion, size in zip(self.motions, sizes, strict=True))
        early, late = self._frames[self._frames <= change], self._frames[self._frames > change] - change
        moment = render(self._start, (change * first)[None, None])[:, :, 0]
        parts = [(self._start, early, first), (moment, late, second)]
        shown = [render(start, (at[:, None] * rates)[None]) for start, at, rates in parts if len(at)]
        frames = avg_pool2d(torch.cat(shown, dim=2)[0].transpose(0, 1) * 127.5 + 127.5, HUNYUAN.spatial)
        return frames.unflatten(0, (self._latents, 2)).mean(1).permute(0, 2, 3, 1).numpy()

    def nearest(self, video: Small) -> "Takeover":
        """The moment and the sizes whose true video is nearest, by least squares over all of them together.

        Sizes of one motion are tried with all of the other, as a motion that is too small looks like one that begins
        late: with both at 1 it is off by up to two seconds in true videos of other sizes (docs/control.md).
        """
        errors = self._videos.square().sum(1) - 2 * self._videos @ torch.from_numpy(video).flatten()
        frame, before, after = self._tried[int(errors.argmin())]
        beside = (max(frame - SPACING, 0), frame, min(frame + SPACING, HUNYUAN.temporal * self._latents))
        best = min(beside, key=lambda at: float(np.square(video - self.small(at, (before, after))).mean()))
        return Takeover(second=best / HUNYUAN.fps, before=before, after=after)

    @cached_property
    def _tried(self) -> list[tuple[float, float, float]]:
        """A change at each latent, with all sizes of both motions; one that stands still has none."""
        frames = range(0, HUNYUAN.temporal * self._latents + 1, HUNYUAN.temporal)
        before, after = ((1.0,) if motion == "still" else SIZES for motion in self.motions)
        return list(product(frames, before, after))

    @cached_property
    def _videos(self) -> Tensor:
        """(tried, all levels of a small video)"""
        return torch.stack([torch.from_numpy(self.small(at, (a, b))).flatten() for at, a, b in self._tried])


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """When a second motion takes over, and the size of both: 1 as their prompts mean them."""

    second: float
    before: float
    after: float


class Step(NamedTuple):
    """The largest change from one latent to the next."""

    size: float
    """Over the median of those before or after the change of motion: of the two the one in which more happens."""
    second: float
    """When it is, not always at the change."""


def largest_step(video: Small, change: float) -> Step:
    """Of a video whose motion changes at a second."""
    steps = np.abs(np.diff(video.mean(axis=-1), axis=0)).mean(axis=(1, 2))
    place = min(max(round(change * HUNYUAN.fps / HUNYUAN.temporal), 1), len(steps) - 1)
    size = steps.max() / max(np.median(steps[:place]), np.median(steps[place:]))  # a still has no steps
    return Step(float(size), (int(steps.argmax()) + 1) * HUNYUAN.temporal / HUNYUAN.fps)
