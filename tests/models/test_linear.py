"""Linear layers compute the same, whichever library does it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from framepack.models import linear
from framepack.models.linear import ONEDNN_DTYPES, ExactLinear, Linear, gelu_linear, onednn_takes

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def layer_and_input(dtype: torch.dtype) -> tuple[Linear, torch.Tensor]:
    torch.manual_seed(0)
    return Linear(24, 40).to(dtype).requires_grad_(False), torch.randn(2, 9, 24).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_linear_is_what_torch_computes_for_whole_and_for_sliced_tokens(dtype):
    layer, x = layer_and_input(dtype)
    for part in (x, x[:, 2:7], x[:1], x[0]):
        expected = F.linear(part.float(), layer.weight.float(), layer.bias.float())
        torch.testing.assert_close(layer(part).float(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_in_one_kernel_is_gelu_after_the_layer(dtype):
    layer, x = layer_and_input(dtype)
    expected = F.gelu(F.linear(x.float(), layer.weight.float(), layer.bias.float()), approximate="tanh")
    torch.testing.assert_close(gelu_linear(layer, x).float(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_gradients_flow_through_layers_that_want_them():
    layer, x = layer_and_input(torch.float32)
    layer.requires_grad_(True)
    assert not onednn_takes(x, layer.weight)
    gelu_linear(layer, layer(x) @ torch.ones(40, 24)).sum().backward()
    assert layer.weight.grad is not None
    x.requires_grad_(True)
    layer.requires_grad_(False)
    assert not onednn_takes(x, layer.weight)
    with torch.no_grad():
        assert onednn_takes(x, layer.weight) == (torch.float32 in ONEDNN_DTYPES)


def test_what_wraps_a_layer_is_called_before_the_activation():
    class Doubled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.inner(x)

    layer, x = layer_and_input(torch.float32)
    expected = F.gelu(2 * F.linear(x, layer.weight, layer.bias), approximate="tanh")
    torch.testing.assert_close(gelu_linear(Doubled(layer), x), expected, rtol=1e-5, atol=1e-5)


def test_without_onednn_the_result_is_the_same(monkeypatch):
    layer, x = layer_and_input(torch.float32)
    fast = gelu_linear(layer, x), layer(x)
    monkeypatch.setattr(linear, "ONEDNN_DTYPES", frozenset())
    for a, b in zip(fast, (gelu_linear(layer, x), layer(x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_the_exact_linear_computes_in_float32():
    exact = ExactLinear(24, 40).bfloat16()
    x = torch.randn(2, 9, 24).bfloat16()
    assert torch.equal(exact(x), F.linear(x.float(), exact.weight.float(), exact.bias.float()))
