"""What prompts over time and keyframes do: when a prompt takes over, how abruptly, and how near a keyframe is reached.

The moment is that of the true video, of the motions before and after it, which is nearest. Frames are seen through the
preview's linear map, at the latents' own size and rate: a change of seconds needs no more, and the VAE takes no time.
Boundary: latents in, numbers out; writes nothing.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from framepack import FramePack, GenerationRequest
from framepack.pipeline.engine import SectionResult
from framepack.spec.geometry import HUNYUAN
from framepack.spec.plan import plan
from framepack.training.data.motions import MOTIONS, render, state_at
from framepack.training.evaluate.scenes import Picture

Small = NDArray[np.float32]
"""One small frame for each latent, (T, h, w, 3), grey levels 0..255."""
SPACING = 2
"""Frames between the moments that are tried."""


def latents_of(framepack: FramePack, request: GenerationRequest) -> Tensor:
    """The latents of all sections, (1, C, N, h, w), in timeline order; keyframes that lie between them are left out."""
    made = framepack.sections(request, frames_from=len(plan(request.resolved())))
    found = [event for event in made if isinstance(event, SectionResult)]
    return torch.cat([one.latents for one in sorted(found, key=lambda one: one.section.latents.start)], dim=2)


def true_small(picture: Picture, before: str, after: str, latents: int, change: float) -> Small:
    """The true frames of latents 1 .. N where one motion takes over from another at frame `change`."""
    rates = [MOTIONS[motion].row()[None] for motion in (before, after)]
    covered = torch.arange(1, latents + 1)[:, None] * HUNYUAN.temporal - torch.tensor([2.5, 0.5])
    state = state_at(covered.flatten(), rates[0], rates[1], torch.tensor([change]))
    levels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    frames = avg_pool2d(render(levels, state)[0].transpose(0, 1) * 127.5 + 127.5, HUNYUAN.spatial)
    return frames.unflatten(0, (latents, 2)).mean(1).permute(0, 2, 3, 1).numpy()


def takes_over(video: Small, truth: Callable[[float], Small]) -> float:
    """Seconds at which the second motion takes over. truth: the true video of a change at a frame."""
    moments = range(0, HUNYUAN.temporal * len(video) + 1, SPACING)
    return min(moments, key=lambda moment: float(np.square(video - truth(moment)).mean())) / HUNYUAN.fps


def largest_step(video: Small, change: float) -> float:
    """The largest change from one latent to the next, over the median of those before or after the change.

    Of the two the one in which more happens: a still has no steps.
    """
    steps = np.abs(np.diff(video.mean(axis=-1), axis=0)).mean(axis=(1, 2))
    place = min(max(round(change * HUNYUAN.fps / HUNYUAN.temporal), 1), len(steps) - 1)
    return float(steps.max() / max(np.median(steps[:place]), np.median(steps[place:])))
