"""Weights off the device: in RAM, in their files, and loaded again where RAM is short."""

import pytest
import torch
from managed import BLOCKS, ONCE, REST, add, pretend, run
from rig import expected, mapped, net
from torch import nn

from framepack.memory import MemoryManager, budget


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


def test_what_is_passed_through_once_is_not_kept_in_pinned_buffers(tmp_path):
    module, files = mapped(tmp_path)
    memory = pretend(REST + 3 * max(BLOCKS))
    add(memory, "net", module, files=files, pin=False)
    assert torch.equal(run(memory, "net"), expected(net()))
    assert memory.report().host == 0
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


def test_streamed_weights_make_room_for_the_work_of_a_module_that_is_in_ram(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "resident_ram", lambda: 0)
    limit = REST + sum(BLOCKS) + max(BLOCKS) + 1000
    module, files = mapped(tmp_path)
    memory = MemoryManager("cpu", ram_limit=limit, preserve=0)
    add(memory, "net", module, files=files)
    memory.add("other", nn.Linear(2, 2))
    with memory.lease("net"):
        held = memory.report().held
    with memory.lease("other", activations=limit - held // 2):
        assert memory.report().held <= held // 2
    assert torch.equal(run(memory, "net"), expected(net()))
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
