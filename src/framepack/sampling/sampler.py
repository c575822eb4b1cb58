"""What a sampler is: a generator over noise levels that sees a denoiser, never a model.

Samplers are pure functions of their inputs: run again with the same ones, they repeat themselves to the bit, and
closing the generator is all it takes to cancel. State is kept in float32 (float64 if the noise is), on the noise's
device; noise levels are Python floats, so no step waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, int], Tensor]
"""(x at sigmas[step], step) -> prediction of the clean latents x0, same shape. Called once a step, in order."""


@dataclass(frozen=True, kw_only=True)
class SampleStep:
    """One finished step. The result of a run is the last step's `denoised`: no sampler steps on to sigma 0."""

    index: int
    x: Tensor
    """Latents at sigmas[index], after correction where the sampler corrects."""
    denoised: Tensor
    """The model's x0 at this step; what a preview shows."""


class Sampler(Protocol):
    """Yields one SampleStep for each of the len(sigmas) - 1 intervals of `sigmas`, which fall from 1 to 0."""

    def __call__(self, denoiser: Denoiser, noise: Tensor, sigmas: Tensor) -> Iterator[SampleStep]: ...


def levels_of(sigmas: Tensor) -> list[float]:
    """The noise levels at which the model is called: all but the closing 0. Copied to the host once, at the start."""
    levels = sigmas.tolist()
    assert len(levels) > 1, "one step takes two sigmas"
    assert all(a > b for a, b in pairwise(levels)), "sigmas must fall"
    return levels[:-1]


def log_snr(sigma: float) -> float:
    """lambda = -log sigma, in which the solvers integrate flow matching's ODE, dx/dsigma = (x - x0) / sigma."""
    return -math.log(sigma)


def working_copy(noise: Tensor) -> Tensor:
    """The noise in the precision that the sampler keeps its state in: at least float32."""
    return noise.to(torch.promote_types(noise.dtype, torch.float32))


def combine(ratio: float, x: Tensor, weights: Sequence[float], denoised: Sequence[Tensor]) -> Tensor:
    """ratio * x + sum of weights * denoised: every solver step here has this form."""
    result = ratio * x
    for weight, x0 in zip(weights, denoised, strict=True):
        result = result.add_(x0, alpha=weight)
    return result
