"""Which section of which video a training batch shows: order, padding, histories, keyframes. Indices only, no pixels.

A section is a noisy window and its context, laid out by the planner's own `seen`: inverted (the end of the
video first) and forward order. Latent k >= 1 covers frames 4k-3..4k; a picture is a single frame encoded alone. Source:
FramePack, arXiv 2504.12626.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from numpy.random import Generator

from framepack.spec.geometry import HUNYUAN
from framepack.spec.plan import seen

LARGEST_PADDING = 3  # windows between the start and the noisy one, at inference too
HISTORY = HUNYUAN.history
T = TypeVar("T")


@dataclass(frozen=True)
class VideoLatent:
    """Latent k of the video, frames 4k-3..4k."""

    latent: int


@dataclass(frozen=True)
class ImageLatent:
    """One frame, encoded as an image."""

    frame: int


Source = VideoLatent | ImageLatent | None  # None: zeros, which are real inputs


@dataclass(frozen=True, kw_only=True)
class Context:
    """Latents of one scale and their frame indices."""

    sources: tuple[Source, ...]
    at: tuple[int, ...]
    scale: Literal[1, 2, 4]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One window to denoise. `change` is the frame at which the video's motion changes to or from the prompt's."""

    noisy: tuple[VideoLatent, ...]
    noisy_at: tuple[int, ...]
    context: tuple[Context, ...]
    order: str
    change: float = 0.0
    prompt_holds_before_change: bool = False
    previous: "Section | None" = None
    """the section generated before this one, where the model is to generate it itself (scheduled sampling)"""

    @property
    def sources(self) -> list[Source]:
        """Everything the section reads, the noisy window first; what the previous one reads comes last."""
        own = [*self.noisy, *(source for part in self.context for source in part.sources)]
        return own + (self.previous.sources if self.previous else [])

    @property
    def shows_future(self) -> bool:
        """Whether a picture of a later frame is given: an end frame or a keyframe."""
        return any(isinstance(source, ImageLatent) and source.frame for source in self.sources)


@dataclass(frozen=True, kw_only=True)
class SectionRecipe:
    """How often each kind of section is drawn."""

    forward: float = 0.35
    """share of sections in forward order; the others are inverted"""
    windows: dict[int, float] = field(default_factory=lambda: {9: 0.9, 5: 0.04, 7: 0.03, 12: 0.03})
    padding: dict[int, float] = field(default_factory=lambda: {0: 0.6, 1: 0.2, 2: 0.1, 3: 0.1})
    """windows between the start and the noisy one, inverted order"""
    empty_history: float = 0.5
    history_sections: int = 5
    """at most this many sections behind or ahead"""
    end_frame: float = 0.12
    """share of inverted sections without history whose last frame is given"""
    keyframes: float = 0.25
    """share of inverted sections with padding that have one or two pictures between start and window"""
    ahead: float = 0.1
    """share of forward sections that know a picture at the window's end or up to two windows later"""
    change: float = 0.2
    """share of sections with history in which the history moves otherwise than the prompt says"""
    rehearsed: float = 0.0
    """share of sections with history and one motion whose previous one the model generates itself, against drift"""


def draw_section(random: Generator, recipe: SectionRecipe) -> Section:
    """A section as the recipe mixes them."""
    window = choose(random, recipe.windows)
    history = 0 if random.random() < recipe.empty_history else int(random.integers(1, recipe.history_sections + 1))
    changes = history > 0 and random.random() < recipe.change
    if random.random() < recipe.forward:
        ahead = [window * (history + 1) + int(random.integers(2 * window))] if random.random() < recipe.ahead else []
        section = forward_section(window, history, keyframes=ahead, changes=changes)
        previous = forward_section(window, history - 1) if history else None
    else:
        padding = choose(random, recipe.padding)
        end = history == 0 and random.random() < recipe.end_frame
        keyframes: list[int] = []
        if padding and random.random() < recipe.keyframes:
            keyframes = sorted({int(k) for k in random.integers(1, window * padding + 1, int(random.integers(1, 3)))})
        section = inverted_section(window, padding, history, keyframes=keyframes, end=end, changes=changes)
        known = history and padding < LARGEST_PADDING
        previous = inverted_section(window, padding + 1, history - 1) if known else None
    if previous is None or section.change or not recipe.rehearsed or random.random() >= recipe.rehearsed:
        return section
    return replace(section, previous=previous)


def inverted_section(
    window: int, padding: int, history: int, *, keyframes: Sequence[int] = (), end: bool = False, changes: bool = False
) -> Section:
    """`padding` windows after the start; the next `history` sections are known, or only the `end` frame."""
    first = 1 + window * padding
    after = first + window
    known: list[Source] = [VideoLatent(k) for k in range(after, after + min(HISTORY, window * history))]
    if end:
        known = [ImageLatent(4 * (after - 1))]
    return Section(
        noisy=tuple(VideoLatent(k) for k in range(first, after)),
        noisy_at=tuple(range(first, after)),
        context=_context(known, range(after, after + HISTORY), keyframes, 0),
        order="inverted",
        change=4.0 * (after - 1) if changes else 0.0,
        prompt_holds_before_change=changes,
    )


def forward_section(window: int, history: int, *, keyframes: Sequence[int] = (), changes: bool = False) -> Section:
    """The section after `history` others, counted from the start; `keyframes` are latents not before its last one."""
    first = 1 + window * history
    known: list[Source] = [*(VideoLatent(k) for k in range(first - 1, 0, -1)), ImageLatent(0)]
    return Section(
        noisy=tuple(VideoLatent(k) for k in range(first, first + window)),
        noisy_at=tuple(range(HISTORY + 1, HISTORY + 1 + window)),
        context=_context(known, range(HISTORY, 0, -1), keyframes, HISTORY + 1 - first),
        order="forward",
        change=4.0 * (first - 1) if changes else 0.0,
    )


def _context(known: list[Source], at: range, keyframes: Sequence[int], shift: int) -> tuple[Context, ...]:
    """The start picture, the `known` latents, nearest first, at these indices, and keyframes `shift` from their own."""
    known = known + [None] * HISTORY
    near, *far = (
        Context(sources=tuple(known[k] for k in span.take), at=tuple(map(int, span.at)), scale=span.scale)
        for span in seen(HUNYUAN, at)
    )
    sources = (ImageLatent(0), *near.sources, *(ImageLatent(4 * k) for k in keyframes))
    return Context(sources=sources, at=(0, *near.at, *(k + shift for k in keyframes)), scale=1), *far


def choose(random: Generator, weights: dict[T, float]) -> T:
    """One of the keys, as often as its share of all weights."""
    total = sum(weights.values())
    return list(weights)[int(random.choice(len(weights), p=[weight / total for weight in weights.values()]))]
