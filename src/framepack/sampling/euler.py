"""Euler's method on flow matching's ODE: the straight line towards x0. First order, one model call a step."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from framepack.sampling.sampler import Denoiser, SampleStep, combine, levels_of, working_copy


def euler(denoiser: Denoiser, noise: Tensor, sigmas: Tensor) -> Iterator[SampleStep]:
    """x' = x + (sigma' - sigma) v with v = (x - x0) / sigma, written in x0. Its last step lands on x0 itself."""
    levels = levels_of(sigmas)
    x = working_copy(noise)
    for index, sigma in enumerate(levels):
        denoised = denoiser(x, index).to(x.dtype)
        yield SampleStep(index=index, x=x, denoised=denoised)
        if index + 1 < len(levels):
            ratio = levels[index + 1] / sigma
            x = combine(ratio, x, [1.0 - ratio], [denoised])
