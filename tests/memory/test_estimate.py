from operator import attrgetter

import pytest
import torch
import torch.nn.functional as F
from rig import Block, Net, inputs, net

from framepack.memory.estimate import estimate, estimate_lease
from framepack.memory.manager import MemoryManager
from framepack.memory.weight_blocks import split

MB = 1 << 20


def meta(*shape):
    return torch.empty(*shape, dtype=torch.uint8, device="meta")


def test_the_peak_is_what_is_alive_at_once():
    def work():
        first = meta(3, MB) + 1
        second = first + 1
        del first
        third = second[:1] + 1  # a view takes nothing
        return third + 1

    source = meta(3, MB)
    assert estimate(work).activations == 6 * MB  # 3 + 3, then 3 + 1 + 1
    assert estimate(lambda: [source + 1, source + 1, source + 1]).activations == 9 * MB
    assert estimate(lambda: (source + 1).add_(1).view(-1)).activations == 3 * MB


def test_multiplications_are_counted_and_attention_makes_no_table_of_pairs():
    query = torch.empty(1, 2, 1000, 8, device="meta")
    cost = estimate(lambda: F.scaled_dot_product_attention(query, query, query))
    assert cost.flops == 4 * 2 * 1000 * 1000 * 8
    assert cost.activations == pytest.approx(query.nbytes, rel=0.01)
    assert estimate(lambda: query[0, 0] @ query[0, 0].T).flops == 2 * 1000 * 1000 * 8


def test_a_meta_run_counts_what_a_real_run_allocates():
    x, vector = inputs()
    module = net()
    real = estimate(lambda: module(x, module.condition(vector)))
    with torch.device("meta"):
        shapes = Net().eval()
    x, vector = x.to("meta"), vector.to("meta")
    assert estimate(lambda: shapes(x, shapes.condition(vector))) == real


@pytest.mark.parametrize("room", [0.0, 0.5, 2.0])
def test_a_lease_that_is_estimated_does_what_the_real_one_does(room):
    module = net()
    blocks = [weight_block.nbytes for weight_block in split(module, module.blocks, module.once).blocks]
    limit = 20_000 + 3 * max(blocks) + int(room * sum(blocks))
    x, vector = (tensor.to("meta") for tensor in inputs())
    shapes = net().to("meta")
    condition = estimate(lambda: shapes.condition(vector))
    step = estimate(lambda: shapes(x, shapes.condition(vector)))

    def managers():
        for device in ("meta", "cpu"):
            memory = MemoryManager(device, vram_limit=limit, preserve=0)
            for name in "ab":
                memory.add(name, net().to(device), blocks=attrgetter("blocks"), once=attrgetter("once"))
            yield memory

    planned, real = managers()
    for name, once, cost in (("a", True, condition), ("a", False, step), ("b", False, step), ("a", False, step)):
        leased = estimate_lease(planned, name, once=once, workspace=cost.activations)
        before = real.report().bytes_copied
        with real.lease(name, once=once, activations=cost.activations):
            report = real.report()
        assert leased.held == {held: part.device for held, part in report.modules.items()}
        assert leased.where == report.modules[name].where
        assert leased.streamed == report.modules[name].streamed
        assert leased.brought == report.bytes_copied - before
        assert sum(leased.held.values()) + cost.activations <= limit


def test_of_blocks_alike_two_are_run_and_the_others_counted():
    with torch.device("meta"):
        module, x, vectors = Net(), torch.empty(3, 4), 7 * [torch.empty(1, 48)]
        module.blocks = torch.nn.ModuleList(Block(16, 64) for _ in vectors)
    runs = []
    for block in module.blocks:
        block.up.register_forward_hook(lambda *_: runs.append(1))
    every = estimate(lambda: module(x, vectors))
    assert len(runs) == 7
    assert estimate(lambda: module(x, vectors), list(module.blocks)) == every
    assert len(runs) == 7 + 2
    assert not any("forward" in vars(block) for block in module.blocks)


def test_a_gelu_within_its_linear_makes_no_tensor():
    x = meta(1, MB).float()
    apart, fused = (estimate(lambda: F.gelu(x + 1), fused_gelu=fused).activations for fused in (False, True))
    assert apart == 2 * fused == 8 * MB
