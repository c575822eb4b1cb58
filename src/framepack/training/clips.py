"""Batches of procedural clips: images from a pool, moved on the device, with the prompts that describe them.

One seeded generator draws everything, so batch number n is the same on every run. The pool of images is drawn on
the host; cropping, warping and relighting happen on the device the pool's crop is sent to. Knows sections, not
models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from framepack.training.grammar import Wish, pad_words, prompt_words
from framepack.training.motions import MOTIONS, SPEEDS, render, state_at
from framepack.training.sections import Moving, Picture, Section, Source
from framepack.training.vae_encoder import BlockEncoder

LIGHTS = ("brighten", "darken", "warmer", "cooler")
LONGEST_EXACT = 8


@dataclass(frozen=True, kw_only=True)
class ClipRecipe:
    """What the clips show."""

    motions: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MOTIONS, 1.0))
    """relative share of each motion"""
    paces: dict[str, float] = field(default_factory=lambda: {"slow": 0.25, "normal": 0.5, "fast": 0.25})
    combined: float = 0.12
    """share of clips with a camera motion and a change of light"""
    smallest_crop: float = 0.5
    """crops take this share of the image's side or more"""
    free_text: float = 0.5
    """share of batches whose prompts have words around the wish"""


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """What a section shows, as latents, and the prompts. All latents (B, C, t, h, w), scaled."""

    section: Section
    prompts: tuple[str, ...]
    wishes: tuple[tuple[Wish, ...], ...]
    images: Tensor
    """(B, 3, H, W) in -1..1, the start images"""
    noisy: Tensor
    context: tuple[Tensor, ...]
    """in the order of `section.context`"""


def draw_wishes(random: Generator, recipe: ClipRecipe) -> tuple[Wish, ...]:
    """One motion, or a camera motion with a change of light."""
    wish = Wish(motion=_choose(random, recipe.motions), pace=_choose(random, recipe.paces))
    if wish.motion == "still":
        return (Wish(motion="still"),)
    if random.random() >= recipe.combined or wish.motion in LIGHTS:
        return (wish,)
    pair = (wish, Wish(motion=str(random.choice(LIGHTS))))
    return pair if random.random() < 0.5 else pair[::-1]


def draw_prompts(random: Generator, wishes: Sequence[tuple[Wish, ...]], recipe: ClipRecipe) -> tuple[str, ...]:
    """Prompts of one length in tokens: exact phrases of few words, or longer ones with free text around them."""
    if random.random() < recipe.free_text:
        drawn = [prompt_words(random, wish) for wish in wishes]
        length = max(len(words) for words in drawn) + int(random.integers(0, 13))
    else:
        length = int(random.integers(2, LONGEST_EXACT + 1))
        drawn = [_closest(random, wish, length) for wish in wishes]
        length = max(length, *(len(words) for words in drawn))
    return tuple(" ".join(pad_words(random, words, length)) for words in drawn)


def _closest(random: Generator, wish: tuple[Wish, ...], length: int) -> list[str]:
    """Of a few phrasings the one nearest to `length` words; longer ones count three times as far off."""
    tries = [prompt_words(random, wish) for _ in range(8)]
    return min(tries, key=lambda words: max(length - len(words), 3 * (len(words) - length)))


def state_rates(wishes: Sequence[tuple[Wish, ...]]) -> Tensor:
    """(B, columns): the sum of each clip's wishes."""
    return torch.stack([sum((MOTIONS[w.motion].row(SPEEDS[w.pace]) for w in wish), torch.zeros(())) for wish in wishes])


class ClipStream:
    """Draws batches and encodes them on one device."""

    def __init__(self, encoder: BlockEncoder, device: torch.device) -> None:
        self.encoder, self.device = encoder.to(device), device

    def batch(
        self,
        random: Generator,
        recipe: ClipRecipe,
        pool: np.ndarray,
        section: Section,
        count: int,
        size: tuple[int, int],
    ) -> ClipBatch:
        """`count` clips of one section at `size` = (height, width), multiples of 16, of images (N, S, S, 3) uint8."""
        wishes = tuple(draw_wishes(random, recipe) for _ in range(count))
        prompts = draw_prompts(random, wishes, recipe)
        rates, other = state_rates(wishes), state_rates([draw_wishes(random, recipe) for _ in range(count)])
        before, after = (rates, other) if section.prompt_holds_before_change else (other, rates)
        images = self.crops(random, recipe, pool, count, size)
        return self.moved(images, section, prompts, wishes, (before, after))

    def moved(
        self,
        images: Tensor,
        section: Section,
        prompts: tuple[str, ...],
        wishes: tuple[tuple[Wish, ...], ...],
        rates: tuple[Tensor, Tensor],
    ) -> ClipBatch:
        """Render and encode what the section reads of `images` (B, 3, H, W); rates are (before, after) its change."""
        sources = list(dict.fromkeys(source for source in section.sources if source is not None))
        frames = torch.tensor([frame for source in sources for frame in frames_of(source)], device=self.device)
        change = torch.full((len(images),), section.change, device=self.device)
        state = state_at(frames, rates[0].to(self.device), rates[1].to(self.device), change)
        latents = self.encoder(render(images, state))
        place = {source: latents[:, :, index] for index, source in enumerate(sources)}
        zeros = torch.zeros_like(latents[:, :, 0])

        def gather(wanted: Sequence[Source]) -> Tensor:
            return torch.stack([zeros if source is None else place[source] for source in wanted], dim=2)

        return ClipBatch(
            section=section,
            prompts=prompts,
            wishes=wishes,
            images=images,
            noisy=gather(section.noisy),
            context=tuple(gather(part.sources) for part in section.context),
        )

    def crops(
        self, random: Generator, recipe: ClipRecipe, pool: np.ndarray, count: int, size: tuple[int, int]
    ) -> Tensor:
        """`count` random parts of random images, (count, 3, H, W) in -1..1."""
        parts = [crop(random, pool[random.integers(len(pool))], recipe.smallest_crop, size) for _ in range(count)]
        return torch.cat([self._fit(part, size) for part in parts])

    def _fit(self, part: np.ndarray, size: tuple[int, int]) -> Tensor:
        pixels = torch.from_numpy(part).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        return functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)


def crop(random: Generator, image: np.ndarray, smallest: float, size: tuple[int, int]) -> np.ndarray:
    """A random part of the proportions of `size`, perhaps mirrored or with its colours exchanged, uint8."""
    side = image.shape[0] * random.uniform(smallest, 1.0)
    height, width = (max(16, int(side * length / max(size))) for length in size)
    top, left = (int(random.integers(image.shape[0] - length + 1)) for length in (height, width))
    part = image[top : top + height, left : left + width]
    if random.random() < 0.5:
        part = part[:, ::-1]
    if random.random() < 0.5:
        part = part[::-1]
    if random.random() < 0.5:
        part = part[..., random.permutation(3)]
    return np.ascontiguousarray(part)


def frames_of(source: Moving | Picture) -> list[int]:
    """The four frames behind a latent; a picture is its frame four times."""
    if isinstance(source, Picture):
        return [source.frame] * 4
    return list(range(4 * source.latent - 3, 4 * source.latent + 1))


def _choose(random: Generator, weights: dict[str, float]) -> str:
    total = sum(weights.values())
    return str(random.choice(list(weights), p=[weight / total for weight in weights.values()]))
