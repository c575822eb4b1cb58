import random
from contextlib import suppress
from operator import attrgetter

import pytest
import torch
from rig import RacyLane, expected, inputs, mapped, net
from torch import nn

from framepack.memory import MemoryExhaustedError, MemoryManager, budget
from framepack.memory.units import split


def sizes(module):
    units = split(module, module.blocks, module.once)
    return units.rest.nbytes, [u.nbytes for u in units.blocks], [u.nbytes for u in units.once]


REST, BLOCKS, ONCE = sizes(net())


def pretend(limit, seed=0, **options):
    """A manager of a pretended device of `limit` bytes, with a copy stream of its own."""
    return MemoryManager("cpu", vram_limit=limit, lane=RacyLane(seed), **{"preserve": 0, **options})


def add(memory, name, module, **options):
    memory.add(name, module, blocks=attrgetter("blocks"), once=attrgetter("once"), **options)


def run(memory, name, steps=3):
    """What `expected` computes, on loan."""
    x, vector = inputs()
    with memory.lease(name, once=True) as module:
        table = module.condition(vector)
    with memory.lease(name) as module:
        for _ in range(steps):
            x = module(x, table)
    return x


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


@pytest.mark.parametrize("on_disk", [True, False])
def test_modules_first_leased_in_inference_mode_are_ordinary_ones(tmp_path, on_disk):
    files = {}
    memory = pretend(REST + 3 * max(BLOCKS))

    def load():
        if not on_disk:
            return net()
        module, slices = mapped(tmp_path)
        files.update(slices)
        return module

    add(memory, "net", load, files=files)
    with torch.inference_mode():
        assert torch.equal(run(memory, "net"), expected(net()))
    with memory.lease("net") as module:
        assert not any(tensor.is_inference() for tensor in module.parameters())
    assert torch.equal(run(memory, "net"), expected(net()))
    memory.close()


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


def test_high_vram_keeps_everything():
    memory = pretend(1000, high_vram=True)
    for seed, name in enumerate("ab"):
        add(memory, name, net(seed))
        with memory.lease(name):
            pass
    assert memory.report().modules["b"].where == "on the device"
    assert MemoryManager("cpu", vram_limit=61 * budget.GB).high_vram
    assert not MemoryManager("cpu", vram_limit=59 * budget.GB).high_vram


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


def test_a_ram_limit_leaves_weights_on_disk_and_computes_the_same_bits(tmp_path):
    module, files = mapped(tmp_path)
    memory = pretend(REST + 3 * max(BLOCKS) + 1000, ram_limit=0)
    add(memory, "net", module, files=files)
    assert torch.equal(run(memory, "net"), expected(net()))
    assert memory.report().host == 0
    assert memory.report().bytes_read > 2 * (sum(BLOCKS) - 5000)
    memory.close()
    assert {name: t.data_ptr() for name, t in module.state_dict().items()} == {n: f.address for n, f in files.items()}


def test_without_a_ram_limit_streamed_blocks_are_read_once(tmp_path):
    module, files = mapped(tmp_path)
    memory = pretend(REST + 3 * max(BLOCKS))
    add(memory, "net", module, files=files)
    assert torch.equal(run(memory, "net"), expected(net()))
    assert memory.report().host == sum(BLOCKS)
    assert memory.report().bytes_read <= REST + sum(BLOCKS) + sum(ONCE)
    memory.close()


def test_a_cpu_streams_from_disk_what_its_ram_limit_does_not_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "resident_ram", lambda: 0)
    limit = REST + 3 * max(BLOCKS) + 1000
    module, files = mapped(tmp_path)
    memory = MemoryManager("cpu", ram_limit=limit, preserve=0)
    add(memory, "net", module, files=files)
    assert torch.equal(run(memory, "net"), expected(net()))
    with memory.lease("net"):
        assert 0 < memory.report().held <= limit
        assert memory.report().host == 0
    assert "streamed" in memory.report().modules["net"].where
    memory.close()


def test_files_that_the_loader_names_are_used(tmp_path):
    files = {}

    def load():
        module, slices = mapped(tmp_path)
        files.update(slices)
        return module

    memory = pretend(10 * (REST + sum(BLOCKS)))
    add(memory, "net", load, files=files)
    assert torch.equal(run(memory, "net"), expected(net()))
    assert memory.report().bytes_read > 0
    memory.close()


def test_a_crowded_host_forgets_a_module_when_another_is_loaded():
    loads = []
    memory = pretend(10 * (REST + sum(BLOCKS)), ram_limit=1)
    add(memory, "a", lambda: loads.append("a") or net())
    add(memory, "b", lambda: loads.append("b") or net(1))
    assert torch.equal(run(memory, "a"), expected(net()))
    assert torch.equal(run(memory, "a"), expected(net()))
    with memory.lease("a"):
        run(memory, "b")
        assert memory.report().modules["a"].where == "on the device"
    assert loads == ["a", "b"]
    memory.remove("b")
    add(memory, "b", lambda: loads.append("b") or net(1))
    assert torch.equal(run(memory, "b"), expected(net(1)))
    assert memory.report().modules["a"].where == "not loaded"
    assert torch.equal(run(memory, "a"), expected(net()))
    assert loads == ["a", "b", "b", "a"]


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


def test_out_of_memory_steps_down_and_computes_the_same_bits():
    memory = pretend(REST + 3 * max(BLOCKS) + sum(BLOCKS) // 2)
    add(memory, "net", net())
    seen = []

    def work(effort):
        seen.append((effort.rung, memory.report().held))
        result = run(memory, "net")
        if len(seen) < 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return result

    assert torch.equal(memory.attempt("step", work, heeds={"resident"}), expected(net()))
    assert [rung for rung, _ in seen] == ["as planned", "fewer resident blocks", "streamed"]
    assert [held for _, held in seen[1:]] == [0, 0]  # all that was idle was given back before the redo
    assert memory.report().modules["net"].where.startswith("0 of 7 blocks")
    memory.free()
    run(memory, "net")
    assert not memory.report().modules["net"].where.startswith("0 of 7 blocks")  # the next job begins anew


def test_the_disk_rung_gives_pinned_buffers_back(tmp_path):
    module, files = mapped(tmp_path)
    memory = pretend(REST + 3 * max(BLOCKS))
    add(memory, "net", module, files=files)
    run(memory, "net")
    assert memory.report().host == sum(BLOCKS)
    calls = []

    def work(effort):
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return run(memory, "net")

    assert torch.equal(memory.attempt("step", work, heeds={"disk"}), expected(net()))
    assert memory.report().host == 0
    memory.close()


@pytest.mark.parametrize("seed", range(100))
def test_random_leases_and_failures_end_clean(seed, tmp_path):
    """Nested leases, errors inside them and in copies, evictions, removals; then everything is as it was."""
    chance = random.Random(seed)
    limit = REST + 3 * max(BLOCKS) + chance.randint(0, 2 * sum(BLOCKS))
    memory = pretend(limit, seed=seed, ram_limit=chance.choice([None, 0]))
    modules, homes = {}, {}
    for index, name in enumerate("abc"):
        modules[name], files = mapped(tmp_path, index) if chance.random() < 0.5 else (net(index), {})
        homes[name] = {key: (id(t), t.clone()) for key, t in modules[name].named_parameters()}
        add(memory, name, modules[name], files=files)
    truths = {name: expected(net(index)) for index, name in enumerate("abc")}
    for _ in range(12):
        _one_random_act(memory, chance, truths, limit)
    memory.free()
    assert memory.report().held == 0
    assert not any(group.in_use or group.swap for group in memory._groups())
    memory.close()
    for name, module in modules.items():
        for key, tensor in module.named_parameters():
            assert id(tensor) == homes[name][key][0]
            assert torch.equal(tensor, homes[name][key][1])
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def _one_random_act(memory, chance, truths, limit):
    act, name = chance.choice(["run", "nest", "fail", "block", "free", "attempt"]), chance.choice("abc")
    if act == "run":
        assert torch.equal(run(memory, name), truths[name])
    elif act == "nest":
        with memory.lease(chance.choice("abc"), activations=chance.randint(0, 2000)):
            assert torch.equal(run(memory, name), truths[name])
    elif act == "fail":
        with pytest.raises(KeyError), memory.lease(name, once=chance.random() < 0.3):
            raise KeyError
    elif act == "block":
        with memory.lease(name) as module:
            handle = chance.choice(module.blocks).up.register_forward_pre_hook(_explode)
            with pytest.raises(torch.OutOfMemoryError):
                module(inputs()[0], [torch.zeros(1, 48)] * 7)
            handle.remove()
    elif act == "free":
        memory.free()
        assert memory.report().held == 0
    else:
        left = [chance.randint(0, 2)]
        with suppress(MemoryExhaustedError):
            assert torch.equal(memory.attempt(name, lambda _: _tired(memory, name, left)), truths[name])
    if act != "nest":
        assert memory.report().held <= limit


def _explode(module, args):
    raise torch.OutOfMemoryError("CUDA out of memory")


def _tired(memory, name, left):
    result = run(memory, name)
    if left[0]:
        left[0] -= 1
        raise torch.OutOfMemoryError("CUDA out of memory")
    return result
