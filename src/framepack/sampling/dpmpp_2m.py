"""DPM-Solver++(2M): second order from the last two predictions, no corrector (Lu et al., arXiv 2211.01095).

With lambda = -log sigma, h = lambda' - lambda and h_0 the step before:
    x' = (sigma'/sigma) x + (1 - e^-h) D,     D = x0 + h / (2 h_0) (x0 - x0_before)
The first step, which has no prediction before it, is of first order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from framepack.sampling.sampler import Denoiser, SampleStep, combine, levels_of, log_snr, working_copy


def dpmpp_2m(denoiser: Denoiser, noise: Tensor, sigmas: Tensor) -> Iterator[SampleStep]:
    """Sample with one model call a step. Less exact than UniPC, whose corrector is worth one order more."""
    levels = levels_of(sigmas)
    x = working_copy(noise)
    before: Tensor | None = None
    for index, sigma in enumerate(levels):
        denoised = denoiser(x, index).to(x.dtype)
        yield SampleStep(index=index, x=x, denoised=denoised)
        if index + 1 == len(levels):
            return
        h = log_snr(levels[index + 1]) - log_snr(sigma)
        ratio, gain = levels[index + 1] / sigma, -math.expm1(-h)
        if before is None:
            x = combine(ratio, x, [gain], [denoised])
        else:
            lean = h / (2.0 * (log_snr(sigma) - log_snr(levels[index - 1])))
            x = combine(ratio, x, [gain * (1.0 + lean), -gain * lean], [denoised, before])
        before = denoised
