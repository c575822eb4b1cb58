"""Where the sections of a video are cut, how each joins those before it, and which pictures lie between them.

Far quicker than a whole plan, as nothing here says what a section sees. No tensors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from framepack.spec.ends import End, HistoryLatent, early, late
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import is_backward, keyframes_in, keyframes_of, tiles_of


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A section's place in the timeline and in the video, without what it sees. `latents` is its place."""

    index: int
    latents: range
    direction: Literal["backward", "forward"]
    before: tuple[HistoryLatent, ...] = ()
    after: tuple[HistoryLatent, ...] = ()
    decode_latents: int
    """Latents at the growing edge that are decoded once this section is made."""
    overlap: int
    """Frames of that clip which cross-fade with the video so far."""
    frames: int
    """Frames that it adds to the video."""
    provisional: int
    """Frames at the growing edge that the next section will still blend; 0 in the last one."""
    first: int
    """The clip's first latent, in the timeline."""
    dropped: tuple[int, int] = (0, 0)
    """Frames at the clip's beginning and end that are not the video's."""
    meets: tuple[str, str] = ("", "")
    """Clips of a source that lie right before and behind it; see `ends.End`."""

    @property
    def repeats(self) -> range:
        """Latents of the decoded clip that the next section's clip holds too."""
        again = len(self.latents) if self.provisional else 0
        return range(again) if self.direction == "backward" else range(self.decode_latents - again, self.decode_latents)


def cuts(request: GenerationRequest) -> tuple[Cut, ...]:
    """The sections of `request` in the order they are made, without what they see.

    After a section it and its predecessor are decoded, cross-faded where the predecessor was decoded. The first one
    decodes all there is. In frames, the predecessor's own L latents are 4 L - 3 frames when decoded as the head of a
    clip, and that is the overlap.
    """
    tiles, backward, geometry = tiles_of(request), is_backward(request), request.geometry
    if request.still is not None:
        return (alone(tiles[0], backward=backward),)
    first, last, nothing = early(request, tiles), late(request), End()
    begins = len(tiles) - 1 if backward else 0
    made, previous = [], 0
    for j, (latents, (before, after)) in enumerate(zip(tiles, pictures_between(request, tiles), strict=True)):
        head, tail = first if j == begins else nothing, last if j == 0 else nothing
        decoded = len(latents) + previous + len(before) + len(after) + head.decoded + tail.decoded
        overlap = geometry.frames_of(previous) if previous else 0
        made.append(
            Cut(
                index=j,
                latents=latents,
                direction="backward" if backward else "forward",
                before=(tail.history if backward else head.history) + before,
                after=after + (head.history if backward else ()),
                decode_latents=decoded,
                overlap=overlap,
                frames=geometry.frames_of(decoded) - overlap - head.dropped - tail.dropped,
                provisional=geometry.frames_of(len(latents)) if geometry.overlap and j < len(tiles) - 1 else 0,
                first=latents.start - len(after) - head.decoded if backward else latents.stop + len(after) - decoded,
                dropped=(head.dropped, tail.dropped),
                meets=(head.meets, tail.meets),
            )
        )
        previous = len(latents) if geometry.overlap else 0
    return tuple(made)


def alone(latents: range, *, backward: bool) -> Cut:
    """The place of a latent that is a picture by itself."""
    start = HistoryLatent(source="start", shown=False)
    return Cut(
        index=0,
        latents=latents,
        direction="backward" if backward else "forward",
        before=() if backward else (start,),
        decode_latents=1,
        overlap=0,
        frames=1,
        provisional=0,
        first=latents.start,
    )


Pictures = tuple[HistoryLatent, ...]


def pictures_between(request: GenerationRequest, tiles: Sequence[range]) -> Iterator[tuple[Pictures, Pictures]]:
    """For each section the keyframes that are shown between sections: those that join the history before it, and after.

    In the order in which they join it.
    """
    keyframes, backward, total = keyframes_of(request), is_backward(request), request.latent_count

    def between(low: int, high: int) -> Pictures:
        there = [HistoryLatent(source=one.key) for one in keyframes_in(keyframes, range(low, high)) if one.shown]
        return tuple(there[::-1] if backward else there)

    edge, last = total + 1 if backward else 0, len(tiles) - 1
    for j, latents in enumerate(tiles):
        if backward:
            yield between(latents.stop, edge), between(1, latents.start) if j == last else ()
        else:
            yield between(edge + 1, latents.start), between(latents.stop, total + 1) if j == last else ()
        edge = latents.start if backward else latents.stop - 1
