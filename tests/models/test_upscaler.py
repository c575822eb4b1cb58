"""The network that enlarges: its size, its names, its arithmetic against a plain writing of the paper's."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from framepack.files.errors import MediaError
from framepack.memory import MemoryManager
from framepack.models.upscaler import RRDBNet
from framepack.pipeline import enlarge as enlarging
from framepack.pipeline.enlarge import network_of


def small(fold: int = 1, seed: int = 0) -> RRDBNet:
    torch.manual_seed(seed)
    network = RRDBNet(channels=8, growth=4, blocks=2, fold=fold).eval()
    for weights in network.parameters():
        weights.data.normal_(0, 0.1)
    return network


def by_hand(weights: dict[str, torch.Tensor], x: torch.Tensor, blocks: int, fold: int) -> torch.Tensor:
    """The network once more, written out as BasicSR's description has it."""

    def conv(name: str, y: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(y, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def lrelu(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y > 0, y, 0.2 * y)

    first = conv("conv_first", functional.pixel_unshuffle(x, fold) if fold > 1 else x)
    y = first
    for block in range(blocks):
        into = y
        for dense in (1, 2, 3):
            at, x0 = f"body.{block}.rdb{dense}.conv", y
            x1 = lrelu(conv(f"{at}1", x0))
            x2 = lrelu(conv(f"{at}2", torch.cat((x0, x1), 1)))
            x3 = lrelu(conv(f"{at}3", torch.cat((x0, x1, x2), 1)))
            x4 = lrelu(conv(f"{at}4", torch.cat((x0, x1, x2, x3), 1)))
            y = conv(f"{at}5", torch.cat((x0, x1, x2, x3, x4), 1)) * 0.2 + x0
        y = y * 0.2 + into
    y = first + conv("conv_body", y)
    for name in ("conv_up1", "conv_up2"):
        y = lrelu(conv(name, y.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    return conv("conv_last", lrelu(conv("conv_hr", y)))


def test_it_has_as_many_weights_as_the_published_one() -> None:
    with torch.device("meta"):
        assert sum(weights.numel() for weights in RRDBNet().parameters()) == 16_697_987  # RealESRGAN_x4plus


@pytest.mark.parametrize("fold", [1, 2, 4])
@torch.inference_mode()
def test_it_computes_what_the_paper_says(fold: int) -> None:
    network = small(fold)
    x = torch.rand(2, 3, 8, 12)
    want = by_hand(network.state_dict(), x, 2, fold)
    assert want.shape == (2, 3, 32 // fold, 48 // fold)
    torch.testing.assert_close(network(x), want)
    again = RRDBNet.of({f"params_ema.{name}": tensor for name, tensor in network.state_dict().items()})
    torch.testing.assert_close(again(x), want)


@torch.inference_mode()
def test_tiles_join_without_a_seam_where_the_network_sees_no_farther_than_the_margin(tmp_path, monkeypatch) -> None:
    network = small()  # 33 convolutions see farther than 16 pixels, but hardly
    save_file(network.state_dict(), tmp_path / "n.safetensors")
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    monkeypatch.setattr(enlarging, "TILE", 1000)
    whole = network_of(tmp_path / "n.safetensors", MemoryManager("cpu"))(frame)
    monkeypatch.setattr(enlarging, "TILE", 24)
    tiled = network_of(tmp_path / "n.safetensors", MemoryManager("cpu"))(frame)
    assert whole.shape == (200, 280, 3)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    want = network(torch.from_numpy(frame).permute(2, 0, 1)[None] / 255).clamp(0, 1).mul(255).round().byte()
    assert (whole == want[0].permute(1, 2, 0).numpy()).all()


def test_odd_sizes_go_through_networks_that_fold(tmp_path) -> None:
    save_file(small(2).state_dict(), tmp_path / "n.safetensors")
    frame = np.zeros((31, 45, 3), np.uint8)
    assert network_of(tmp_path / "n.safetensors", MemoryManager("cpu"))(frame).shape == (62, 90, 3)


def test_another_file_is_refused_in_a_sentence(tmp_path) -> None:
    file = tmp_path / "n.safetensors"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(MediaError, match="is no network that enlarges"):
        network_of(file, MemoryManager("cpu"))
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(MediaError, match="another kind of network"):
        network_of(file, MemoryManager("cpu"))
    weights = small().state_dict()
    weights.pop("conv_hr.bias")
    save_file(weights, file)
    with pytest.raises(MediaError, match=r"such as conv_hr\.bias"):
        network_of(file, MemoryManager("cpu"))
    with pytest.raises(MediaError, match="no such file"):
        network_of(tmp_path / "none.safetensors", MemoryManager("cpu"))


@pytest.mark.parametrize(
    "name", ["body.99999999.a", "body.3.a", "body.01.a", f"body.{'9' * 5000}.a", "body.²", "body."]
)
def test_a_blocks_number_builds_no_blocks(name: str) -> None:
    with pytest.raises(ValueError, match="its blocks are not numbered 0 to 2"):
        RRDBNet.of({**small().state_dict(), name: torch.zeros(1)})


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64, torch.bool])
def test_weights_that_are_no_floats_are_refused(kind: torch.dtype) -> None:
    with pytest.raises(ValueError, match="not quantized"):
        RRDBNet.of({name: weights.to(kind) for name, weights in small().state_dict().items()})


def test_weights_that_are_not_finite_are_refused() -> None:
    weights = small().state_dict()
    weights["conv_hr.bias"][0] = float("nan")
    with pytest.raises(ValueError, match="no finite numbers"):
        RRDBNet.of(weights)
