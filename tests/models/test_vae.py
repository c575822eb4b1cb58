"""Frames <-> latents against the public application and diffusers, and the preview's linear map."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from PIL import Image
from safetensors.torch import load_file
from tiny_checkpoints import BASE

from framepack.models.checkpoint import CheckpointError
from framepack.models.hunyuan.vae import PreviewMap, VideoVAE, check_vae, fit_preview, load_vae, to_uint8


@pytest.fixture(scope="module")
def folder(tiny_models_dir):
    return tiny_models_dir / BASE / "vae"


@pytest.fixture(scope="module")
def vae(folder) -> VideoVAE:
    return load_vae(folder)


@pytest.fixture(scope="module")
def diffusers_vae(folder):
    return AutoencoderKLHunyuanVideo.from_pretrained(folder).eval()


def clip(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def test_start_latent_and_frames_equal_the_public_application(reference):
    vae = load_vae(reference / "checkpoints" / BASE / "vae")
    run = load_file(reference / "runs" / "f1_one.safetensors")
    whole = Image.open(reference / "input.png").convert("RGB").resize((107, 64), Image.Resampling.LANCZOS)
    crop = np.asarray(whole.crop((5.5, 0, 101.5, 64)))  # pyright: ignore[reportArgumentType]
    start = vae.encode(crop[None])
    assert float((start - run["start_latent"]).norm() / run["start_latent"].norm()) < 1e-5
    frames = vae.decode(torch.cat([run["start_latent"], run["section_0"]], dim=2))
    off = np.abs(frames.astype(int) - run["frames"].numpy().astype(int))
    assert off.max() <= 1
    assert off.mean() < 0.01


@pytest.mark.parametrize("frames", [1, 5, 21])
@torch.no_grad()
def test_encoding_equals_diffusers_mode(vae, diffusers_vae, frames):
    pixels = torch.from_numpy(clip(frames)).permute(3, 0, 1, 2)[None] / 127.5 - 1
    expected = diffusers_vae.encode(pixels).latent_dist.mode() * 0.476986
    latents = vae.encode(clip(frames))
    assert latents.shape == expected.shape
    torch.testing.assert_close(latents, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("latents", [1, 3, 10])
@torch.no_grad()
def test_decoding_equals_diffusers_frame_wise_tiling(vae, diffusers_vae, latents):
    z = torch.randn(1, 16, latents, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = diffusers_vae.decode(z / 0.476986).sample[0].permute(1, 2, 3, 0)
    decoded = vae.decode_float(z)
    assert decoded.shape == (4 * latents - 3, 32, 48, 3)
    torch.testing.assert_close(decoded, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_one_pass_encoding_is_one_causal_pass(vae, diffusers_vae):
    frames = clip(21)
    diffusers_vae.use_framewise_encoding = False
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 127.5 - 1
    expected = diffusers_vae.encode(pixels).latent_dist.mode() * 0.476986
    diffusers_vae.use_framewise_encoding = True
    whole = vae.encode(frames, one_pass=True)
    torch.testing.assert_close(whole, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(whole, vae.encode(frames), atol=1e-4)


def test_spatial_tiling_is_a_switch_of_each_call(vae):
    z = torch.randn(1, 16, 1, 34, 34, generator=torch.Generator().manual_seed(0))
    whole, tiled = vae.decode_float(z), vae.decode_float(z, mode="tiled")
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    assert torch.equal(vae.decode_float(z), whole)


def test_pixels_become_bytes_by_truncation():
    pixels = torch.tensor([-2.0, -1.0, 0.0, 0.003, 0.9999, 1.0, 7.0])
    assert to_uint8(pixels).tolist() == [0, 0, 127, 127, 254, 255, 255]


def test_the_scaling_factor_comes_from_the_config(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "vae")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.476986 / 2}))
    torch.testing.assert_close(load_vae(copy).encode(clip(1)) * 2, load_vae(folder).encode(clip(1)))


class LinearVAE(VideoVAE):
    """A VAE whose latents are linear in the frames, so that the best map is known."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def encode(self, frames, **_):
        pixels = torch.from_numpy(frames).float() / 127.5 - 1
        pixels = torch.stack([pixels[0], pixels[1:].mean(0)]).permute(0, 3, 1, 2)
        small = torch.nn.functional.avg_pool2d(pixels, 8)
        return torch.cat([small * 3 + 1, small.flip(1) * 0.5], dim=1).permute(1, 0, 2, 3)[None]


def test_the_fit_recovers_a_linear_codec():
    vae, frames = LinearVAE(), clip(5, 64, 64)
    preview = fit_preview(vae)(vae.encode(frames))
    assert preview.shape == (2, 8, 8, 3)
    expected = frames[0].reshape(8, 8, 8, 8, 3).mean((1, 3))
    assert np.abs(preview[0] - expected).max() <= 1


def test_the_map_is_stored_beside_the_weights(folder, vae, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "vae")
    assert load_vae(copy).preview is None
    fitted = vae.preview_map()
    assert vae.preview_map() is fitted
    fitted.save(copy)
    stored = load_vae(copy).preview
    assert isinstance(stored, PreviewMap)
    assert torch.equal(stored.weight, fitted.weight)
    latents = vae.encode(clip(5))
    assert np.array_equal(stored(latents), fitted(latents))
    assert fitted(latents).shape == (2, 4, 6, 3)


@pytest.mark.parametrize("content", ["{}", '{"weight": [[1]], "bias": [0, 0, 0]}', '{"weight": "x", "bias": []}', "["])
def test_a_wrong_preview_file_is_named(folder, tmp_path, content):
    copy = shutil.copytree(folder, tmp_path / "vae")
    (copy / "preview.json").write_text(content)
    for read in (load_vae, check_vae):
        with pytest.raises(CheckpointError, match=r"preview.json"):
            read(copy)
