"""The 13 B model, by its shapes alone (meta device: no weight exists)."""

import pytest
import torch

from framepack.memory.dynamic_swap import DynamicSwapInstaller
from framepack.memory.placement import Resident, place
from framepack.memory.weight_blocks import split
from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.transformer import ContextLatents, HunyuanVideoTransformer3DModelPacked

GB = 1_000_000_000


@pytest.fixture(scope="module")
def transformer():
    with torch.device("meta"):
        return HunyuanVideoTransformer3DModelPacked(TransformerConfig()).to(torch.bfloat16).eval()


@pytest.fixture(scope="module")
def weight_blocks(transformer):
    return split(transformer, transformer.blocks, transformer.once_per_job)


def step(transformer):
    """A closure that runs one step on a small picture; `condition` reads the once-a-job modules."""
    with torch.device("meta"):
        half = {"dtype": torch.bfloat16}
        table = transformer.condition(
            torch.empty(1),
            torch.empty(1),
            torch.empty(1, 768, **half),
            torch.empty(1, 8, 4096, **half),
            None,
            torch.empty(1, 729, 1152, **half),
        )
        packed = transformer.pack(
            [ContextLatents(latents=torch.empty(1, 16, 1, 16, 16), at=[0], scale=1)], [1], (1, 16, 16)
        )
        return lambda: transformer(torch.empty(1, 16, 1, 16, 16, device="meta"), table.step(0), packed)


def test_the_units_hold_every_weight_once(transformer, weight_blocks):
    exact = sum(tensor.nbytes for tensor in transformer.parameters())
    held = sum(weight_block.nbytes for weight_block in (weight_blocks.rest, *weight_blocks.blocks, *weight_blocks.once))
    assert exact == pytest.approx(25.75 * GB, rel=1e-3)
    assert held == pytest.approx(exact, rel=1e-5)


def test_a_step_copies_what_blocks_need_and_no_modulation(transformer, weight_blocks):
    run = step(transformer)
    with torch.no_grad(), DynamicSwapInstaller(transformer.blocks, "meta", weight_blocks=weight_blocks.blocks) as swap:
        run()
        before = swap.bytes_copied
        run()
        copied = swap.bytes_copied - before
    naive = sum(tensor.nbytes for tensor in transformer.parameters())
    assert copied / naive == pytest.approx(18.12 / 25.75, rel=1e-3)
    assert weight_blocks.rest.nbytes < 0.002 * naive  # the embedders of latents and the last layer: always there


@pytest.mark.parametrize("budget", [4, 6, 8, 12, 16, 24])
def test_every_budget_from_4_gb_has_a_placement_that_keeps_to_it(weight_blocks, budget):
    activations = 2 * GB
    room = budget * GB - activations - weight_blocks.rest.nbytes
    placement = place([weight_block.nbytes for weight_block in weight_blocks.blocks], room)
    assert weight_blocks.rest.nbytes + placement.device_bytes + activations <= budget * GB
    assert isinstance(placement, Resident) == (budget == 24)


def test_streamed_weights_and_the_rest_take_less_than_a_gigabyte(weight_blocks):
    placement = place([weight_block.nbytes for weight_block in weight_blocks.blocks], 0)
    assert weight_blocks.rest.nbytes + placement.device_bytes < GB
