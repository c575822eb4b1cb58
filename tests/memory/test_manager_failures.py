"""Leases that run out of memory, fail or are nested at random: the same bits, and nothing left behind."""

import random
from contextlib import suppress

import pytest
import torch
from managed import BLOCKS, REST, add, pretend, run
from rig import expected, inputs, mapped, net

from framepack.memory import MemoryExhaustedError


def test_out_of_memory_steps_down_and_computes_the_same_bits():
    memory = pretend(REST + 3 * max(BLOCKS) + sum(BLOCKS) // 2)
    add(memory, "net", net())
    seen = []

    def work(level):
        seen.append((level.name, memory.report().held))
        result = run(memory, "net")
        if len(seen) < 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return result

    assert torch.equal(memory.retry_with_less_memory("step", work, supported={"resident"}), expected(net()))
    assert [name for name, _ in seen] == ["as planned", "as planned", "fewer resident blocks", "streamed"]
    assert [held for _, held in seen[1:]] == [0, 0, 0]  # all that was idle was given back before the redo
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

    def work(level):
        calls.append(1)
        if len(calls) <= 2:  # the first time it is tried again as it was
            raise MemoryError
        return run(memory, "net")

    assert torch.equal(memory.retry_with_less_memory("step", work, supported={"disk"}), expected(net()))
    assert memory.report().host == 0
    memory.close()


@pytest.mark.parametrize("high_vram", [False, True])
@pytest.mark.parametrize("when", ["at once", "on arrival"])
@pytest.mark.parametrize("fails", [1, 4, 12])
def test_what_a_failed_read_left_half_filled_is_read_again(tmp_path, monkeypatch, fails, when, high_vram):
    module, files = mapped(tmp_path)
    memory = pretend(4 * (REST + sum(BLOCKS)), high_vram=high_vram)
    add(memory, "net", module, files=files)
    read, calls = memory.reader.read, []

    def gone():
        raise OSError("disk is gone")

    def failing(*arguments):
        calls.append(1)
        if len(calls) == fails:
            return gone if when == "on arrival" else gone()
        return read(*arguments)

    monkeypatch.setattr(memory.reader, "read", failing)
    with pytest.raises(OSError, match="disk is gone"):
        run(memory, "net")
    memory.end_job()
    assert torch.equal(run(memory, "net"), expected(net()))
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
            assert torch.equal(memory.retry_with_less_memory(name, lambda _: _tired(memory, name, left)), truths[name])
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
