"""A storyboard: one still for each border between a video's sections, and one for its end, before the video is made.

A still costs a ninth of a section's tokens. Those that someone likes become the video's keyframes. No tensors.
"""

from typing import NamedTuple

from framepack.spec.parts import Still
from framepack.spec.plan import farthest_still
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import changes_of, keyframes_of, prompt_at, tiles_of
from framepack.spec.variants import VARIANTS


class Panel(NamedTuple):
    """One picture of a storyboard: when the video would pass through it, and the request that makes it."""

    second: float
    request: GenerationRequest

    @property
    def label(self) -> str:
        """The time, for people."""
        return f"{self.second:g} s"


def storyboard(request: GenerationRequest) -> list[Panel]:
    """The panels of the video of `request`, in the order of time; borders that have a picture already are left out.

    Raises ValueError where there would be none, and for a model that takes no keyframes.
    """
    if request.still is not None or request.redo:
        raise ValueError("a storyboard is made of a video's request: leave still and redo out")
    if not VARIANTS[request.model].keyframes_ahead:
        raise ValueError(f"{request.model} takes no keyframes, which stills are for: use model framepack")
    changes, taken = changes_of(request), {keyframe.latent for keyframe in keyframes_of(request)}
    ends = sorted(tile.stop - 1 for tile in tiles_of(request))
    borders = [end for end in ends if not taken & {end, end + 1}]  # a picture ends a section, or stands right behind it
    if not borders:
        raise ValueError("each border between sections has a picture already: a storyboard would add none")
    return [panel(request, border, prompt_at(request, changes, range(border, border + 1))) for border in borders]


def still_at(request: GenerationRequest, second: float | None = None) -> GenerationRequest:
    """The request of one frame of the video of `request`: at a second, or as far from the start as a section is long.

    Raises ValueError for a second outside of the video.
    """
    total, length = request.latent_count, request.frame_count / request.geometry.fps
    if second is not None and not 0 < second <= length:
        raise ValueError(f"the frame must lie after 0 and within the video's {length:.2f} s, got {second:g} s")
    latent = request.window if second is None else request.geometry.latent_at(second, total, request.window)
    latent = min(latent, total)
    return panel(request, latent, prompt_at(request, changes_of(request), range(latent, latent + 1))).request


def panel(request: GenerationRequest, border: int, prompt: str) -> Panel:
    """The still at latent `border`. Far ones lie as far from the start as the model was trained to see, not farther."""
    length = request.frame_count / request.geometry.fps
    second = round(min(request.geometry.seconds_of(border, request.latent_count, request.window), length), 3)
    index = min(border, farthest_still(request))
    said = {
        **request.model_dump(),
        "prompt": prompt,
        "still": Still(index=index),
        "frames": (),
        "end_frame": None,
        "prompts": (),
        "blend": 0,
        "guard": 0,
        "finish": {},
        "output": {"mark": request.output.mark},
    }
    return Panel(second, GenerationRequest.model_validate(said))
