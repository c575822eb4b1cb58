"""Weights that are not page-locked travel through buffers that are, without a bit of difference."""

import pytest
import torch
from managed import add, pretend, run
from rig import RacyCopyStream, expected, mapped, net

from framepack.memory.budget import Budget
from framepack.memory.disk import runs
from framepack.memory.weight_blocks import split


class Staged(RacyCopyStream):
    """As a card's: notes which host memory copies came from, and may refuse to lock any."""

    staged = True

    def __init__(self, seed, locks=True):
        super().__init__(seed)
        self.locks, self.locked, self.sources = locks, [], []

    def host(self, nbytes):
        flat = super().host(nbytes)
        self.locked.append(flat.untyped_storage().data_ptr())
        return flat

    def is_pinned(self, flat):
        return self.locks

    def copy(self, target, source, after):
        self.sources.append(source.untyped_storage().data_ptr())
        return super().copy(target, source, after)


@pytest.fixture
def card(monkeypatch):
    """The pretended device's memory is no host's."""
    monkeypatch.setattr("framepack.memory.disk.on_host", lambda target: False)
    monkeypatch.setattr("framepack.memory.weight_blocks.on_host", lambda target: False)


@pytest.mark.parametrize("limit", [0, 20_000, 1 << 30])
@pytest.mark.parametrize("pin", [True, False])
@pytest.mark.parametrize("chunk", [1000, 4096, 1 << 20])
def test_everything_passes_through_page_locked_memory(card, limit, pin, chunk):
    copy_stream = Staged(chunk)
    memory = pretend(limit)
    memory.copy_stream = memory.reader.copy_stream = copy_stream
    memory.reader.chunk = chunk
    add(memory, "net", net(), pin=pin)
    assert torch.equal(run(memory, "net"), expected(net()))
    assert set(copy_stream.sources) <= set(copy_stream.locked)
    memory.close()


def test_weights_changed_in_ram_travel_with_those_of_their_file(card, tmp_path):
    truth = net()
    module, files = mapped(tmp_path)
    for one in (truth, module):
        one.blocks[1].up.weight.data = one.blocks[1].up.weight.data * 2
    copy_stream = Staged(1)
    memory = pretend(0, ram_limit=1)
    memory.copy_stream = memory.reader.copy_stream = copy_stream
    add(memory, "net", module, files=files)
    assert torch.equal(run(memory, "net"), expected(truth))
    assert set(copy_stream.sources) <= set(copy_stream.locked)
    memory.close()


def test_where_nothing_may_be_locked_weights_stay_where_they_are(card):
    copy_stream = Staged(2, locks=False)
    memory = pretend(0)
    memory.copy_stream = memory.reader.copy_stream = copy_stream
    add(memory, "net", net())
    assert torch.equal(run(memory, "net"), expected(net()))
    assert memory.report().host == 0
    memory.close()


def test_only_so_much_is_page_locked_at_once(monkeypatch):
    module = net()
    blocks = [weight_block.nbytes for weight_block in split(module, module.blocks, module.once).blocks]
    memory = pretend(0)
    monkeypatch.setattr(Budget, "lockable", lambda budget: sum(blocks) // 2)
    add(memory, "net", module)
    assert torch.equal(run(memory, "net"), expected(net()))
    assert max(blocks) <= memory.report().host <= sum(blocks) // 2
    memory.close()


def test_two_fifths_of_ram_may_be_page_locked_for_a_card(monkeypatch):
    monkeypatch.setattr("framepack.memory.budget.total_ram", lambda: 50_000_000_000)
    assert Budget(device=torch.device("cuda")).lockable() == 20_000_000_000
    assert Budget(device=torch.device("cpu"), vram_limit=0).lockable() > 1 << 50


def test_neighbours_travel_together_and_no_run_spans_more_than_a_buffer():
    flat = torch.arange(5000, dtype=torch.int64).to(torch.uint8)
    sources = [(flat[:100], 256), (flat[:5000], 512), (flat[:8], 0), (flat[:8], 8192)]
    cut = runs(sources, 1024)
    spans = [(run[0].at, run[-1].end) for run in cut]
    assert all(end - start <= 1024 for start, end in spans)
    assert spans == sorted(spans)
    assert spans[0] == (0, 356)  # two tensors, one copy
    covered = sorted(at for run in cut for part in run for at in range(part.at, part.end))
    assert covered == sorted(at + i for source, at in sources for i in range(len(source)))


def test_bytes_of_a_tensor_are_its_own_whatever_its_strides(card):
    module = torch.nn.Linear(6, 4).requires_grad_(False)
    module.weight.data = torch.randn(8, 6).t()[:, ::2].t()  # with gaps
    module.bias.data = torch.randn(1).expand(4)
    weight_block = split(module).rest
    copy_stream = Staged(3)
    memory = pretend(0)
    truth = [tensor.clone() for tensor in weight_block.tensors]
    memory.reader.copy_stream = copy_stream
    weight_block.fetch(copy_stream, memory.reader)()
    copy_stream.wait(("copy", copy_stream.issued))
    assert all(torch.equal(tensor, was) for tensor, was in zip(weight_block.tensors, truth, strict=True))
    memory.close()
