"""Classifier-free guidance on velocities, and from velocity to x0. Pure functions of tensors (B, ...).

Whether to run the negative branch at all is `needs_negative`: at a scale of 1 it would change nothing. Sources:
CFG-Zero* (arXiv 2503.18886); APG, adaptive projected guidance (arXiv 2410.02416), here on velocities.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Guide = Callable[[Tensor, Tensor, float], Tensor]
"""(positive, negative, cfg_scale) to the guided velocity."""
ZERO_SHARE = 0.04
"""Share of the steps, from the first on, in which CFG-Zero* stands still: one of the usual 25."""
APG_LIMIT = 0.06
"""Most that the difference of the branches may be, as a share of the positive one: APG's threshold of 15 for SDXL's
65,536 numbers of about unit size."""


def needs_negative(cfg_scale: float) -> bool:
    """True where the negative prompt has an influence, so that its half of the work must be done."""
    return cfg_scale != 1.0


def cfg(positive: Tensor, negative: Tensor, cfg_scale: float) -> Tensor:
    """v = v_neg + cfg_scale (v_pos - v_neg)."""
    return negative + cfg_scale * (positive - negative)


def cfg_zero_star(positive: Tensor, negative: Tensor, cfg_scale: float) -> Tensor:
    """The negative velocity is first scaled to fit the positive one: v = a v_neg + cfg_scale (v_pos - a v_neg).

    a = <v_pos, v_neg> / |v_neg|^2 of each sample. The steps of `zero_steps` come before it.
    """
    size = _dot(negative, negative).clamp(min=1e-12)
    return cfg(positive, _dot(positive, negative) / size * negative, cfg_scale)


def apg(positive: Tensor, negative: Tensor, cfg_scale: float) -> Tensor:
    """Of d = v_pos - v_neg, no longer than APG_LIMIT |v_pos|, what is at right angles to v_pos is added.

    v = v_pos + (cfg_scale - 1) d_across: what lies along v_pos would over-saturate.
    """
    apart, size = positive - negative, _dot(positive, positive).clamp(min=1e-12)
    length = _dot(apart, apart).clamp(min=1e-12)
    apart = apart * (APG_LIMIT * (size / length).sqrt()).clamp(max=1)
    across = apart - _dot(apart, positive) / size * positive
    return positive + (cfg_scale - 1.0) * across


GUIDES: dict[str, Guide] = {"cfg": cfg, "zero-star": cfg_zero_star, "apg": apg}
"""What `--guidance-mode` may name."""


def zero_steps(mode: str, steps: int) -> int:
    """How many steps, from the first on, have no velocity: CFG-Zero*'s, as the first guesses point anywhere."""
    return round(ZERO_SHARE * steps) if mode == "zero-star" else 0


def guide(positive: Tensor, negative: Tensor, cfg_scale: float, cfg_rescale: float = 0.0, mode: str = "cfg") -> Tensor:
    """The branches combined, then drawn back to v_pos's spread with weight `cfg_rescale` in 0..1.

    The rescale undoes the over-saturation of a large scale (Lin et al., arXiv 2305.08891); spread is the standard
    deviation of each sample over everything but the batch.
    """
    guided = GUIDES[mode](positive, negative, cfg_scale)
    if cfg_rescale == 0.0:
        return guided
    dims = tuple(range(1, guided.ndim))
    spread = positive.std(dim=dims, keepdim=True) / guided.std(dim=dims, keepdim=True)
    return cfg_rescale * (guided * spread) + (1.0 - cfg_rescale) * guided


def x0_of(x: Tensor, velocity: Tensor, sigma: float) -> Tensor:
    """The clean latents that velocity v = noise - x0 points away from: x0 = x - sigma v, in float32."""
    return x.float() - sigma * velocity.float()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Of each sample, (B, 1, ...)."""
    return torch.sum(a * b, dim=tuple(range(1, a.ndim)), keepdim=True)
