"""Gradients of convolutions can be trusted on every CPU."""

import pytest
import torch

from framepack.training import amx
from framepack.training.amx import use_float32_convolutions


def gradient(convolution: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    for size in (1 << 16, 1 << 18, 1 << 20, 1 << 22):
        torch.full((size,), float("nan"))  # memory that is given back has this in it
    with torch.autocast("cpu", torch.bfloat16):
        made = convolution(x)
    assert made.dtype == torch.bfloat16
    convolution.zero_grad()
    made.backward(torch.ones_like(made) / 16)
    return convolution.weight.grad.clone()


@pytest.mark.parametrize("frames", [3, 4])
def test_the_gradient_of_a_convolutions_weights_is_finite_right_and_the_same_again(frames):
    torch.manual_seed(0)
    convolution, x = torch.nn.Conv3d(32, 32, 3), torch.randn(1, 32, frames, 66, 66)
    exact = gradient_of(convolution, x)
    trusted = use_float32_convolutions(convolution)
    first, *again = (gradient(trusted, x) for _ in range(4))
    assert torch.isfinite(first).all()
    assert (first - exact).abs().max() < 0.02 * exact.abs().max()
    assert all(torch.equal(one, first) for one in again)


def gradient_of(convolution: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """In float32."""
    made = convolution(x)
    made.backward(torch.ones_like(made) / 16)
    return convolution.weight.grad.clone()


def test_bfloat16_weights_stay_what_they_are(monkeypatch):
    monkeypatch.setattr(amx, "has_amx", lambda: True)
    convolution = use_float32_convolutions(torch.nn.Conv2d(3, 8, 2, bias=False).bfloat16())
    made = convolution(torch.randn(1, 3, 8, 8).bfloat16())
    made.sum().backward()
    assert made.dtype == convolution.weight.grad.dtype == torch.bfloat16
