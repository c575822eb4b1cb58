"""Makes a Denoiser of the transformer: one section's constants bound once, one call a step.

The sampler sees only (x, step) -> x0. State of a section is the caches made here; the transformer holds none.
A step that runs out of memory is done again, alone, with less.
"""

from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from framepack.memory import Effort, MemoryManager
from framepack.models.cache_protocol import BlockCache
from framepack.models.packing import PackedTokens
from framepack.models.transformer import ConditionTable
from framepack.pipeline.choices import Choices
from framepack.sampling import Denoiser, guide, x0_of


@dataclass(kw_only=True)
class Branch:
    """One prompt's side of guidance: its condition table and its own block cache."""

    table: ConditionTable
    cache: BlockCache | None


def make_denoiser(
    memory: MemoryManager,
    packed: PackedTokens,
    sigmas: Tensor,
    branches: list[Branch],
    cfg: float,
    cfg_rescale: float,
    choices: Choices,
) -> Denoiser:
    """The denoiser of one section. `branches` is [positive] or [positive, negative]; x is float32 (1, C, T, h, w)."""
    levels = sigmas.tolist()

    def denoise(x: Tensor, step: int) -> Tensor:
        def velocities(effort: Effort) -> list[Tensor]:
            caches = [copy(branch.cache) for branch in branches]
            room, last = choices.room("sample", effort), step + 2 == len(levels)
            with memory.lease("transformer", activations=room, last=last) as transformer:
                transformer.execution = replace(transformer.execution, rows=choices.rows_at(effort))
                made = [
                    transformer(x, branch.table.step(step), packed, cache)
                    for branch, cache in zip(branches, caches, strict=True)
                ]
            for branch, cache in zip(branches, caches, strict=True):
                branch.cache = cache
            return made

        made = memory.attempt("step", velocities, heeds={"resident", "rows", "disk"})
        return x0_of(x, made[0] if len(made) == 1 else guide(made[0], made[1], cfg, cfg_rescale), levels[step])

    return denoise


def draw_noise(generator: torch.Generator, like: Tensor, frames: int) -> Tensor:
    """The next section's noise, float32 (1, C, frames, h, w), drawn on the CPU so every device sees the same."""
    _, channels, _, height, width = like.shape
    return torch.randn((1, channels, frames, height, width), generator=generator, dtype=torch.float32)
