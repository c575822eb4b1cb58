from operator import attrgetter

import pytest
import torch
import torch.nn.functional as F
from rig import Net, inputs, net

from framepack.memory.budget import Budget
from framepack.memory.estimate import Speed, Stage, estimate, rehearsal_for, rehearse
from framepack.memory.manager import MemoryManager
from framepack.memory.units import split

MB = 1 << 20
SPEED = Speed(flops=1e12, copied=1e10)


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
    assert measure(work).activations == 6 * MB  # 3 + 3, then 3 + 1 + 1
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
def test_a_rehearsal_says_what_the_performance_does(room):
    module = net()
    blocks = [unit.nbytes for unit in split(module, module.blocks, module.once).blocks]
    limit = 20_000 + 3 * max(blocks) + int(room * sum(blocks))
    x, vector = inputs()

    def add(memory, device):
        for name in "ab":
            memory.add(name, net().to(device), blocks=attrgetter("blocks"), once=attrgetter("once"))

    shapes, there = net().to("meta"), [tensor.to("meta") for tensor in (x, vector)]
    condition = estimate(lambda: shapes.condition(there[1]))
    step = estimate(lambda: shapes(there[0], shapes.condition(there[1])))
    stages = [
        Stage(label="condition", module="a", once=True, cost=condition),
        Stage(label="step", module="a", passes=3, cost=step),
        Stage(label="other", module="b", cost=step),
    ]

    budget = Budget(device=torch.device("cpu"), vram_limit=limit, preserve=0)
    forecasts = rehearse(rehearsal_for(budget, lambda memory: add(memory, "meta")), stages, SPEED)

    real = MemoryManager("cpu", vram_limit=limit, preserve=0)
    add(real, "cpu")
    for stage, forecast in zip(stages, forecasts, strict=True):
        with real.lease(stage.module, once=stage.once, activations=forecast.activations):
            report = real.report()
        assert forecast.weights == report.held
        assert forecast.where == report.modules[stage.module].where
        assert forecast.peak == report.held + forecast.activations <= limit
    assert forecasts[1].seconds > 0


def test_time_is_the_longer_of_computing_and_copying():
    limit = 40_000
    budget = Budget(device=torch.device("cpu"), vram_limit=limit, preserve=0)
    x, vector = (tensor.to("meta") for tensor in inputs())
    module = net().to("meta")
    cost = estimate(lambda: module(x, module.condition(vector)))
    stage = Stage(label="step", module="a", passes=1000, cost=cost)

    def forecast(speed):
        memory = rehearsal_for(
            budget,
            lambda memory: memory.add("a", net().to("meta"), blocks=attrgetter("blocks"), once=attrgetter("once")),
        )
        return rehearse(memory, [stage], speed)[0]

    slow_copies, slow_sums = forecast(Speed(flops=1e15, copied=1e6)), forecast(Speed(flops=1e6, copied=1e15))
    assert slow_copies.copied > 0
    assert slow_copies.seconds == pytest.approx(slow_copies.copied / 1e6, rel=1e-3)
    assert slow_sums.seconds > 10 * slow_copies.copied / 1e15


def test_what_was_not_measured_is_unknown():
    cost = estimate(lambda: torch.empty(8, 8, device="meta") @ torch.empty(8, 8, device="meta"))
    memory = MemoryManager("meta", vram_limit=10_000_000)
    memory.add("a", torch.nn.Linear(8, 8).to("meta"))
    stage = Stage(label="step", module="a", cost=cost)
    assert rehearse(memory, [stage], Speed(flops=1e9))[0].seconds is None  # its weights come at an unknown rate
    assert rehearse(memory, [stage], Speed(flops=1e9))[0].seconds == cost.flops / 1e9  # they are there already
    assert rehearse(memory, [stage], Speed(copied=1e9))[0].seconds is None


def test_a_gelu_within_its_linear_makes_no_tensor():
    x = meta(1, MB).float()
    apart, fused = (estimate(lambda: F.gelu(x + 1), fused_gelu=fused).activations for fused in (False, True))
    assert apart == 2 * fused == 8 * MB
