"""Noise levels: how many sigmas, and how far they lean towards noise. Knows token counts, not latents or models.

Flow matching with a resolution-dependent shift (Esser et al., arXiv 2403.03206): the more tokens share the noise, the
more of the steps are spent at high noise. Reference: the public application's schedule, equal to the bit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MU_LINE = ((256, 0.5), (4096, 1.15))
"""Two points (noisy tokens, mu) of the line that gives mu; from the Flux schedule."""
MAX_SHIFT = 7.0
"""The public application caps the shift here; every bucket of the 640 family reaches the cap."""


def mu_of(tokens: int) -> float:
    """Logarithm of the shift for `tokens` noisy tokens, T * (H/16) * (W/16) (the context's tokens do not count)."""
    if tokens < 1:
        raise ValueError(f"tokens must be at least 1, got {tokens}")
    (x0, y0), (x1, y1) = MU_LINE
    slope = (y1 - y0) / (x1 - x0)
    return min(slope * tokens + (y0 - slope * x0), math.log(MAX_SHIFT))


def make_sigmas(steps: int, tokens: int, shift: float | None = None, first: float = 1.0) -> Tensor:
    """Noise levels (steps + 1,) from `first` to 0, float32 on the CPU.

    sigma(t) = s / (s + 1/t - 1) on an even grid of t, with s = `shift`, or e^mu of the token count where it is None.
    Raises ValueError for steps < 1 and for a shift that is not a positive, finite number.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if shift is not None and not (math.isfinite(shift) and shift > 0):
        raise ValueError(f"shift must be a positive number (1 = even steps, 7 = the public default), got {shift}")
    strength = math.exp(mu_of(tokens)) if shift is None else shift
    begin = first / (strength - first * (strength - 1)) if first < 1 else 1.0  # the t whose sigma is `first`
    t = torch.linspace(begin, 0.0, steps + 1, dtype=torch.float32, device="cpu")
    return strength / (strength + (1.0 / t - 1.0))
