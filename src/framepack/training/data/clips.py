"""Batches of procedural clips: images from a pool, moved on the device, with the prompts that describe them.

One seeded generator draws everything, so batch number n is the same on every run. The pool of images is drawn on
the host; cropping, warping and relighting happen on the device the pool's crop is sent to. Knows sections, not
models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.clip_recipe import ClipRecipe
from framepack.training.data.grammar import Wish, pad_words, prompt_words
from framepack.training.data.motions import (
    COLUMNS,
    MOTIONS,
    SPEEDS,
    SPRITE_COLUMNS,
    SPRITE_MOTIONS,
    pose,
    render,
    start_pictures,
    state_at,
)
from framepack.training.data.sections import Moving, Picture, Section, Source
from framepack.training.data.sprites import Layer, calmed, draw_layer, fitted

LIGHTS = ("brighten", "darken", "warmer", "cooler")
LONGEST_EXACT = 8


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """What a section shows, as latents, and the prompts. All latents (B, C, t, h, w), scaled."""

    section: Section
    prompts: tuple[str, ...]
    wishes: tuple[tuple[Wish, ...], ...]
    images: Tensor
    """(B, 3, H, W) in -1..1, the start images, cut-outs included"""
    noisy: Tensor
    context: tuple[Tensor, ...]
    """in the order of `section.context`"""
    rehearsed: "ClipBatch | None" = None
    """the same clips at `section.rehearsed`"""

    def knowing(self, made: Tensor) -> "ClipBatch":
        """The batch with the rehearsed window (B, C, t, h, w) as the model made it in place of the true one."""
        assert self.section.rehearsed
        places: dict[Source, Tensor] = {
            source: made[:, :, index] for index, source in enumerate(self.section.rehearsed.noisy)
        }
        context = tuple(
            torch.stack([places.get(source, latents[:, :, i]) for i, source in enumerate(part.sources)], dim=2)
            for part, latents in zip(self.section.context, self.context, strict=True)
        )
        return replace(self, context=context, rehearsed=None)


def draw_wishes(random: Generator, recipe: ClipRecipe, *, sprite: bool = False) -> tuple[Wish, ...]:
    """One motion, or two that go together; `sprite`: the picture has a cut-out, which may move."""
    if sprite and random.random() < recipe.sprite_moves:
        wish = Wish(motion=_choose(random, recipe.sprite_motions), pace=_choose(random, recipe.paces))
        partners = [motion for motion in recipe.motions if motion != "still"]
    else:
        wish = Wish(motion=_choose(random, recipe.motions), pace=_choose(random, recipe.paces))
        partners = list(LIGHTS)
    if wish.motion == "still":
        return (Wish(motion="still"),)
    if random.random() >= recipe.combined or wish.motion in LIGHTS:
        return (wish,)
    pair = (wish, Wish(motion=str(random.choice(partners))))
    return pair if random.random() < 0.5 else pair[::-1]


def draw_prompts(random: Generator, wishes: Sequence[tuple[Wish, ...]], recipe: ClipRecipe) -> tuple[str, ...]:
    """Prompts of one length in tokens: exact phrases of few words, or longer ones with free text around them.

    A clip without wishes gets free text alone.
    """
    if random.random() < recipe.free_text:
        drawn = [prompt_words(random, wish) for wish in wishes]
        length = max(len(words) for words in drawn) + int(random.integers(0, 13))
    else:
        length = int(random.integers(2, LONGEST_EXACT + 1))
        drawn = [_closest(random, wish, length) if wish else [] for wish in wishes]
        length = max(length, *(len(words) for words in drawn))
    return tuple(" ".join(pad_words(random, words, length)) for words in drawn)


def _closest(random: Generator, wish: tuple[Wish, ...], length: int) -> list[str]:
    """Of a few phrasings the one nearest to `length` words; longer ones count three times as far off."""
    tries = [prompt_words(random, wish) for _ in range(8)]
    return min(tries, key=lambda words: max(length - len(words), 3 * (len(words) - length)))


def state_rates(wishes: Sequence[tuple[Wish, ...]]) -> Tensor:
    """(B, columns): the sum of each clip's wishes."""
    rows = MOTIONS | SPRITE_MOTIONS
    return torch.stack([sum((rows[w.motion].row(SPEEDS[w.pace]) for w in wish), torch.zeros(())) for wish in wishes])


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
        sprites = list(random.random(count) < recipe.sprites) if recipe.sprites else [False] * count
        wishes = tuple(draw_wishes(random, recipe, sprite=sprite) for sprite in sprites)
        wordless = list(random.random(count) < recipe.wordless) if recipe.wordless else [False] * count
        said = tuple(() if silent else wish for wish, silent in zip(wishes, wordless, strict=True))
        prompts = draw_prompts(random, said, recipe)
        if not section.shows_what_comes:
            wishes = tuple(wish or (Wish(motion="still"),) for wish in said)
        rates = state_rates(wishes)
        other = state_rates([draw_wishes(random, recipe, sprite=sprite) for sprite in sprites])
        before, after = (rates, other) if section.prompt_holds_before_change else (other, rates)
        if not section.change:
            before = after = rates
        images = crops(random, recipe, pool, count, size, self.device)
        layer = None
        if any(sprites):
            images, layer = self.with_sprites(random, recipe, pool, images, sprites, (before, after))
        blur = recipe.history_blur * random.random() * (random.random() < 0.5) if recipe.history_blur else 0.0
        return self.moved(images, section, prompts, wishes, (before, after), layer, blur)

    def with_sprites(
        self,
        random: Generator,
        recipe: ClipRecipe,
        pool: np.ndarray,
        images: Tensor,
        sprites: Sequence[bool],
        rates: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Layer | None]:
        """Cut-outs for the clips of `sprites`: the scenes, and a layer of those that move before or after the change.

        The others are a part of their scene.
        """
        clips = [clip for clip, has_one in enumerate(sprites) if has_one]
        textures = [
            crop(random, pool[random.integers(len(pool))], 0.25 + 0.5 * random.random(), (64, 64)) for _ in clips
        ]
        images = calmed(random, images, clips)
        layer = draw_layer(random, textures, images, clips, headings_of((rates[0] + rates[1])[clips]))
        moves = (rates[0].abs() + rates[1].abs())[clips, SPRITE_COLUMNS].gt(0).any(dim=1).to(images.device)
        if standing := layer.only(~moves):
            images = start_pictures(images, standing)
        return images, layer.only(moves)

    def moved(
        self,
        images: Tensor,
        section: Section,
        prompts: tuple[str, ...],
        wishes: tuple[tuple[Wish, ...], ...],
        rates: tuple[Tensor, Tensor],
        layer: Layer | None = None,
        blur: float = 0.0,
    ) -> ClipBatch:
        """Render and encode what the section reads of `images` (B, 3, H, W); rates are (before, after) its change.

        blur: share of a 5 x 5 box blur in known latents that are no pictures, 0..1.
        """
        sources = list(dict.fromkeys(source for source in section.sources if source is not None))
        frames = torch.tensor([frame for source in sources for frame in frames_of(source)], device=self.device)
        change = torch.full((len(images),), section.change, device=self.device)
        state = state_at(frames, rates[0].to(self.device), rates[1].to(self.device), change)
        clips = render(images, state, layer)
        if blur:
            known = [isinstance(source, Moving) and source not in section.noisy for source in sources]
            if any(known):
                soften(clips, torch.tensor(known, device=clips.device).repeat_interleave(4), blur)
        latents = self.encoder(clips)
        place = {source: latents[:, :, index] for index, source in enumerate(sources)}
        zeros = torch.zeros_like(latents[:, :, 0])

        def gather(wanted: Sequence[Source]) -> Tensor:
            return torch.stack([zeros if source is None else place[source] for source in wanted], dim=2)

        shown = images if layer is None else start_pictures(images, layer)

        def at(part: Section) -> ClipBatch:
            return ClipBatch(
                section=part,
                prompts=prompts,
                wishes=wishes,
                images=shown,
                noisy=gather(part.noisy),
                context=tuple(gather(context.sources) for context in part.context),
                rehearsed=at(part.rehearsed) if part.rehearsed else None,
            )

        return at(section)


def crops(
    random: Generator, recipe: ClipRecipe, pool: np.ndarray, count: int, size: tuple[int, int], device: torch.device
) -> Tensor:
    """`count` random parts of random images (N, S, S, 3) uint8, (count, 3, H, W) in -1..1 on `device`."""
    parts = [crop(random, pool[random.integers(len(pool))], recipe.smallest_crop, size) for _ in range(count)]
    return torch.cat([fitted(part, size, device) for part in parts])


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


def soften(clips: Tensor, which: Tensor, share: float) -> None:
    """Blur frames `which` (F,) of clips (B, 3, F, H, W) in place by a share of a 5 x 5 box."""
    frames = clips[:, :, which]
    down, across = (_box(length, clips.device) for length in clips.shape[-2:])
    clips[:, :, which] = frames.lerp(down @ frames @ across.T, share)


def _box(length: int, device: torch.device) -> Tensor:
    """The matrix that blurs a row of pixels by a box of five, repeated at the ends: much faster than pooling."""
    at = (torch.arange(length)[:, None] + torch.arange(-2, 3)).clamp(0, length - 1)
    return functional.one_hot(at, length).float().mean(dim=1).to(device)


def headings_of(rates: Tensor) -> list[tuple[float, float]]:
    """Where cut-outs are after a second, (right, down) pixels each; one that bounces needs room above."""
    shift = pose(30 * rates[:, None]).shift[:, 0]
    above = rates[:, COLUMNS["bounce"]] > 0
    return [(float(x), -10.0 if up else float(y)) for (x, y), up in zip(shift, above, strict=True)]


def frames_of(source: Moving | Picture) -> list[int]:
    """The four frames behind a latent; a picture is its frame four times."""
    if isinstance(source, Picture):
        return [source.frame] * 4
    return list(range(4 * source.latent - 3, 4 * source.latent + 1))


def _choose(random: Generator, weights: dict[str, float]) -> str:
    total = sum(weights.values())
    return str(random.choice(list(weights), p=[weight / total for weight in weights.values()]))
