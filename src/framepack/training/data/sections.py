"""Which section of which video a training batch shows: order, padding, histories, keyframes. Indices only, no pixels.

A section is a noisy window and its context, exactly as inference lays them out: inverted (the end of the video
first) and forward order. Latent k >= 1 covers frames 4k-3..4k; a picture is a single frame encoded alone. Source:
FramePack, arXiv 2504.12626.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from numpy.random import Generator

from framepack.spec.geometry import HUNYUAN

LARGEST_PADDING = 3  # windows between the start and the noisy one, at inference too
HISTORY = HUNYUAN.history


@dataclass(frozen=True)
class Moving:
    """Latent k of the video, frames 4k-3..4k."""

    latent: int


@dataclass(frozen=True)
class Picture:
    """One frame, encoded as an image."""

    frame: int


Source = Moving | Picture | None  # None: zeros, which are real inputs


@dataclass(frozen=True, kw_only=True)
class Context:
    """Latents of one scale and their frame indices."""

    sources: tuple[Source, ...]
    at: tuple[int, ...]
    scale: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """One window to denoise. `change` is the frame at which the video's motion changes to or from the prompt's."""

    noisy: tuple[Moving, ...]
    noisy_at: tuple[int, ...]
    context: tuple[Context, ...]
    order: str
    change: float = 0.0
    prompt_holds_before_change: bool = False
    rehearsed: "Section | None" = None
    """the known section next to this one, where the model is to make it itself: its history is then its own work"""

    @property
    def sources(self) -> list[Source]:
        """Everything the section reads, the noisy window first; what the rehearsed one reads comes last."""
        own = [*self.noisy, *(source for part in self.context for source in part.sources)]
        return own + (self.rehearsed.sources if self.rehearsed else [])

    @property
    def shows_what_comes(self) -> bool:
        """True where a picture of a later frame is given: an end frame or a keyframe."""
        return any(isinstance(source, Picture) and source.frame for source in self.sources)


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
    """share of sections with history and one motion whose nearest known one the model makes itself, against drift"""


def draw_section(random: Generator, recipe: SectionRecipe) -> Section:
    """A section as the recipe mixes them."""
    window = _choose(random, recipe.windows)
    history = 0 if random.random() < recipe.empty_history else int(random.integers(1, recipe.history_sections + 1))
    changes = history > 0 and random.random() < recipe.change
    if random.random() < recipe.forward:
        ahead = [window * (history + 1) + int(random.integers(2 * window))] if random.random() < recipe.ahead else []
        section = forward_section(window, history, keyframes=ahead, changes=changes)
        before = forward_section(window, history - 1) if history else None
        return _rehearsing(random, recipe, section, before)
    padding = _choose(random, recipe.padding)
    end = history == 0 and random.random() < recipe.end_frame
    keyframes: list[int] = []
    if padding and random.random() < recipe.keyframes:
        keyframes = sorted({int(k) for k in random.integers(1, window * padding + 1, int(random.integers(1, 3)))})
    section = inverted_section(window, padding, history, keyframes=keyframes, end=end, changes=changes)
    before = inverted_section(window, padding + 1, history - 1) if history and padding < LARGEST_PADDING else None
    return _rehearsing(random, recipe, section, before)


def _rehearsing(random: Generator, recipe: SectionRecipe, section: Section, before: Section | None) -> Section:
    """The section, perhaps with the one the model made before it; no random number is drawn where none ever has one."""
    if before is None or section.change or not recipe.rehearsed or random.random() >= recipe.rehearsed:
        return section
    return replace(section, rehearsed=before)


def inverted_section(
    window: int, padding: int, history: int, *, keyframes: Sequence[int] = (), end: bool = False, changes: bool = False
) -> Section:
    """`padding` windows after the start; the next `history` sections are known, or only the `end` frame."""
    first = 1 + window * padding
    after = first + window
    known: list[Source] = [Moving(k) for k in range(after, after + min(HISTORY, window * history))]
    if end:
        known = [Picture(4 * (after - 1))]
    known += [None] * (HISTORY - len(known))
    return Section(
        noisy=tuple(Moving(k) for k in range(first, after)),
        noisy_at=tuple(range(first, after)),
        context=(
            Context(
                sources=(Picture(0), known[0], *(Picture(4 * k) for k in keyframes)), at=(0, after, *keyframes), scale=1
            ),
            Context(sources=tuple(known[1:3]), at=(after + 1, after + 2), scale=2),
            Context(sources=tuple(known[3:]), at=tuple(range(after + 3, after + HISTORY)), scale=4),
        ),
        order="inverted",
        change=4.0 * (after - 1) if changes else 0.0,
        prompt_holds_before_change=changes,
    )


def forward_section(window: int, history: int, *, keyframes: Sequence[int] = (), changes: bool = False) -> Section:
    """The section after `history` others, counted from the start; `keyframes` are latents not before its last one."""
    first = 1 + window * history
    past: list[Source] = [None] * HISTORY + [Picture(0)] + [Moving(k) for k in range(1, first)]
    past = past[-HISTORY:]
    return Section(
        noisy=tuple(Moving(k) for k in range(first, first + window)),
        noisy_at=tuple(range(20, 20 + window)),
        context=(
            Context(
                sources=(Picture(0), past[18], *(Picture(4 * k) for k in keyframes)),
                at=(0, 19, *(20 + k - first for k in keyframes)),
                scale=1,
            ),
            Context(sources=tuple(past[16:18]), at=(17, 18), scale=2),
            Context(sources=tuple(past[:16]), at=tuple(range(1, 17)), scale=4),
        ),
        order="forward",
        change=4.0 * (first - 1) if changes else 0.0,
    )


def _choose(random: Generator, weights: dict[int, float]) -> int:
    values = list(weights)
    total = sum(weights.values())
    return int(random.choice(values, p=[weights[value] / total for value in values]))
