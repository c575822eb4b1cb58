"""Which section is made when, from what context: the whole difference between the variants, as data.

A plan covers the latent timeline 0 .. N once: latent 0 is the start image, sections tile 1 .. N. Indices called
`at` are RoPE time indices, counted afresh in each section. Knows nothing of tensors or models.
Source: FramePack (arXiv 2504.12626) and the public application's two orders; keyframes are further 1x spans.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from framepack.spec.cuts import Cut, cuts
from framepack.spec.ends import past_of
from framepack.spec.geometry import Geometry, TimeTiles
from framepack.spec.parts import Still
from framepack.spec.redo import index_of, made_anew
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import (
    LEAST_WEIGHT,
    REACH,
    PlacedKeyframe,
    blended_into,
    changes_of,
    image_mix,
    is_backward,
    keyframes_in,
    keyframes_of,
    origin_of,
    prompt_at,
    restated,
    still_from,
    tiles_of,
    views_of,
)
from framepack.spec.variants import VARIANTS
from framepack.spec.windows import NEIGHBOUR, ContextSpan, Noise, Window, single, steered


@dataclass(frozen=True, kw_only=True)
class SectionPlan(Window, Cut):
    """One section: its place and what it sees."""

    stay: tuple[str, str] = ("", "")
    """Latents right before and behind it that stay as they are, which it is drawn to: "history" or bank keys."""


def plan(request: GenerationRequest) -> tuple[SectionPlan, ...]:
    """The sections of `request` in the order they are made."""
    origin = 0 if is_backward(request) else 1
    if request.still is not None:
        return (steered(pictured(one_frame(request, request.still), request), request, origin),)
    keyframes, changes = keyframes_of(request), changes_of(request)
    sections = (
        SectionPlan(
            **vars(cut),
            at=at,
            context=context,
            noise=Noise(request.seed, cut.index),
            prompt=prompt_at(request, changes, cut.latents),
            still=cut.latents.start >= still_from(request),
            blended=blended_into(request, changes, cut.latents),
            image=image_mix(keyframes, cut.latents),
            # a loop's first section begins from a picture
            stay=("before" if cut.meets[0] == "before" else "", cut.meets[1]),
        )
        for cut, (at, context) in zip(
            cuts(request), PLANNERS[VARIANTS[request.model].planner](request, tiles_of(request)), strict=True
        )
    )
    taken = retaken(request, tuple(sections))
    return tuple(steered(pictured(section, request), request, origin) for section in taken)


def pictured(section: SectionPlan, request: GenerationRequest) -> SectionPlan:
    """The section with the pictures that it sees beside its frames', in the start picture's place: index 0."""
    if again := restated(request, section.index, section.latents):
        section = replace(section, context=(*section.context, single(again.key, 0)))
    reference = request.reference
    if reference is None or reference.strength == 0:
        return section
    share = reference.strength / 2
    mix = (*((key, weight * (1 - share)) for key, weight in section.image), ("reference", share))
    image = tuple((key, weight) for key, weight in mix if weight > LEAST_WEIGHT)
    return replace(section, context=(*section.context, single("reference", 0, reference.strength)), image=image)


def one_frame(request: GenerationRequest, still: Still) -> SectionPlan:
    """One latent, so far from the start picture; the places of a video's other sections are empty.

    In forward order the start picture is the newest of the history as well, as in a video's first section.
    """
    geometry, backward = request.geometry, is_backward(request)
    index = still_index(request, still)
    at = index if backward or not still.context else geometry.history + index
    places = range(at + 1, at + 1 + geometry.history) if backward else range(geometry.history, 0, -1)
    context = tuple(seen(geometry, places)) if still.context else ()
    return SectionPlan(
        **vars(cuts(request)[0]),
        at=range(at + 1 - still_width(request, index), at + 1),
        context=(single("start", 0), *context),
        noise=Noise(request.seed),
        prompt=request.prompt,
        still=index >= still_from(request),
        image=(("start", 1.0),),
    )


def still_width(request: GenerationRequest, index: int) -> int:
    """Latents of the window of which a still is the last; it lies `index` latents after the picture it begins from."""
    return min(VARIANTS[request.model].still_window, request.window, index)


def still_index(request: GenerationRequest, still: Still) -> int:
    """Latents between the start picture and a still."""
    if still.at is None:
        return still.index or request.window
    latent = request.geometry.latent_of_frame(round(still.at * request.geometry.fps))
    return min(max(latent, 1), farthest_still(request))


def farthest_still(request: GenerationRequest) -> int:
    """Latents from the start picture beyond which models have seen nothing."""
    return (REACH + 1) * request.window


def retaken(request: GenerationRequest, sections: tuple[SectionPlan, ...]) -> tuple[SectionPlan, ...]:
    """The plan of the request's latest take: each redone section has its noise and prompt, `between` its layout."""
    taken = list(sections)
    for redo in request.redo:
        index = index_of(request, redo.section)
        noise, prompt = Noise(redo.seed, index), redo.prompt
        taken[index] = replace(taken[index], noise=noise, prompt=taken[index].prompt if prompt is None else prompt)
    if request.redo and request.redo[-1].only:
        last = made_anew(request)[0]
        near, far = taken[last - 1] if last else None, taken[last + 1] if last < len(taken) - 1 else None
        taken[last] = between(taken[last], near, far)
    return tuple(taken)


def between(section: SectionPlan, near: SectionPlan | None, far: SectionPlan | None) -> SectionPlan:
    """The section made beside neighbours that stay, with what stands on its far side in view.

    The near one, made before it, is its history; of the far one the nearest latent is one more 1x at its true index,
    in place of a keyframe there. The engine finds it as `NEIGHBOUR`. A picture between two sections is in view anyway.
    """
    backward = section.direction == "backward"
    keys = ["history" if near and touch(near, section) else "", NEIGHBOUR if far and touch(far, section) else ""]
    earlier, later = keys[::-1] if backward else keys
    section = replace(section, stay=(earlier or section.stay[0], later or section.stay[1]))
    if far is None or not keys[1]:
        return section
    at = int(section.at[0]) - 1 if backward else int(section.at[-1]) + 1
    nearest = len(far.latents) - 1 if backward else 0
    seen_there = replace(single(NEIGHBOUR, at), take=range(nearest, nearest + 1))
    own = 1 + next(place for place, span in enumerate(section.context) if span.source == "history")
    others = (span for span in section.context[own:] if span.source == "history" or at not in span.at)
    return replace(section, context=(*section.context[:own], seen_there, *others))


def touch(one: SectionPlan, other: SectionPlan) -> bool:
    """Whether no picture lies between two sections that follow one another."""
    return one.latents.stop == other.latents.start or other.latents.stop == one.latents.start


Sight = tuple[Sequence[float], tuple[ContextSpan, ...]]
"""The RoPE indices of a section's window, and what it sees."""


def inverted(request: GenerationRequest, tiles: Sequence[range]) -> Iterator[Sight]:
    """Inverted anti-drifting: the last section first, each seeing its start picture and the future made so far.

    Those that begin from the start picture itself see what is known before it, too.
    """
    keyframes, changes = keyframes_of(request), changes_of(request)
    for j, (latents, view) in enumerate(zip(tiles, views_of(request, tiles), strict=True)):
        origin = origin_of(changes, latents)
        at, (start, *others) = beyond(view, len(latents), request.geometry, keyframes, origin)
        past = past_of(request, tiles, j) if origin == 0 else None
        known = [ContextSpan(source=past[0], take=past[1], at=past[2], scale=1)] if past else []
        yield at, (start, *known, *others)


def beyond(view: range, count: int, geometry: Geometry, keyframes: Sequence[PlacedKeyframe], origin: int) -> Sight:
    """What `count` latents right beyond the empty places of `view` see: start picture, future, keyframes in between."""
    at = range(1 + len(view), 1 + len(view) + count)
    near, *far = seen(geometry, range(at.stop, at.stop + geometry.history))
    ahead = (single(g.key, 1 + g.latent - view.start) for g in keyframes_in(keyframes, view))
    return at, (single(start_at(keyframes, origin), 0), near, *ahead, *far)


def start_at(keyframes: Sequence[PlacedKeyframe], origin: int) -> str:
    """Key of the picture of the moment at which a text takes over: a keyframe that is there, else made as a still."""
    there = keyframes_in(keyframes, range(origin, origin + 1))
    return "start" if origin == 0 else there[0].key if there else f"still:{origin}"


def forward(request: GenerationRequest, tiles: Sequence[range]) -> Iterator[Sight]:
    """F1: from the start on, each section seeing the start image and the newest 19 latents of the past."""
    keyframes, first = keyframes_of(request), 1 + request.geometry.history
    near, *far = seen(request.geometry, range(first - 1, 0, -1))
    for latents, view in zip(tiles, views_of(request, tiles), strict=True):
        ahead = (single(g.key, first + g.latent - latents.start) for g in keyframes_in(keyframes, view))
        yield range(first, first + len(latents)), (single("start", 0), near, *ahead, *far)


def seen(geometry: Geometry, at: range) -> Iterator[ContextSpan]:
    """The history in full detail, at half and at a quarter of it. at: the RoPE index of each latent, nearest first.

    A span's latents are in the order of time, as the model was trained.
    """
    first = 0
    for scale, count in zip(SCALES, geometry.context, strict=True):
        take, order = range(first, first + count), 1 if at.step > 0 else -1
        yield ContextSpan(source="history", take=take[::order], at=at[take.start : take.stop][::order], scale=scale)
        first += count


SCALES = (1, 2, 4)
PLANNERS: dict[str, Callable[[GenerationRequest, Sequence[range]], Iterator[Sight]]] = {
    "inverted": inverted,
    "forward": forward,
}


def new_tiles(sections: Sequence[Cut], tiles: TimeTiles) -> Iterator[list[range]]:
    """For each section the tiles of its clip, in latents, that the clip before did not hold: those that are decoded."""
    known = set[range]()
    for section in sections:
        repeats = section.repeats
        first = section.first
        there = {tile: range(first + tile.start, first + tile.stop) for tile in tiles.of(section.decode_latents)}
        yield [tile for tile, latents in there.items() if latents not in known]
        known = {there[tile] for tile in there if tile.start >= repeats.start and tile.stop <= repeats.stop}


def final_frames(sections: tuple[SectionPlan, ...]) -> list[range]:
    """For each section, the frames of the final video that settle with it; together they are every frame once."""
    total = sum(section.frames for section in sections)
    made, edge, settled = 0, 0, []
    for section in sections:
        made += section.frames
        count = made - section.provisional - edge
        first = edge if section.direction == "forward" else total - edge - count
        settled.append(range(first, first + count))
        edge += count
    return settled


def delivery(request: GenerationRequest) -> str:
    """What will be made, in a line: seconds, frames and sections of the file."""
    if request.still is not None:
        return "1 picture"
    sections, frames, rate = len(tiles_of(request)), request.delivered_frames, request.output.fps
    order = ", the end first" if VARIANTS[request.model].planner == "inverted" and sections > 1 else ""
    each = "" if rate == request.geometry.fps else f" at {rate:.5g} a second"
    each += "" if request.output.speed == 1 else f", {request.output.speed:g} times as fast"
    shown = f"{round(frames / rate, 2):g} s · {frames} frame{'s' * (frames > 1)}{each}"
    return f"{shown} · {sections} section{'s' * (sections > 1)}{order}"
