import resource
from dataclasses import replace

import pytest
import torch
from rig import RacyCopyStream, expected, mapped, net
from safetensors.torch import save_file
from torch import nn

from framepack.memory import DynamicSwapInstaller, map_weights
from framepack.memory.copy_streams import HostCopyStream
from framepack.memory.disk import DiskReader
from framepack.memory.weight_blocks import split


def test_mapped_weights_are_those_of_the_file(tmp_path):
    module, files = mapped(tmp_path)
    weights = net().state_dict()
    assert files.keys() == module.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())


def test_mapping_reads_nothing(tmp_path):
    path = tmp_path / "big.safetensors"
    save_file({"weight": torch.ones(64, 1 << 20), "bias": torch.ones(64)}, path)  # 256 MB
    with torch.device("meta"):
        module = nn.Linear(1 << 20, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    map_weights(module, {path: {"weight": "weight", "bias": "bias"}})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
    assert module.weight[3, 5] == 1


@pytest.mark.parametrize("used", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("device", ["host", "other"])
@pytest.mark.parametrize("chunk", [24, 1 << 20])
def test_weights_are_cast_as_they_are_read(tmp_path, monkeypatch, used, device, chunk):
    path = tmp_path / "mixed.safetensors"
    weight, bias = torch.randn(7, 5), torch.randn(7).bfloat16()
    save_file({"weight": weight, "bias": bias}, path)
    with torch.device("meta"):
        module = nn.Linear(5, 7)
    files = map_weights(module, {path: {"weight": "weight", "bias": "bias"}}, used)
    weight_block = split(module, (), (), files).rest
    assert weight_block.nbytes < 3 * 256 + 7 * 5 * used.itemsize
    if device == "other":
        monkeypatch.setattr("framepack.memory.disk.on_host", lambda target: False)
    reader = DiskReader(HostCopyStream("cpu"), chunk=chunk)
    weight_block.fetch(reader.copy_stream, reader)()
    assert module.weight.dtype == module.bias.dtype == used
    assert torch.equal(module.weight, weight.to(used))
    assert torch.equal(module.bias, bias.to(used))
    assert reader.bytes_read == weight.nbytes + bias.nbytes
    weight_block.drop()
    reader.close()
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, weight)


def test_writing_to_a_mapped_weight_neither_touches_the_file_nor_goes_unseen(tmp_path):
    module, files = mapped(tmp_path)
    path = files["head.weight"].path
    before = path.read_bytes()
    module.head.weight.add_(1)
    module.embed.weight.data = module.embed.weight.data * 2
    assert path.read_bytes() == before
    assert not files["head.weight"].holds(module.head.weight)
    assert not files["embed.weight"].holds(module.embed.weight)
    assert files["head.bias"].holds(module.head.bias)
    rest = split(module, module.blocks, module.once, files).rest
    assert [file is None for file in rest.files] == [True, False, True, False]


def fetch_all_but_blocks(module, files, reader):
    """Bring the rest and the once-a-job modules to memory; the blocks' units."""
    weight_blocks = split(module, module.blocks, module.once, files)
    for weight_block in (weight_blocks.rest, *weight_blocks.once):
        weight_block.fetch(reader.copy_stream, reader)()
    return weight_blocks.blocks


@pytest.mark.parametrize("chunk", [64, 1000, 1 << 20])
def test_blocks_streamed_from_disk_compute_the_same_bits(tmp_path, chunk):
    truth = expected(net())
    module, files = mapped(tmp_path)
    copy_stream = HostCopyStream("cpu")
    reader = DiskReader(copy_stream, chunk=chunk)
    weight_blocks = fetch_all_but_blocks(module, files, reader)
    reader.bytes_read = 0
    with DynamicSwapInstaller(module.blocks, copy_stream, weight_blocks=weight_blocks, slots=2, reader=reader) as swap:
        assert torch.equal(expected(module), truth)
    reader.close()
    fetched = [
        i % len(weight_blocks) for i in range(3 * len(weight_blocks) + 2)
    ]  # three steps, and two blocks ahead of a fourth
    assert swap.bytes_copied == sum(weight_blocks[i].nbytes for i in fetched)
    assert reader.bytes_read == sum(file.nbytes for i in fetched for file in weight_blocks[i].files)


def test_reads_pass_through_staging_buffers_that_are_not_overwritten_early(tmp_path, monkeypatch):
    truth = expected(net())
    module, files = mapped(tmp_path)
    copy_stream = RacyCopyStream(3)
    reader = DiskReader(copy_stream, threads=1, chunk=500)
    monkeypatch.setattr("framepack.memory.disk.on_host", lambda target: False)
    weight_blocks = fetch_all_but_blocks(module, files, reader)
    with DynamicSwapInstaller(module.blocks, copy_stream, weight_blocks=weight_blocks, slots=2, reader=reader):
        assert torch.equal(expected(module), truth)
    reader.close()
    assert copy_stream.host_waits > 0  # in the reader's thread, before its buffer is used again


def test_a_file_cut_short_in_use_is_an_error_that_names_it(tmp_path):
    module, files = mapped(tmp_path)
    weight_blocks = split(module, module.blocks, (), files).blocks
    x, vectors = torch.ones(1, 16), torch.ones(1, 48)
    with files["head.weight"].path.open("rb+") as file:
        file.truncate(100)
    swap = DynamicSwapInstaller(module.blocks, "cpu", weight_blocks=weight_blocks, slots=2).install()
    with pytest.raises(OSError, match=r"net-0.safetensors ends before"):
        module.blocks[0](x, vectors)
    swap.uninstall()
    swap.reader.close()


def test_a_unit_is_pinned_from_its_file_and_goes_back_to_it(tmp_path):
    module, files = mapped(tmp_path)
    weight_block = split(module, module.blocks, (), files).blocks[0]
    copy_stream = HostCopyStream("cpu")
    reader = DiskReader(copy_stream)
    values = [tensor.clone() for tensor in weight_block.tensors]
    weight_block.pin(copy_stream, reader)
    assert not weight_block.on_disk
    assert all(torch.equal(t, v) for t, v in zip(weight_block.tensors, values, strict=True))
    assert weight_block.tensors[0].untyped_storage().data_ptr() == weight_block.host.untyped_storage().data_ptr()
    assert weight_block.unpin(copy_stream) == weight_block.nbytes
    assert weight_block.on_disk
    assert weight_block.tensors[0].data_ptr() == files["blocks.0.norm.weight"].address
    reader.close()


def test_a_failed_read_waits_for_the_copies_of_the_others(tmp_path, monkeypatch):
    """Else they would land in memory that was lent to others meanwhile."""
    files = mapped(tmp_path)[1]
    copy_stream = RacyCopyStream(0)
    monkeypatch.setattr("framepack.memory.disk.on_host", lambda target: False)
    reader = DiskReader(copy_stream, threads=1, chunk=4096)
    parts = [files["embed.weight"], replace(files["head.weight"], path=tmp_path / "gone"), files["head.bias"]]
    wait_for = reader.read(
        [(piece, 4096 * at) for at, piece in enumerate(parts)], copy_stream.buffer(3 * 4096), copy_stream.record()
    )
    with pytest.raises(FileNotFoundError, match="gone"):
        wait_for()
    assert copy_stream.issued == copy_stream.done == 2
    reader.close()
