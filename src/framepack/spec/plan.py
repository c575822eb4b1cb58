"""Which section is made when, from what context: the whole difference between the variants, as data.

A plan covers the latent timeline 0 .. N once: latent 0 is the start image, sections tile 1 .. N. Indices called
`at` are RoPE time indices, counted afresh in each section. Knows nothing of tensors or models.
Source: FramePack (arXiv 2504.12626) and the public application's two orders; guide frames are further 1x spans.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypedDict

from framepack.spec.request import GenerationRequest
from framepack.spec.shapes import FPS, frames_of, guide_latent, section_count
from framepack.spec.variants import VARIANTS

HISTORY_1X, HISTORY_2X, HISTORY_4X = 1, 2, 16
HISTORY = HISTORY_1X + HISTORY_2X + HISTORY_4X
"""Latents of context beside the start image: 19."""
REACH = 3
"""How many windows away a guide frame may lie from the section that sees it."""


@dataclass(frozen=True, kw_only=True)
class ContextSpan:
    """Latents a section sees: from `source` ("history" or a key of the latent bank), compressed `scale` times.

    `take` counts from the history's growing edge (0 = nearest); a bank entry is one latent, `take` = range(1).
    `weight` < 1 multiplies the attention this span receives.
    """

    source: str
    take: range
    at: range
    scale: Literal[1, 2, 4]
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A bank latent that joins the history at its growing edge; `shown` ones are part of the video as well.

    `weight` mixes it with the empty slot: weight * latent.
    """

    source: str
    weight: float = 1.0
    shown: bool = True


@dataclass(frozen=True, kw_only=True)
class SectionPlan:
    """One section. `latents` is its place in the timeline, `at` the RoPE indices of its noisy window."""

    index: int
    latents: range
    at: range
    context: tuple[ContextSpan, ...]
    grows: Literal["backward", "forward"]
    before: tuple[Anchor, ...] = ()
    after: tuple[Anchor, ...] = ()
    decode_latents: int
    """Latents at the growing edge that are decoded once this section is made."""
    overlap: int
    """Frames of that clip which cross-fade with the video so far."""
    unsettled: int
    """Frames at the growing edge that the next section will still blend; 0 in the last one."""
    prompt: str
    image: tuple[tuple[str, float], ...]
    """Bank keys whose SigLIP features are mixed for this section, weights summing to 1."""

    @property
    def settled(self) -> int:
        """Latents of the timeline that exist after this section, shown anchors included."""
        return len(self.latents) + sum(a.shown for a in self.before + self.after)


@dataclass(frozen=True, kw_only=True)
class Guide:
    """A guide frame that takes effect: bank key, timeline latent, strength."""

    key: str
    latent: int
    strength: float


def plan(request: GenerationRequest) -> tuple[SectionPlan, ...]:
    """The sections of `request` in the order they are made."""
    return PLANNERS[VARIANTS[request.model].planner](request)


def inverted(request: GenerationRequest) -> tuple[SectionPlan, ...]:
    """Inverted anti-drifting: the last section first, each seeing the start image and the future made so far."""
    guides, total = guides_of(request), latent_total(request)
    end = next((g for g in guides if g.latent > total), None)
    inner = [g for g in guides if g.latent <= total]
    tiles = list(reversed(tile(total, [g.latent for g in inner], request.window)))
    plans = []
    for j, latents in enumerate(tiles):
        far = request.window * (REACH if j == 0 or len(tiles) <= 4 else 2)
        blank = min(latents.start - 1, far)
        post = 1 + blank + len(latents)
        last = j == len(tiles) - 1
        plans.append(
            SectionPlan(
                index=j,
                latents=latents,
                at=range(1 + blank, post),
                context=(
                    single("start", 0),
                    single("history", post),
                    *(
                        single(g.key, r, g.strength)
                        for g in inner
                        if 0 < (r := g.latent - latents.start + 1 + blank) < 1 + blank
                    ),
                    ContextSpan(source="history", take=range(1, 3), at=range(post + 1, post + 3), scale=2),
                    ContextSpan(source="history", take=range(3, 19), at=range(post + 3, post + 19), scale=4),
                ),
                grows="backward",
                before=(Anchor(source=end.key, weight=end.strength, shown=False),) if end and j == 0 else (),
                after=(Anchor(source="start"),) if last else (),
                **decoding(tiles, j, anchored=last),
                prompt=prompt_at(request, latents),
                image=image_mix(guides, latents),
            )
        )
    return tuple(plans)


def forward(request: GenerationRequest) -> tuple[SectionPlan, ...]:
    """F1: from the start on, each section seeing the start image and the newest 19 latents of the past."""
    guides, total = guides_of(request), latent_total(request)
    tiles = tile(total, [g.latent - 1 for g in guides if g.latent <= total], request.window)
    plans = []
    for j, latents in enumerate(tiles):
        ahead = [g for g in guides if 0 < g.latent - latents[-1] <= REACH * request.window]
        plans.append(
            SectionPlan(
                index=j,
                latents=latents,
                at=range(1 + HISTORY, 1 + HISTORY + len(latents)),
                context=(
                    single("start", 0),
                    single("history", HISTORY),
                    *(single(g.key, r, g.strength) for g in ahead for r in [1 + HISTORY + g.latent - latents.start]),
                    ContextSpan(source="history", take=range(2, 0, -1), at=range(17, 19), scale=2),
                    ContextSpan(source="history", take=range(18, 2, -1), at=range(1, 17), scale=4),
                ),
                grows="forward",
                before=(Anchor(source="start"),) if j == 0 else (),
                **decoding(tiles, j, anchored=j == 0),
                prompt=prompt_at(request, latents),
                image=image_mix(guides, latents),
            )
        )
    return tuple(plans)


PLANNERS: dict[str, Callable[[GenerationRequest], tuple[SectionPlan, ...]]] = {
    "inverted": inverted,
    "forward": forward,
}


def single(source: str, at: int, weight: float = 1.0) -> ContextSpan:
    """One latent in full detail at RoPE index `at`."""
    return ContextSpan(source=source, take=range(1), at=range(at, at + 1), scale=1, weight=weight)


def latent_total(request: GenerationRequest) -> int:
    """Latents to generate; the timeline is 0 .. total, frame count 4 total + 1."""
    return section_count(request.seconds, request.window) * request.window


def tile(total: int, borders: list[int], window: int) -> list[range]:
    """Sections in timeline order that cover 1 .. total once, none longer than `window`, ending on each border."""
    edges = sorted({0, total, *(b for b in borders if 0 < b < total)})
    tiles = []
    for low, high in pairwise(edges):
        pieces = math.ceil((high - low) / window)
        cuts = [low + (high - low) * i // pieces for i in range(pieces + 1)]
        tiles += [range(a + 1, b + 1) for a, b in pairwise(cuts)]
    return tiles


class Decoding(TypedDict):
    """The fields of a SectionPlan that follow from the sections' lengths alone."""

    decode_latents: int
    overlap: int
    unsettled: int


def decoding(tiles: list[range], j: int, *, anchored: bool) -> Decoding:
    """What to decode after section `j`: it and its predecessor, cross-faded where the predecessor was decoded.

    The first section decodes all there is. `anchored`: the start latent joins here. In frames, the predecessor's
    own L latents are 4 L - 3 frames when decoded as the head of a clip, and that is the overlap.
    """
    length = len(tiles[j])
    previous = len(tiles[j - 1]) if j else 0
    return {
        "decode_latents": length + previous + anchored,
        "overlap": frames_of(previous) if j else 0,
        "unsettled": frames_of(length) if j < len(tiles) - 1 else 0,
    }


def guides_of(request: GenerationRequest) -> list[Guide]:
    """Guide frames with a strength, in timeline order; the end frame stands just past the last latent.

    A guide on the very last latent is an end frame, or comes before it if there is one. No two are on one latent:
    a request refuses them.
    """
    total = latent_total(request)
    end = request.end_frame if request.end_frame is not None and request.end_frame.strength > 0 else None
    guides = [Guide(key="end", latent=total + 1, strength=end.strength)] if end else []
    for i, frame in enumerate(request.frames):
        if frame.strength > 0:
            latent = guide_latent(frame.second, total, before_end=end is not None)
            guides.append(Guide(key=f"frame:{i}", latent=latent, strength=frame.strength))
    return sorted(guides, key=lambda guide: guide.latent)


def unseen_guides(request: GenerationRequest, sections: tuple[SectionPlan, ...]) -> list[str]:
    """A sentence for each guide frame that no section is given: those in the first frames of a video."""
    given = {span.source for section in sections for span in section.context}
    given |= {anchor.source for section in sections for anchor in (*section.before, *section.after)}
    return [
        f"no section is given the guide frame at {frame.second:g} s as a frame, only what it shows: it lies too close "
        "to the start picture, so move it a little"
        for i, frame in enumerate(request.frames)
        if frame.strength and f"frame:{i}" not in given
    ]


def unused_prompts(request: GenerationRequest, sections: tuple[SectionPlan, ...]) -> list[str]:
    """A sentence for each timed prompt that no section takes."""
    used = {section.prompt for section in sections}
    middles = [f"{middle:.1f}" for middle in sorted(middle_of(section.latents) for section in sections)]
    where = ", ".join([*middles[:8], "..."] if len(middles) > 8 else middles)
    return [
        f"no section takes the prompt from {prompt.second:g} s on, {prompt.text!r}: "
        f"each takes the one that holds at its middle, here {where} s"
        for prompt in request.prompts
        if prompt.text not in used
    ]


def prompt_at(request: GenerationRequest, latents: range) -> str:
    """The text that holds at the middle of a section."""
    due = [p for p in sorted(request.prompts, key=lambda p: p.second) if p.second <= middle_of(latents)]
    return due[-1].text if due else request.prompt


def middle_of(latents: range) -> float:
    """Seconds from the video's begin to the middle of a section."""
    return (latents[0] + latents[-1]) / 2 * 4 / FPS


def image_mix(guides: list[Guide], latents: range) -> tuple[tuple[str, float], ...]:
    """Weights of the pictures whose features describe a section: linear in time between its two neighbours.

    What a neighbour's strength leaves over goes to the start image. Past the last guide, that one holds.
    """
    middle = (latents[0] + latents[-1]) / 2
    past = max((g for g in guides if g.latent <= middle), key=lambda g: g.latent, default=None)
    future = min((g for g in guides if g.latent > middle), key=lambda g: g.latent, default=None)
    since = past.latent if past else 0
    share = (middle - since) / (future.latent - since) if future else 0.0
    mix = {g.key: w * g.strength for g, w in ((past, 1 - share), (future, share)) if g}
    rest = 1.0 - sum(mix.values())
    return tuple((key, weight) for key, weight in {"start": rest, **mix}.items() if weight > 1e-6)


def settled_frames(sections: tuple[SectionPlan, ...]) -> list[range]:
    """For each section, the frames of the final video that settle with it; together they are every frame once."""
    total = sum(frames_of(s.decode_latents) - s.overlap for s in sections)
    made, edge, settled = 0, 0, []
    for section in sections:
        made += frames_of(section.decode_latents) - section.overlap
        count = made - section.unsettled - edge
        first = edge if section.grows == "forward" else total - edge - count
        settled.append(range(first, first + count))
        edge += count
    return settled
