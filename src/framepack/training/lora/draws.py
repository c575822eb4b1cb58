"""What one step of a LoRA training shows: some clips of one size, the same section of each, noise, captions.

A step's draw depends on the recipe's seed, the clips and its number alone. Boundary: cached tensors in, tensors on the
CPU out; runs no model.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from framepack.models.conditioning import StepCondition
from framepack.sampling.schedule import mu_of
from framepack.training.lora.cache import Clip
from framepack.training.lora.examples import Example, example, sections_of
from framepack.training.transformer.loss import FlowRecipe, draw_sigmas

Captions = Mapping[str, Tensor]
"""text (1, L, D) and pooled (1, P)."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What one step shows: B clips."""

    example: Example
    captions: tuple[Captions, ...]
    images: tuple[Tensor, ...]
    """(1, N, I) each; zeros where the clip's picture is not seen."""
    sigma: Tensor
    """(B,)"""
    noise: Tensor
    """(B, C, T, h, w)"""


class Drawer:
    """Draws steps by number from clips, in buckets of equal size and length."""

    def __init__(
        self,
        model: str,
        clips: Sequence[Clip],
        *,
        seed: int,
        window: int,
        batch: int,
        empty: Captions | None,
        drop: float,
    ) -> None:
        """empty: the encoded empty caption, in place of a share `drop` of the captions."""
        self.model, self.clips, self.seed, self.window, self.batch = model, clips, seed, window, batch
        self.empty, self.drop = empty, drop
        self.keys = [(clip.latents, clip.size) for clip in clips]
        self.buckets: dict[tuple[int, tuple[int, int]], list[int]] = defaultdict(list)
        for number, key in enumerate(self.keys):
            self.buckets[key].append(number)

    def draw(self, number: int) -> Draw:
        """What step `number` shows: the same on every run."""
        random = np.random.default_rng((self.seed, number))
        noise = torch.Generator().manual_seed(int(random.integers(2**62)))
        tensors = [self.clips[clip].load() for clip in self._chosen(random)]
        sections = sections_of(self.model, tensors[0]["latents"].shape[2], self.window)
        index = int(random.integers(len(sections)))
        shown = stacked([example(sections, index, part["latents"]) for part in tensors])
        frames, height, width = shown.clean.shape[2:]
        shift = math.exp(mu_of(frames * (height // 2) * (width // 2)))
        return Draw(
            example=shown,
            captions=tuple(self._caption(random, part) for part in tensors),
            images=tuple(part["image"] * float(shown.sees_image) for part in tensors),
            sigma=draw_sigmas(len(tensors), FlowRecipe(shift=shift), noise),
            noise=torch.randn(shown.clean.shape, generator=noise),
        )

    def _chosen(self, random: Generator) -> list[int]:
        """One clip of all, and others of its bucket: fewer than `batch` where there are no more."""
        first = int(random.integers(len(self.clips)))
        others = [clip for clip in self.buckets[self.keys[first]] if clip != first]
        more = random.permutation(len(others))[: self.batch - 1] if self.batch > 1 else ()
        return [first, *(others[i] for i in more)]

    def _caption(self, random: Generator, tensors: Captions) -> Captions:
        dropped = self.empty is not None and random.random() < self.drop
        return self.empty if dropped and self.empty is not None else tensors


def stacked(examples: Sequence[Example]) -> Example:
    """Examples of one section as a batch."""
    context = [
        replace(parts[0], latents=torch.cat([part.latents for part in parts]))
        for parts in zip(*(one.context for one in examples), strict=True)
    ]
    return replace(examples[0], clean=torch.cat([one.clean for one in examples]), context=context)


def joined(conditions: Sequence[StepCondition]) -> StepCondition:
    """Conditions of single clips as a batch's; shorter captions are padded and masked."""
    if len(conditions) == 1:
        return conditions[0]
    longest = max(one.tokens.shape[1] for one in conditions)
    missing = [longest - one.tokens.shape[1] for one in conditions]
    tokens = [functional.pad(one.tokens, (0, 0, 0, more)) for one, more in zip(conditions, missing, strict=True)]
    positions = torch.arange(longest, device=tokens[0].device)
    mask = torch.stack([positions < longest - more for more in missing]) if any(missing) else None
    return replace(
        conditions[0],
        modulation=tuple(torch.cat(parts) for parts in zip(*(one.modulation for one in conditions), strict=True)),
        final=torch.cat([one.final for one in conditions]),
        tokens=torch.cat(tokens),
        mask=mask,
    )
