"""Classifier-free guidance on velocities, and from velocity to x0. Pure functions of tensors (B, ...).

Whether to run the negative branch at all is `needs_negative`: at a scale of 1 it would change nothing.
"""

from __future__ import annotations

from torch import Tensor


def needs_negative(cfg_scale: float) -> bool:
    """True where the negative prompt has an influence, so that its half of the work must be done."""
    return cfg_scale != 1.0


def guide(positive: Tensor, negative: Tensor, cfg_scale: float, cfg_rescale: float = 0.0) -> Tensor:
    """v = v_neg + cfg_scale (v_pos - v_neg), drawn back to v_pos's spread with weight `cfg_rescale` in 0..1.

    The rescale undoes the over-saturation of a large scale (Lin et al., arXiv 2305.08891); spread is the standard
    deviation of each sample over everything but the batch.
    """
    guided = negative + cfg_scale * (positive - negative)
    if cfg_rescale == 0.0:
        return guided
    dims = tuple(range(1, guided.ndim))
    spread = positive.std(dim=dims, keepdim=True) / guided.std(dim=dims, keepdim=True)
    return cfg_rescale * (guided * spread) + (1.0 - cfg_rescale) * guided


def x0_of(x: Tensor, velocity: Tensor, sigma: float) -> Tensor:
    """The clean latents that velocity v = noise - x0 points away from: x0 = x - sigma v, in float32."""
    return x.float() - sigma * velocity.float()
