"""Batches of procedural clips: images from a pool, moved on the device, with the prompts that describe them.

One seeded generator draws everything, so batch number n is the same on every run. The pool of images is drawn on
the host; cropping, warping and relighting happen on the device.
Knows sections, not models.
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
from framepack.training.data.grammar import STILL, PromptMotion, pad_words, prompt_words
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
from framepack.training.data.sections import ImageLatent, Section, Source, VideoLatent, choose
from framepack.training.data.sprites import Layer, blur_backgrounds, draw_layer, fitted

LIGHTS = ("brighten", "darken", "warmer", "cooler")
LONGEST_EXACT = 8


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """What a section shows, as latents, and the prompts. All latents (B, C, t, h, w), scaled."""

    section: Section
    prompts: tuple[str, ...]
    motions: tuple[tuple[PromptMotion, ...], ...]
    images: Tensor
    """(B, 3, H, W) in -1..1, the start images, cut-outs included"""
    noisy: Tensor
    context: tuple[Tensor, ...]
    """in the order of `section.context`"""
    previous: "ClipBatch | None" = None
    """the same clips at `section.previous`"""

    def with_history(self, generated: Tensor) -> "ClipBatch":
        """The batch with the previous window (B, C, t, h, w) as the model generated it in place of the true one."""
        assert self.section.previous
        latents: dict[Source, Tensor] = {
            source: generated[:, :, index] for index, source in enumerate(self.section.previous.noisy)
        }
        context = tuple(
            torch.stack([latents.get(source, true[:, :, i]) for i, source in enumerate(part.sources)], dim=2)
            for part, true in zip(self.section.context, self.context, strict=True)
        )
        return replace(self, context=context, previous=None)


def draw_motions(random: Generator, recipe: ClipRecipe, *, sprite: bool = False) -> tuple[PromptMotion, ...]:
    """One motion, or two that go together; `sprite`: the picture has a cut-out, which may move."""
    if sprite and random.random() < recipe.sprite_moves:
        motion = PromptMotion(name=choose(random, recipe.sprite_motions), pace=choose(random, recipe.paces))
        partners = [name for name in recipe.motions if name != "still"]
    else:
        motion = PromptMotion(name=choose(random, recipe.motions), pace=choose(random, recipe.paces))
        partners = list(LIGHTS)
    if motion.name == "still":
        return (STILL,)
    if random.random() >= recipe.combined or motion.name in LIGHTS:
        return (motion,)
    pair = (motion, PromptMotion(name=str(random.choice(partners))))
    return pair if random.random() < 0.5 else pair[::-1]


def draw_prompts(random: Generator, motions: Sequence[tuple[PromptMotion, ...]], recipe: ClipRecipe) -> tuple[str, ...]:
    """Prompts of one length in tokens: exact phrases of few words, or longer ones with free text around them.

    A clip without motions gets free text alone.
    """
    if random.random() < recipe.free_text:
        drawn = [prompt_words(random, motion) for motion in motions]
        length = max(len(words) for words in drawn) + int(random.integers(0, 13))
    else:
        length = int(random.integers(2, LONGEST_EXACT + 1))
        drawn = [_closest(random, motion, length) if motion else [] for motion in motions]
        length = max(length, *(len(words) for words in drawn))
    return tuple(" ".join(pad_words(random, words, length)) for words in drawn)


def _closest(random: Generator, motions: tuple[PromptMotion, ...], length: int) -> list[str]:
    """Of a few phrasings the one nearest to `length` words; longer ones count three times as far off."""
    tries = [prompt_words(random, motions) for _ in range(8)]
    return min(tries, key=lambda words: max(length - len(words), 3 * (len(words) - length)))


def state_rates(motions: Sequence[tuple[PromptMotion, ...]]) -> Tensor:
    """(B, columns): the sum of each clip's motions."""
    rows = MOTIONS | SPRITE_MOTIONS
    return torch.stack([sum((rows[m.name].row(SPEEDS[m.pace]) for m in clip), torch.zeros(())) for clip in motions])


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """What a batch of clips shows before it is encoded."""

    images: Tensor
    """(B, 3, H, W) in -1..1, without the cut-outs of `layer`"""
    rates: tuple[Tensor, Tensor]
    """before and after the section's change"""
    layer: Layer | None = None
    blur: float = 0.0
    """share of a 5 x 5 box blur in known latents of several frames, 0..1"""


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
        motions = tuple(draw_motions(random, recipe, sprite=sprite) for sprite in sprites)
        wordless = list(random.random(count) < recipe.wordless) if recipe.wordless else [False] * count
        named = tuple(() if silent else motion for motion, silent in zip(motions, wordless, strict=True))
        prompts = draw_prompts(random, named, recipe)
        if not section.shows_future:
            motions = tuple(motion or (STILL,) for motion in named)
        rates = state_rates(motions)
        other = state_rates([draw_motions(random, recipe, sprite=sprite) for sprite in sprites])
        before, after = (rates, other) if section.prompt_holds_before_change else (other, rates)
        if not section.change:
            before = after = rates
        images = random_crops(random, recipe, pool, count, size, self.device)
        scenes = Scenes(images=images, rates=(before, after))
        if any(sprites):
            scenes = self.add_sprites(random, pool, scenes, sprites)
        if recipe.history_blur:
            scenes = replace(scenes, blur=recipe.history_blur * random.random() * (random.random() < 0.5))
        return self.encode(scenes, section, prompts, motions)

    def add_sprites(self, random: Generator, pool: np.ndarray, scenes: Scenes, sprites: Sequence[bool]) -> Scenes:
        """Cut-outs for the clips of `sprites`: a layer of those that move before or after the change.

        The others become a part of their scene.
        """
        before, after = scenes.rates
        clips = [clip for clip, has_one in enumerate(sprites) if has_one]
        textures = [
            crop(random, pool[random.integers(len(pool))], 0.25 + 0.5 * random.random(), (64, 64)) for _ in clips
        ]
        images = blur_backgrounds(random, scenes.images, clips)
        layer = draw_layer(random, textures, images, clips, headings_of((before + after)[clips]))
        moves = (before.abs() + after.abs())[clips, SPRITE_COLUMNS].gt(0).any(dim=1).to(images.device)
        if standing := layer.select(~moves):
            images = start_pictures(images, standing)
        return replace(scenes, images=images, layer=layer.select(moves))

    def encode(
        self,
        scenes: Scenes,
        section: Section,
        prompts: tuple[str, ...],
        motions: tuple[tuple[PromptMotion, ...], ...],
    ) -> ClipBatch:
        """Render and encode what the section reads."""
        sources = list(dict.fromkeys(source for source in section.sources if source is not None))
        frames = torch.tensor([frame for source in sources for frame in frames_of(source)], device=self.device)
        change = torch.full((len(scenes.images),), section.change, device=self.device)
        before, after = (rates.to(self.device) for rates in scenes.rates)
        clips = render(scenes.images, state_at(frames, before, after, change), scenes.layer)
        if scenes.blur:
            known = [isinstance(source, VideoLatent) and source not in section.noisy for source in sources]
            if any(known):
                box_blur(clips, torch.tensor(known, device=clips.device).repeat_interleave(4), scenes.blur)
        encoded = self.encoder(clips)
        latents: dict[Source, Tensor] = {source: encoded[:, :, index] for index, source in enumerate(sources)}
        latents[None] = torch.zeros_like(encoded[:, :, 0])
        images = scenes.images if scenes.layer is None else start_pictures(scenes.images, scenes.layer)

        def at(part: Section) -> ClipBatch:
            noisy, *context = (
                torch.stack([latents[source] for source in wanted], dim=2)
                for wanted in (part.noisy, *(span.sources for span in part.context))
            )
            previous = at(part.previous) if part.previous else None
            return ClipBatch(
                section=part,
                prompts=prompts,
                motions=motions,
                images=images,
                noisy=noisy,
                context=tuple(context),
                previous=previous,
            )

        return at(section)


def random_crops(
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


def box_blur(clips: Tensor, which: Tensor, share: float) -> None:
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


def frames_of(source: VideoLatent | ImageLatent) -> list[int]:
    """The four frames behind a latent; a picture is its frame four times."""
    if isinstance(source, ImageLatent):
        return [source.frame] * 4
    return list(range(4 * source.latent - 3, 4 * source.latent + 1))
