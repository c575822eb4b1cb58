"""Makes a Denoiser of the transformer: one section's constants bound once, one call a step.

The sampler sees only (x, step) -> x0. State of a section is the caches made here; the transformer holds none.
A step that runs out of memory is done again, alone, with less.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from framepack.models.cache_protocol import BlockCache
from framepack.models.conditioning import ConditionTable, StepCondition
from framepack.models.nag import Nag
from framepack.models.packing import PackedTokens
from framepack.pipeline.runner import Runner
from framepack.sampling import Denoiser, guide, x0_of, zero_steps
from framepack.spec.windows import Noise


@dataclass(kw_only=True)
class Branch:
    """One prompt's side of guidance: its condition table and its own block cache."""

    table: ConditionTable
    cache: BlockCache | None
    nag: Nag | None = None
    """How its attention leads away from the table's negative text."""

    def step(self, index: int, sigma: float) -> StepCondition:
        """The condition of a step at that noise level."""
        return self.table.step(index, self.nag if self.nag and self.nag.acts_at(sigma) else None)


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """How two branches become one velocity; see `sampling.guide`."""

    scale: float
    rescale: float = 0.0
    mode: str = "cfg"


def make_denoiser(
    runner: Runner, packed: PackedTokens, sigmas: Tensor, branches: list[Branch], guidance: Guidance
) -> Denoiser:
    """The denoiser of one section. `branches` is [positive] or [positive, negative]; x is float32 (1, C, T, h, w)."""
    levels, sample = sigmas.tolist(), runner.stages["sample"]
    still = zero_steps(guidance.mode, len(levels) - 1) if len(branches) > 1 else 0

    def denoise(x: Tensor, step: int) -> Tensor:
        if step < still:
            return x.float()

        def velocities(transformer: Any, modes: Any) -> list[Tensor]:
            # a pass that runs out of memory must leave the caches as they were
            caches = [copy(branch.cache) for branch in branches]
            made = [
                sample.work(transformer, x, branch.step(step, levels[step]), packed, cache, modes=modes)
                for branch, cache in zip(branches, caches, strict=True)
            ]
            for branch, cache in zip(branches, caches, strict=True):
                branch.cache = cache
            return made

        made = runner.run("sample", velocities, phase="step", last=step + 2 == len(levels))
        velocity, *negative = made
        if negative:
            velocity = guide(velocity, negative[0], guidance.scale, guidance.rescale, guidance.mode)
        return x0_of(x, velocity, levels[step])

    return denoise


class NoiseSource:
    """Draws the noise of any section, in any order, on the CPU, so that every device sees the same."""

    def __init__(self, latents: Sequence[int], like: Tensor) -> None:
        """latents: of each section of the plan, in its order. like: a latent (1, C, t, h, w)."""
        self._latents, self._like = latents, like
        self._generator = torch.Generator("cpu")
        self._at: Noise | None = None
        """Where the generator is."""

    def draw(self, noise: Noise, latents: int) -> Tensor:
        """float32 (1, C, latents, h, w)."""
        if self._at is None or self._at.seed != noise.seed or self._at.draw > noise.draw:
            self._generator.manual_seed(noise.seed)
            self._at = Noise(noise.seed)
        for before in self._latents[self._at.draw : noise.draw]:
            self._normal(before)
        self._at = Noise(noise.seed, noise.draw + 1)
        return self._normal(latents)

    def _normal(self, latents: int) -> Tensor:
        _, channels, _, height, width = self._like.shape
        return torch.randn((1, channels, latents, height, width), generator=self._generator, dtype=torch.float32)
