"""What a plan's timeline has beyond its latents: a start picture, a source's tail or head, itself where it is a loop.

Keys of the bank: "before" is the end of a clip that the video goes on from, "after" the beginning of one it leads to
(of a loop, its start standing still): as many latents as the history has, zeros where a clip has fewer than that and
more than LEAST. "section:0" is the first one made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from framepack.spec.geometry import Geometry
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import is_backward, keyframes_of

LEAST = 4
"""Latents of a source that are decoded beside the new ones; a shorter clip stands still for the rest of them."""
MADE_FIRST = "section:0"
FURTHER = 2
"""Latents of the past beyond the start that inverted sections see where there are any."""


class HistoryLatent(NamedTuple):
    """Bank latents that join the history at its growing edge; `shown` ones are part of the video as well.

    `take`: those of a clip, all where it is None.
    """

    source: str
    shown: bool = True
    take: range | None = None


@dataclass(frozen=True, kw_only=True)
class End:
    """What lies at one end of the timeline."""

    history: tuple[HistoryLatent, ...] = ()
    decoded: int = 0
    """Latents of it that are decoded with the section next to it."""
    dropped: int = 0
    """Frames of these that are not the new part's."""
    meets: str = ""
    """The clip whose frame is next; new frames are drawn towards it."""


def early(request: GenerationRequest, tiles: Sequence[range]) -> End:
    """Before latent 1. tiles: the sections' latents in the order they are made."""
    geometry = request.geometry
    start = HistoryLatent(source="start", shown=geometry.overlap)
    if "before" in request.beside:
        take = range(geometry.history - LEAST, geometry.history) if is_backward(request) else None
        before = HistoryLatent(source="before", shown=False, take=take)
        return End(history=(before,), decoded=LEAST, dropped=geometry.frames_of(LEAST), meets="before")
    if request.task == "lead_in":
        return End()
    if request.task == "loop":
        around = HistoryLatent(source=MADE_FIRST, shown=False)
        # of the start's frames the last one is shown: it is one picture
        dropped = geometry.frames_of(len(tiles[0])) + geometry.temporal - 1
        return End(history=(start, around), decoded=1 + len(tiles[0]), dropped=dropped, meets="after")
    return End(history=(start,), decoded=int(geometry.overlap))


def late(request: GenerationRequest) -> End:
    """Behind the last latent; nothing in forward order."""
    if not is_backward(request):
        return End()
    if "after" in request.beside or request.task == "loop":  # which leads to its own start
        after = HistoryLatent(source="after", shown=False)
        dropped = LEAST * request.geometry.temporal
        return End(history=(after,), decoded=LEAST, dropped=dropped, meets="after")
    ends = [keyframe for keyframe in keyframes_of(request)[-1:] if keyframe.latent > request.latent_count]
    return End(history=tuple(HistoryLatent(source=end.key, shown=False) for end in ends))


def past_of(request: GenerationRequest, tiles: Sequence[range], index: int) -> tuple[str, range, range] | None:
    """In inverted order, what is known before the start: its bank key, which of its latents, their RoPE indices."""
    if "before" in request.beside:
        last = request.geometry.history - 1  # the start picture stands for it
        return "before", range(last - FURTHER, last), range(-FURTHER, 0)
    if request.task == "loop" and index:
        count = min(len(tiles[0]), FURTHER)
        return MADE_FIRST, range(len(tiles[0]) - count, len(tiles[0])), range(-count, 0)
    return None


def source_latents(geometry: Geometry) -> int:
    """Latents of a source that are encoded in one causal pass, of which those next to the new part are used."""
    return geometry.history + 8
