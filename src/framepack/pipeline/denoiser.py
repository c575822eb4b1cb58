"""Makes a Denoiser of the transformer: one section's constants bound once, one call a step.

The sampler sees only (x, step) -> x0. State of a section is the caches made here; the transformer holds none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from framepack.models.cache_protocol import BlockCache
from framepack.models.packing import PackedTokens
from framepack.models.transformer import ConditionTable, HunyuanVideoTransformer3DModelPacked
from framepack.sampling import Denoiser, guide, x0_of


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One prompt's side of guidance: its condition table and its own block cache."""

    table: ConditionTable
    cache: BlockCache | None


def make_denoiser(
    transformer: HunyuanVideoTransformer3DModelPacked,
    packed: PackedTokens,
    sigmas: Tensor,
    branches: list[Branch],
    cfg: float,
    cfg_rescale: float,
) -> Denoiser:
    """The denoiser of one section. `branches` is [positive] or [positive, negative]; x is float32 (1, C, T, h, w)."""
    levels = sigmas.tolist()

    def denoise(x: Tensor, step: int) -> Tensor:
        velocities = [transformer(x, b.table.step(step), packed, b.cache) for b in branches]
        velocity = velocities[0] if len(velocities) == 1 else guide(velocities[0], velocities[1], cfg, cfg_rescale)
        return x0_of(x, velocity, levels[step])

    return denoise


def draw_noise(generator: torch.Generator, like: Tensor, frames: int) -> Tensor:
    """The next section's noise, float32 (1, C, frames, h, w), drawn on the CPU so every device sees the same."""
    _, channels, _, height, width = like.shape
    return torch.randn((1, channels, frames, height, width), generator=generator, dtype=torch.float32)
