"""Decoding in chunks of rows is the plain decoder but for rounding, in less memory."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo

from framepack.memory.estimate import estimate
from framepack.models.hunyuan import vae_chunked
from framepack.models.hunyuan.vae import VideoVAE
from framepack.spec.events import VaeMode

MODES: tuple[VaeMode, ...] = ("whole", "chunked")


def vae(channels: tuple[int, ...], layers: int = 1) -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(
        AutoencoderKLHunyuanVideo(block_out_channels=channels, layers_per_block=layers, norm_num_groups=4)
    ).eval()


@pytest.mark.parametrize("channels", [(8, 8, 8, 8), (8, 16, 32, 32)])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 6, 4), (2, 3, 5), (6, 6, 4)])
def test_chunks_equal_the_whole_but_for_the_rounding_of_the_norms(channels, frames, height, width, monkeypatch):
    """Norms sum their statistics in another order; in float32 that is some 1e-6 of pixels of about 1."""
    monkeypatch.setattr(vae_chunked, "STRIP", 1)  # eight rows at a time
    module = vae(channels)
    z = torch.randn(1, 16, frames, height, width, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module.decode_float(z, mode="chunked"), module.decode_float(z), rtol=1e-4, atol=2e-5)


def test_rows_beside_a_strip_are_seen_and_the_picture_ends_at_its_edges(monkeypatch):
    """What a tile decoded alone gets wrong: its borders and its own statistics."""
    monkeypatch.setattr(vae_chunked, "STRIP", 1)
    module = vae((8, 16, 32, 32))
    z = torch.randn(1, 16, 1, 40, 34, generator=torch.Generator().manual_seed(1))
    whole, chunked = module.decode_float(z), module.decode_float(z, mode="chunked")
    tiled = module.decode_float(z, mode="tiled")
    assert (chunked - whole).abs().max() < 1e-4 < 1e-2 < (tiled - whole).abs().max()


def test_a_large_picture_takes_less_than_a_third():
    with torch.device("meta"):
        module = VideoVAE(AutoencoderKLHunyuanVideo().to(torch.float16)).eval()  # the published shape
        z = torch.empty(1, 16, 5, 68, 88, dtype=torch.float16)
    whole, chunked = (estimate(lambda mode=mode: module.decode_tile(z, mode)) for mode in MODES)
    assert whole.activations > 14e9
    assert chunked.activations < 4.2e9
    assert chunked.flops < 1.4 * whole.flops
