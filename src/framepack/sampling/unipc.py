"""UniPC: a predictor-corrector of unified form, third order at one model call a step (Zhao et al., arXiv 2302.04867).

Written from the paper in data prediction, for flow matching: with lambda = -log sigma and h = lambda' - lambda,
    x' = (sigma'/sigma) x + (1 - e^-h) x0  -  B(h) sum_m rho_m (x0_m - x0) / r_m,     r_m = (lambda_m - lambda) / h
where x0_m are earlier predictions (the predictor), and with r = 1 the one at the predicted point too (the corrector).
The rho solve the paper's order conditions; B(h) is -h ("bh1") or e^-h - 1 ("bh2"), and matters only where the paper
takes rho = 1/2 for a single node, since it cancels everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from framepack.sampling.sampler import Denoiser, SampleStep, combine, levels_of, log_snr, working_copy

Variant = Literal["bh1", "bh2"]


def unipc(
    denoiser: Denoiser, noise: Tensor, sigmas: Tensor, *, variant: Variant = "bh1", max_order: int = 3
) -> Iterator[SampleStep]:
    """Sample with UniPC of order min(max_order, steps - 1); step i warms up at order i.

    The corrector reuses the call made at the predicted point, so each step costs one call.
    """
    levels = levels_of(sigmas)
    order = min(max_order, len(levels) - 1)
    x = working_copy(noise)
    lambdas: list[float] = []
    predictions: list[Tensor] = []
    for index, sigma in enumerate(levels):
        if index == 0:
            denoised = denoiser(x, index).to(x.dtype)
        else:
            ratio, h = sigma / levels[index - 1], log_snr(sigma) - lambdas[0]
            nodes = [(earlier - lambdas[0]) / h for earlier in lambdas[1:]]
            predicted = combine(ratio, x, solver_weights(nodes, h, variant), predictions)
            denoised = denoiser(predicted, index).to(x.dtype)
            x = combine(ratio, x, solver_weights([*nodes, 1.0], h, variant), [*predictions, denoised])
        yield SampleStep(index=index, x=x, denoised=denoised)
        lambdas = [log_snr(sigma), *lambdas][:order]
        predictions = [denoised, *predictions][:order]


def solver_weights(nodes: Sequence[float], h: float, variant: Variant) -> list[float]:
    """Weights of the predictions at r = 0 and at `nodes` in one step of length h in lambda. They add up to 1 - e^-h."""
    b = -h if variant == "bh1" else math.expm1(-h)
    at_nodes = [-b * rho / r for rho, r in zip(_rhos(nodes, h, b), nodes, strict=True)]
    return [-math.expm1(-h) - sum(at_nodes), *at_nodes]


def _rhos(nodes: Sequence[float], h: float, b: float) -> list[float]:
    """Solution of sum_m rho_m r_m^(k-1) = k! phi_(k+1)(-h) (-h) / B(h), k = 1..len(nodes), in float64 on the CPU."""
    if len(nodes) < 2:
        return [0.5] * len(nodes)
    powers = torch.tensor([[r**k for r in nodes] for k in range(len(nodes))], dtype=torch.float64, device="cpu")
    moments, phi = [], math.expm1(-h) / -h
    for k in range(1, len(nodes) + 1):
        phi = (phi - 1.0 / math.factorial(k)) / -h
        moments.append(math.factorial(k) * phi * -h / b)
    return torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64, device="cpu")).tolist()
