"""A problem whose answer is known: normally distributed data, so denoiser and path have closed forms."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

NUMBERS = json.loads((Path(__file__).parent.parent / "data" / "sampling.json").read_text())


@dataclass
class Gaussian:
    """Data of mean `mean` per channel and deviation 0.5; latents are (1 - sigma) data + sigma noise."""

    sigmas: Tensor
    calls: list[int] = field(default_factory=list)
    deviation: float = 0.5

    def mean(self, like: Tensor) -> Tensor:
        return torch.linspace(-1, 1, 4, dtype=like.dtype).view(1, 4, 1, 1, 1)

    def denoise(self, x: Tensor, step: int) -> Tensor:
        self.calls.append(step)
        sigma = self.sigmas[step].item()
        keep, variance, mean = 1 - sigma, self.deviation**2, self.mean(x)
        return mean + keep * variance / (keep**2 * variance + sigma**2) * (x - keep * mean)

    def exact(self, noise: Tensor, sigma: float) -> Tensor:
        return (1 - sigma) * self.mean(noise) + ((1 - sigma) ** 2 * self.deviation**2 + sigma**2) ** 0.5 * noise


def measure_error(sampler, steps: int) -> float:
    """Largest error of the latents at sigma 0.2 after `steps` even steps from the exact path at 0.9, in float64."""
    levels = torch.linspace(0.9, 0.2, steps + 1, dtype=torch.float64)
    problem = Gaussian(torch.cat([levels, torch.zeros(1, dtype=torch.float64)]))
    noise = torch.randn(1, 4, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    *_, last = sampler(problem.denoise, problem.exact(noise, 0.9), problem.sigmas)
    return (last.x - problem.exact(noise, 0.2)).abs().max().item()


@pytest.fixture(scope="session")
def numbers() -> dict:
    return NUMBERS


@pytest.fixture
def gaussian():
    return Gaussian


@pytest.fixture
def reference_noise() -> Tensor:
    return torch.tensor(NUMBERS["noise"]).view(1, 4, 2, 3, 3)


@pytest.fixture
def error_at_end():
    return measure_error


@pytest.fixture
def observed_order():
    """Exponent with which the error falls as the steps double, from 32 to 64."""

    return lambda sampler: math.log2(measure_error(sampler, 32) / measure_error(sampler, 64))
