"""Leases: what they cost, what stays on the device and what has to go."""

import pytest
import torch
from managed import BLOCKS, ONCE, REST, add, pretend, run
from rig import expected, inputs, net
from torch import nn

from framepack.memory import MemoryManager, budget


def test_on_a_cpu_a_lease_is_free():
    memory, module = MemoryManager("cpu"), net()
    add(memory, "net", module)
    before = [p.data_ptr() for p in module.parameters()]
    assert torch.equal(run(memory, "net"), expected(net()))
    assert [p.data_ptr() for p in module.parameters()] == before
    assert memory.report().held == memory.report().bytes_copied == 0


def test_a_module_is_loaded_at_its_first_lease_and_only_then():
    loads = []
    memory = MemoryManager("cpu")
    memory.add("linear", lambda: loads.append(1) or nn.Linear(2, 2))
    assert loads == []
    assert memory.report().modules["linear"].where == "not loaded"
    for _ in range(2):
        with memory.lease("linear") as linear:
            assert linear(torch.ones(1, 2)).shape == (1, 2)
    assert loads == [1]


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.8, 1.5])
def test_any_budget_computes_the_same_bits(share):
    least = REST + 3 * max(BLOCKS)
    memory = pretend(int(least + share * sum(BLOCKS)), seed=int(share * 10))
    add(memory, "net", net())
    assert torch.equal(run(memory, "net"), expected(net()))
    assert torch.equal(run(memory, "net"), expected(net()))
    assert memory.report().held <= memory.report().capacity


def test_weights_never_exceed_what_the_budget_leaves_them():
    limit, preserve, work = REST + 3 * max(BLOCKS) + sum(BLOCKS) // 2, 3000, sum(BLOCKS) // 2
    memory = pretend(limit, preserve=preserve)
    add(memory, "a", net())
    add(memory, "b", net(1))
    peaks = []
    for name in ("a", "b", "a"):
        with memory.lease(name, activations=work):
            peaks.append(memory.report().held)
    assert max(peaks) <= limit - work
    with memory.lease("a"):
        assert limit - work < memory.report().held <= limit - preserve


def test_once_a_job_modules_are_off_the_device_while_blocks_are_on_it():
    memory, module = pretend(10 * (REST + sum(BLOCKS) + sum(ONCE))), net()
    add(memory, "net", module)
    home = module.blocks[0].norm.weight.data_ptr()
    with memory.lease("net", once=True):
        assert memory.report().held == REST + sum(ONCE)
        assert module.blocks[0].norm.weight.data_ptr() != home
    with memory.lease("net"):
        assert memory.report().held == REST + sum(BLOCKS)
        assert module.blocks[0].norm.weight.data_ptr() == home
        with memory.lease("net", once=True):
            assert memory.report().held == REST + sum(BLOCKS) + sum(ONCE)
        assert memory.report().held == REST + sum(BLOCKS)


def test_a_module_stays_on_the_device_until_another_needs_the_room():
    whole = REST + sum(BLOCKS)
    memory = pretend(2 * whole)
    for seed, name in enumerate("abc"):
        add(memory, name, net(seed))
        with memory.lease(name):
            pass
    report = memory.report()
    assert {name: report.modules[name].device for name in "abc"} == {"a": 0, "b": whole, "c": whole}
    copied = report.bytes_copied
    with memory.lease("b"), memory.lease("c"):
        pass
    assert memory.report().bytes_copied == copied
    assert memory.report().modules["b"].where == "on the device"
    assert memory.report().modules["a"].where == "on the host"


def test_modules_on_loan_are_never_evicted():
    whole = REST + sum(BLOCKS)
    memory = pretend(whole + REST + 3 * max(BLOCKS))
    add(memory, "a", net())
    add(memory, "b", net(1))
    with memory.lease("a") as a:
        on_device = a.blocks[0].up.weight.data_ptr()
        assert torch.equal(run(memory, "b"), expected(net(1)))
        assert a.blocks[0].up.weight.data_ptr() == on_device
    assert "streamed through 3 slots" in memory.report().modules["b"].where


def test_high_vram_keeps_everything_also_after_a_job():
    memory = pretend(2 * (REST + sum(BLOCKS)), high_vram=True)
    for seed, name in enumerate("ab"):
        add(memory, name, net(seed))
        with memory.lease(name):
            pass
    memory.end_job()
    assert {memory.report().modules[name].where for name in "ab"} == {"on the device"}
    assert MemoryManager("cpu", vram_limit=61 * budget.GB).high_vram
    assert not MemoryManager("cpu", vram_limit=59 * budget.GB).high_vram


@pytest.mark.parametrize("high_vram", [False, True])
@pytest.mark.parametrize("spared", ["preserve", "activations"])
def test_high_vram_leaves_free_what_it_is_told_to(spared, high_vram):
    limit, free = 2 * (REST + sum(BLOCKS)), REST + 2 * sum(BLOCKS) - 3 * max(BLOCKS)
    memory = pretend(limit, high_vram=high_vram, preserve=free if spared == "preserve" else 0)
    add(memory, "net", net())
    with memory.lease("net", activations=free if spared == "activations" else 0):
        assert memory.report().held <= limit - free
    assert "streamed" in memory.report().modules["net"].where
    assert torch.equal(run(memory, "net"), expected(net()))


def test_streaming_goes_on_where_it_was_in_the_next_lease():
    memory = pretend(REST + 3 * max(BLOCKS))
    add(memory, "net", net())
    run(memory, "net", steps=1)
    before = memory.report().bytes_copied
    x, vector = inputs()
    table = memory._managed["net"].module.condition(vector)
    with memory.lease("net") as module:
        module(x, table)
    assert memory.report().bytes_copied - before == sum(BLOCKS)  # the first blocks were there already


def test_removed_modules_keep_their_weights():
    memory, module = pretend(REST + 3 * max(BLOCKS)), net()
    add(memory, "net", module)
    run(memory, "net")
    memory.remove("net")
    memory.remove("net")
    assert torch.equal(expected(module), expected(net()))
    assert memory.report().held == 0
    with pytest.raises(ValueError, match="memory has no module 'net'; it has none"), memory.lease("net"):
        pass


def test_names_are_taken_once():
    memory = MemoryManager("cpu")
    memory.add("vae", nn.Linear(2, 2))
    with pytest.raises(ValueError, match="already has a module named 'vae'"):
        memory.add("vae", nn.Linear(2, 2))


def test_small_changes_of_what_is_free_move_no_blocks(monkeypatch):
    free = REST + 3 * max(BLOCKS) + sum(BLOCKS) // 2
    memory = pretend(free)
    add(memory, "net", net())
    monkeypatch.setattr(budget.Budget, "slack", lambda self: 500)
    with memory.lease("net"):
        copied = memory.report().bytes_copied
    for change in (300, -300, 100, -450, 499):
        monkeypatch.setattr(budget.Budget, "others", lambda self, weights, change=change: change)
        with memory.lease("net"):
            assert memory.report().bytes_copied == copied
            assert memory.report().held <= free - change
    monkeypatch.setattr(budget.Budget, "others", lambda self, weights: sum(BLOCKS) // 2)
    with memory.lease("net"):
        assert memory.report().held <= free - sum(BLOCKS) // 2


def test_after_a_last_pass_nothing_is_fetched_for_another():
    memory, (x, vector) = pretend(0), inputs()
    add(memory, "net", net())
    with memory.lease("net", once=True) as module:
        table = module.condition(vector)
    copied = memory.report().bytes_copied
    for step in range(3):
        with memory.lease("net", last=step == 2) as module:
            x = module(x, table)
    assert torch.equal(x, expected(net()))
    assert memory.report().bytes_copied - copied == 3 * sum(BLOCKS)
    memory.close()
