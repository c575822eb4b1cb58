"""Where things lie in a video's latents: sections, keyframes, prompts. Cheap for any request that is accepted.

The service counts with it for each job it shows, so nothing here takes more than a walk along the sections with
a search among keyframes or prompts. What a section is given to see is `plan`'s business.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

from framepack.spec.parts import TimedPrompt
from framepack.spec.request import GenerationRequest
from framepack.spec.rules import shortened
from framepack.spec.tasks import TASKS
from framepack.spec.variants import VARIANTS

Weights = tuple[tuple[str, float], ...]
LEAST_SHARE = 1e-3
"""Of a text that blends into another; less is left out."""
LEAST_WEIGHT = 1e-6
"""Of a picture whose features describe a section; less is left out."""
REACH = 3
"""How many windows away a keyframe may lie from the section that sees it."""
DOUBTS = 5
"""Prompts, or keyframes, without effect that are named. Of others the message has the number."""


@dataclass(frozen=True, kw_only=True)
class PlacedKeyframe:
    """A keyframe that takes effect: bank key, timeline latent, strength.

    `shown`: it is that latent of the video itself; else only seen from both sides.
    """

    key: str
    latent: int
    strength: float
    shown: bool


class Change(NamedTuple):
    """Another text holds after `latent`, the last one that is still under the text before."""

    latent: int
    text: str


def keyframes_of(request: GenerationRequest) -> list[PlacedKeyframe]:
    """Keyframes with a strength, in timeline order. An end that is not shown stands just past the last latent.

    A keyframe on the very last latent is an end frame, or comes before it if there is one. No two are on one latent:
    a request refuses them.
    """
    end = request.end_frame if request.end_frame is not None and request.end_frame.strength > 0 else None
    placed = [("end", request.end_latent, end.strength)] if end else []
    for i, frame in enumerate(request.frames):
        if frame.strength > 0:
            placed.append((f"frame:{i}", request.keyframe_latent(frame.second), frame.strength))
    shown = VARIANTS[request.model].shows_keyframes
    keyframes = [PlacedKeyframe(key=key, latent=at, strength=strength, shown=shown) for key, at, strength in placed]
    if request.target is not None:
        keyframes.append(PlacedKeyframe(key="target", latent=request.latent_count + 1, strength=1.0, shown=False))
    return sorted(keyframes, key=lambda keyframe: keyframe.latent)


def keyframes_in(keyframes: Sequence[PlacedKeyframe], latents: range) -> Sequence[PlacedKeyframe]:
    """Those of the keyframes, which are in timeline order, that lie within."""
    first, end = (
        bisect_left(keyframes, at, key=lambda keyframe: keyframe.latent) for at in (latents.start, latents.stop)
    )
    return keyframes[first:end]


def is_backward(request: GenerationRequest) -> bool:
    """Whether the last section is made first."""
    return VARIANTS[request.model].planner == "inverted"


def tiles_of(request: GenerationRequest) -> list[range]:
    """The latents of each section, in the order they are made; keyframes that are shown lie between them."""
    total, before = request.latent_count, 0 if is_backward(request) else 1
    keyframes = keyframes_of(request)
    borders = [g.latent - before for g in keyframes if not g.shown and g.latent <= total]
    borders += [change.latent for change in changes_of(request)]
    tiles = tile(total, borders, request.window, [g.latent for g in keyframes if g.shown])
    return tiles[::-1] if is_backward(request) else tiles


def tile(total: int, borders: Sequence[int], window: int, taken: Sequence[int] = ()) -> list[range]:
    """Sections in timeline order that cover 1 .. total once, none longer than `window`, ending on each border.

    taken: latents that are there already, which none covers.
    """
    there = set(taken)
    edges = sorted({0, total, *(b for b in borders if 0 < b < total), *(e for k in taken for e in (k - 1, k))})
    tiles = []
    for low, high in pairwise(edges):
        if high in there:
            continue
        pieces = math.ceil((high - low) / window)
        cuts = [low + (high - low) * i // pieces for i in range(pieces + 1)]
        tiles += [range(a + 1, b + 1) for a, b in pairwise(cuts)]
    return tiles


def changes_of(request: GenerationRequest) -> list[Change]:
    """Where another text takes over, in timeline order: sections are cut there. Of several on one latent the last."""
    total, found = request.latent_count, dict[int, str]()
    whole = request.geometry.seconds_of(total, total, request.window)
    for prompt in timed_prompts(request):
        latent = round(prompt.second / whole * total)
        if latent < total:
            found[latent] = prompt.text
    texts = [request.prompt, *found.values()]
    changed = (Change(*change) for (before, change) in zip(texts, found.items(), strict=False) if change[1] != before)
    return list(changed)


def origin_of(changes: Sequence[Change], latents: range) -> int:
    """The latent where the text of a section began to hold: in inverted order its start picture is of that moment."""
    place = bisect_left(changes, latents.start, key=lambda change: change.latent)
    return max(changes[place - 1].latent, 0) if place else 0


def views_of(request: GenerationRequest, tiles: Sequence[range]) -> list[range]:
    """For each section the latents beyond it, on its far side, from which it is given keyframes.

    In inverted order they are also the empty places between its start picture and the section. What one text holds for
    is an inverted video of its own, whose start picture is the moment at which that text took over.
    """
    if not is_backward(request):
        return [range(latents.stop, latents.stop + REACH * request.window) for latents in tiles]
    changes, views = changes_of(request), []
    for origin, run in groupby(tiles, key=lambda latents: origin_of(changes, latents)):
        sections = list(run)
        for place, latents in enumerate(sections):
            far = request.window * (REACH if place == 0 or len(sections) <= 4 else 2)
            views.append(view_of(request, origin, latents.start, far))
    return views


def view_of(request: GenerationRequest, origin: int, latent: int, far: int) -> range:
    """The latents before `latent`, at most `far`, that lie behind the moment at which its text took over.

    A lead-in's start is not known: the picture that stands for it stays as far as it can be.
    """
    known = origin or request.task != "lead_in"
    return range(max(latent - far, origin + 1) if known else latent - far, latent)


def middle_of(request: GenerationRequest, latents: range) -> float:
    """Seconds from the video's begin to the middle of a section."""
    middle = (latents[0] + latents[-1]) / 2
    return request.geometry.seconds_of(middle, request.latent_count, request.window)


def timed_prompts(request: GenerationRequest) -> list[TimedPrompt]:
    """In the order of their seconds, which is not always that of the request."""
    return sorted(request.prompts, key=lambda prompt: prompt.second)


def prompt_at(request: GenerationRequest, changes: Sequence[Change], latents: range) -> str:
    """The text that holds for a section. changes: see `changes_of`."""
    place = bisect_left(changes, latents.start, key=lambda change: change.latent)
    return changes[place - 1].text if place else request.prompt


def blended_into(request: GenerationRequest, changes: Sequence[Change], latents: range) -> Weights:
    """Texts before and after the one that holds for a section, with their shares of it, where they blend into it.

    Around a change the later text's share rises linearly, from 0 to 1 within `blend` seconds; a section has its mean.
    """
    if not request.blend:
        return ()
    total, texts = request.latent_count, [request.prompt, *(change.text for change in changes)]
    width = request.blend / request.geometry.seconds_of(total, total, request.window) * total
    begin, end = latents.start - 1, latents.stop - 1
    first = bisect_left(changes, begin - width / 2, key=lambda change: change.latent)
    last = bisect_right(changes, end + width / 2, key=lambda change: change.latent)
    risen = [mean_rise(begin - change.latent, end - change.latent, width) for change in changes[first:last]]
    shares = [a - b for a, b in pairwise([1.0, *risen, 0.0])]
    own = bisect_left(changes, latents.start, key=lambda change: change.latent) - first
    return tuple(
        (texts[first + place], share) for place, share in enumerate(shares) if place != own and share > LEAST_SHARE
    )


def mean_rise(low: float, high: float, width: float) -> float:
    """Mean, from `low` to `high`, of what rises linearly from 0 to 1 between -width / 2 and width / 2."""

    def integral(x: float) -> float:
        return max(x, 0.0) if abs(x) >= width / 2 else (x + width / 2) ** 2 / (2 * width)

    return (integral(high) - integral(low)) / (high - low)


def still_from(request: GenerationRequest) -> float:
    """The latent from which on a model of few words has nothing but its prompt: no picture ahead and no LoRA."""
    if not VARIANTS[request.model].few_words or any(lora.strength for lora in request.loras):
        return math.inf
    if TASKS[request.task].clips:  # a video shows how things move
        return math.inf
    return max((keyframe.latent + 1 for keyframe in keyframes_of(request)), default=0)


def image_mix(keyframes: Sequence[PlacedKeyframe], latents: range) -> tuple[tuple[str, float], ...]:
    """Weights of the pictures whose features describe a section: linear in time between its two neighbours.

    What a neighbour's strength leaves over goes to the start image. Past the last keyframe, that one holds.
    """
    middle = (latents[0] + latents[-1]) / 2
    place = bisect_right(keyframes, middle, key=lambda keyframe: keyframe.latent)
    past, future = keyframes[place - 1] if place else None, keyframes[place] if place < len(keyframes) else None
    since = past.latent if past else 0
    share = (middle - since) / (future.latent - since) if future else 0.0
    mix = {g.key: w * g.strength for g, w in ((past, 1 - share), (future, share)) if g}
    rest = 1.0 - sum(mix.values())
    return tuple((key, weight) for key, weight in {"start": rest, **mix}.items() if weight > LEAST_WEIGHT)


def restated(request: GenerationRequest, index: int, latents: range) -> PlacedKeyframe | None:
    """The picture that a section sees once more: every so many, the nearest in time. None for none."""
    if not request.restate or (index + 1) % request.restate:
        return None
    middle = (latents[0] + latents[-1]) / 2
    pictures = [PlacedKeyframe(key="start", latent=0, strength=1.0, shown=True), *keyframes_of(request)]
    return min(pictures, key=lambda picture: abs(picture.latent - middle))


def unseen_keyframes(request: GenerationRequest) -> list[str]:
    """A sentence for each keyframe that no section is given: those in the first frames of a video."""
    keyframes, views = keyframes_of(request), views_of(request, tiles_of(request))
    given = {keyframe.key for view in views for keyframe in keyframes_in(keyframes, view)}
    given |= {one.key for one in keyframes if one.shown or one.latent > request.latent_count}
    seconds = [f.second for i, f in enumerate(request.frames) if f.strength and f"frame:{i}" not in given]
    return folded(
        [
            f"the keyframe at {second:g} s is used for its content only, not as a frame: it is too close to the "
            "start picture, so move it a little"
            for second in seconds
        ],
        "keyframes",
    )


def unused_prompts(request: GenerationRequest) -> list[str]:
    """A sentence for each timed prompt that no section takes."""
    if not request.prompts:
        return []
    used = {request.prompt, *(change.text for change in changes_of(request))}
    each = request.geometry.temporal
    return folded(
        [
            f"no section takes the prompt from {prompt.second:g} s on, {shortened(prompt.text)}: another one, or the "
            f"video's end, comes within {each} frames"
            for prompt in request.prompts
            if prompt.text not in used
        ],
        "timed prompts",
    )


def folded(sentences: list[str], what: str) -> list[str]:
    """At most DOUBTS sentences, and one with the number of the others."""
    more = len(sentences) - DOUBTS
    return [*sentences[:DOUBTS], f"{more} more {what} have no effect either"] if more > 0 else sentences
