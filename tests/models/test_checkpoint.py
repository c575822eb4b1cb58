"""Streaming safetensors into meta modules, and every way a checkpoint can be wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import write_shards
from torch import nn

from framepack.models.checkpoint import CheckpointError, NameRules, check_weights, load_weights, on_meta, read_config


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
        self.register_buffer("count", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("angles", torch.arange(3.0), persistent=False)


ANGLES = {"angles": torch.arange(3.0)}


def empty() -> Net:
    return on_meta(Net, Path())


@pytest.fixture
def folder(tmp_path):
    weights = {name: torch.randn(t.shape) if t.is_floating_point() else t + 7 for name, t in Net().state_dict().items()}
    write_shards(tmp_path, "model", weights, count=2)
    return tmp_path


def shard(folder: Path) -> Path:
    return folder / "model-00001-of-00002.safetensors"


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(shard(folder)) | load_file(folder / "model-00002-of-00002.safetensors")


def test_sharded_weights_arrive_as_stored(folder):
    net = empty()
    load_weights(net, folder, buffers=ANGLES)
    for name, tensor in stored(folder).items():
        assert torch.equal(net.state_dict()[name], tensor), name
    assert torch.equal(net.angles, ANGLES["angles"])
    assert not any(p.requires_grad for p in net.parameters())
    assert not net.training


def test_a_dtype_converts_floats_and_leaves_integers_and_buffers(folder):
    net = empty()
    load_weights(net, folder, torch.bfloat16, buffers=ANGLES)
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
    assert net.count.dtype == torch.int64
    assert net.count.tolist() == [7, 7]
    assert net.angles.dtype == torch.float32


def test_loaded_weights_do_not_depend_on_the_file_any_more(folder):
    net = empty()
    load_weights(net, folder, buffers=ANGLES)
    before = net.inner[0].weight.clone()
    for path in folder.glob("*.safetensors"):
        path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(net.inner[0].weight, before)


def test_a_buffer_nobody_fills_is_caught(folder):
    with pytest.raises(AssertionError, match="angles"):
        load_weights(empty(), folder)


def test_a_prefix_in_the_file_is_taken_off_and_ignored_names_are_left_out(tmp_path):
    weights = {f"model.{name}": tensor for name, tensor in Net().state_dict().items()}
    save_file(
        {**weights, "lm_head.weight": torch.ones(2), "model.old.inv_freq": torch.ones(2)},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(CheckpointError, match=r"missing.*unexpected.*lm_head.weight"):
        check_weights(empty(), tmp_path)
    net = empty()
    load_weights(net, tmp_path, None, NameRules(prefixes=("model.",), ignored=("lm_head.", "inv_freq")), ANGLES)
    assert torch.equal(net.inner[0].bias, weights["model.inner.0.bias"])


def test_missing_names_are_reported_with_the_folder(folder):
    weights = stored(folder)
    del weights["inner.1.weight"]
    write_shards(folder, "model", weights, count=2)
    with pytest.raises(CheckpointError, match=r"1 missing \(inner.1.weight\)") as error:
        load_weights(empty(), folder)
    assert str(folder) in str(error.value)


def test_unexpected_names_and_wrong_shapes_are_reported_with_the_file(folder):
    write_shards(folder, "model", stored(folder) | {"extra": torch.ones(1), "inner.0.bias": torch.ones(5)}, count=2)
    with pytest.raises(CheckpointError) as error:
        load_weights(empty(), folder)
    message = str(error.value)
    assert "inner.0.bias in model-0000" in message
    assert "is (5,), the model's is (3,)" in message
    assert "unexpected (extra in model-0000" in message
    assert "missing" not in message


def test_nothing_is_filled_when_anything_is_wrong(folder):
    write_shards(folder, "model", stored(folder) | {"extra": torch.ones(1)}, count=2)
    net = empty()
    with pytest.raises(CheckpointError):
        load_weights(net, folder)
    assert all(p.is_meta for p in net.parameters())


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_file_cut_short_is_named(folder, keep):
    content = shard(folder).read_bytes()
    shard(folder).write_bytes(content[:keep])
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002.safetensors is damaged or cut short"):
        load_weights(empty(), folder)


def test_a_file_of_other_content_is_named_whatever_its_suffix(folder):
    torch.save({"inner.0.bias": torch.ones(3)}, shard(folder))
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002.safetensors is damaged"):
        load_weights(empty(), folder)


def test_a_git_lfs_pointer_is_told_from_weights(folder):
    shard(folder).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        load_weights(empty(), folder)


def test_a_shard_that_is_not_there_is_named(folder):
    shard(folder).unlink()
    with pytest.raises(CheckpointError, match=r"lacks 1 of 2 files: model-00001-of-00002.safetensors"):
        load_weights(empty(), folder)


def test_an_index_must_not_reach_outside_its_folder(folder):
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"count": "../model.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside its folder"):
        load_weights(empty(), folder)


@pytest.mark.parametrize("content", ["{", "[]", "\xff", '{"weight_map": {}}'])
def test_a_broken_index_is_named(folder, content):
    (folder / "model.safetensors.index.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"model.safetensors.index.json"):
        load_weights(empty(), folder)


def test_pickles_are_refused(tmp_path):
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is not read: only safetensors is"):
        load_weights(empty(), tmp_path)


def test_a_missing_config_says_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"config.json is missing"):
        read_config(tmp_path)


def test_a_config_of_something_else_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="does not describe the model"):
        on_meta(lambda: nn.Linear("four", 3), tmp_path)  # pyright: ignore[reportArgumentType]


PEAK = """
import sys, torch
from pathlib import Path
from torch import nn
from framepack.models.checkpoint import load_weights
from framepack.models.checkpoint import on_meta
def peak():
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

net = on_meta(lambda: nn.Sequential(*(nn.Linear(2048, 2048, bias=False) for _ in range(8))), Path())
before = peak()
load_weights(net, Path(sys.argv[1]), torch.bfloat16)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory as Linux counts it")
def test_peak_memory_is_the_weights_and_one_shard(tmp_path):
    size = 2048 * 2048 * 4
    write_shards(tmp_path, "model", {f"{i}.weight": torch.randn(2048, 2048) for i in range(8)}, count=4)
    grown = int(subprocess.check_output([sys.executable, "-c", PEAK, str(tmp_path)]))
    weights = 8 * size // 2
    shard_and_slack = 2 * size + 12 * 2**20
    assert 0.95 * weights <= grown <= weights + shard_and_slack
