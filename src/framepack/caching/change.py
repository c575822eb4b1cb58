"""How far a signal has moved between two steps. Shared by the caches that decide by it."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_change(signal: Tensor, previous: Tensor) -> float:
    """Mean |signal - previous| over mean |previous|, summed in float32.

    A host value, so the device is waited for: what it decides, whether to launch the blocks, is the host's.
    """
    moved = (signal - previous).abs_().mean(dtype=torch.float32)
    return (moved / previous.abs().mean(dtype=torch.float32)).item()


def checked_threshold(threshold: float) -> float:
    """The threshold itself; ValueError where it is not a number of 0 (run every step) or more."""
    if not threshold >= 0:
        raise ValueError(f"the cache's threshold must be 0 (run every step) or more, got {threshold}")
    return threshold
