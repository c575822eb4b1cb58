"""Frozen bases compute what the linears did, pass gradients through, and take the memory they promise."""

import gc

import pytest
import torch
from torch import nn

from framepack import FramePack
from framepack.memory.copy_streams import HostCopyStream
from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.training.lora.adapter import inject
from framepack.training.lora.base import BASES, FrozenLinear, freeze, quantised, use_base

GB = 1e9


def test_a_row_keeps_its_largest_entry_and_nothing_is_off_by_more_than_half_a_level():
    matrix = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    stored, scale = quantised(matrix)
    back = stored * scale[:, None]
    assert stored.dtype == torch.int8
    assert torch.allclose(back.abs().amax(1), matrix.abs().amax(1))
    assert ((back - matrix).abs() <= scale[:, None] / 2 + 1e-6).all()


@pytest.mark.parametrize(("int8", "error"), [(False, 1e-6), (True, 0.01)])
@pytest.mark.parametrize("offloaded", [False, True])
def test_output_and_gradient_are_those_of_the_linear(int8, error, offloaded):
    torch.manual_seed(1)
    linear = nn.Linear(48, 32)
    frozen = FrozenLinear(linear, int8=int8, offloaded=offloaded)
    x = torch.randn(5, 48)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, made = linear(one), frozen(two)
    assert float((made - expected).detach().norm() / expected.detach().norm()) < error
    weight = torch.randn(5, 32)
    (expected * weight).sum().backward()
    (made * weight).sum().backward()
    assert float((two.grad - one.grad).norm() / one.grad.norm()) < error
    with torch.inference_mode():
        assert torch.equal(frozen(x), made.detach())


def test_nothing_is_kept_for_the_backward_pass():
    frozen = FrozenLinear(nn.Linear(16, 16), int8=True, offloaded=False)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor), lambda kept: kept):
        frozen(torch.randn(2, 16, requires_grad=True))
    assert kept == []


@pytest.mark.parametrize("base", list(BASES))
def test_adapters_sit_on_every_kind_of_base_and_training_reaches_them(base, tiny_models_dir):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    use_base(framepack, base)
    with framepack.memory.lease("transformer") as transformer:
        adapters = inject(transformer, 2, 2.0, seed=0)
        assert len(adapters) == 2 * (1 * 12 + 2 * 5)
        frozen = [module for module in transformer.modules() if isinstance(module, FrozenLinear)]
        assert len(frozen) == (0 if base == "whole" else len(adapters) // 2)
        block = transformer.single_transformer_blocks[0]
        block.proj_mlp(torch.randn(1, 3, transformer.config.width)).sum().backward()
    assert adapters["transformer.single_transformer_blocks.0.proj_mlp.lora_B.weight"].grad.abs().sum() > 0
    with framepack.memory.lease("transformer") as again:
        assert again is transformer


class Counting(HostCopyStream):
    """A copy stream that counts what it lends."""

    lent = 0

    def host(self, nbytes):
        self.lent += nbytes
        return super().host(nbytes)

    def free_host(self, flat):
        self.lent -= flat.nbytes


def test_offloaded_matrices_take_as_much_host_memory_as_they_have_bytes_and_give_it_back():
    copy_stream, linear = Counting("cpu"), nn.Linear(24, 40)
    frozen = FrozenLinear(linear, int8=False, offloaded=True, copy_stream=copy_stream)
    assert copy_stream.lent == 24 * 40 * 4
    assert torch.equal(frozen.host, linear.weight)
    del frozen
    gc.collect()
    assert copy_stream.lent == 0


def test_an_unknown_base_is_named():
    with pytest.raises(ValueError, match="base must be one of whole, int8, offloaded, int8-offloaded, got 'int4'"):
        freeze(nn.Linear(1, 1), "int4")


def bytes_of(base: str) -> tuple[float, float]:
    """GB of FramePack's 13 B transformer during the steps: on the device, and matrices in RAM."""
    with torch.device("meta"):
        model = HunyuanVideoTransformer3DModelPacked(TransformerConfig()).bfloat16()
    freeze(model, base)
    once = {id(tensor) for part in model.once_per_job for tensor in part.parameters()}
    device = sum(tensor.nbytes for tensor in model.parameters() if id(tensor) not in once)
    host = sum(m.host.nbytes for m in model.modules() if isinstance(m, FrozenLinear) and m.host is not None)
    return device / GB, host / GB


def test_the_13b_base_takes_half_as_int8_and_next_to_nothing_offloaded():
    numbers = {base: bytes_of(base) for base in BASES}
    assert numbers["whole"] == (pytest.approx(18.15, abs=0.05), 0)
    assert numbers["int8"][0] == pytest.approx(9.1, abs=0.1)
    assert numbers["offloaded"][0] < 0.1
    assert numbers["int8-offloaded"][1] == pytest.approx(numbers["offloaded"][1] / 2)
