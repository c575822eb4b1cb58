"""Frames <-> latents: diffusers' AutoencoderKLHunyuanVideo behind uint8 frames and scaled latents, and a cheap preview.

Knows tensors of one clip; knows nothing of sections or of how clips are joined. The VAE is causal in time:
1 + 4k frames <-> 1 + k latents (HunyuanVideo, arXiv 2412.03603).
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from einops import rearrange
from torch import Tensor, nn

from framepack.models.attention import sdpa
from framepack.models.checkpoint import (
    CheckpointError,
    check_weights,
    described_by,
    load_weights,
    on_meta,
    read_config,
    read_json,
)
from framepack.models.transfer import to_device, to_host
from framepack.models.vae_rows import decode_in_rows
from framepack.models.vae_tiles import TileMemo, TimeTiles, decode_in_time

PREVIEW_FILE = "preview.json"


@dataclass(frozen=True, kw_only=True)
class PreviewMap:
    """The linear map from a scaled latent to the colour of its pixels: x0 -> RGB while sampling, without the VAE."""

    weight: Tensor
    """(3, C) float32."""
    bias: Tensor
    """(3,) float32."""

    def __call__(self, latents: Tensor) -> np.ndarray:
        """Scaled latents (1, C, T, h, w) -> uint8 (T, h, w, 3), one pixel a latent."""
        rgb = torch.einsum("cthw,oc->thwo", latents[0].float(), self.weight.to(latents.device))
        return to_uint8(rgb + self.bias.to(latents.device))

    def save(self, folder: Path) -> None:
        """Writes `preview.json` into a VAE's folder."""
        content = {"weight": self.weight.tolist(), "bias": self.bias.tolist()}
        (folder / PREVIEW_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class VideoVAE(nn.Module):
    """uint8 frames (T, H, W, 3) <-> scaled latents (1, C, t, h, w).

    Clips longer than a tile are done in overlapping tiles of 16 frames, as the public app does (diffusers' default);
    `spatial_tiling` adds tiles of 256 x 256 pixels for little memory, at the price of faint seams.
    """

    def __init__(self, autoencoder: AutoencoderKLHunyuanVideo, preview: PreviewMap | None = None) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.preview = preview
        config: Any = autoencoder.config
        self.scaling_factor = float(config.scaling_factor)
        self.latent_channels = int(config.latent_channels)
        coders: list[Any] = [autoencoder.encoder, autoencoder.decoder]
        for coder in coders:
            coder.mid_block = FrameCausalMidBlock(coder.mid_block)

    @torch.no_grad()
    def encode(self, frames: np.ndarray, *, spatial_tiling: bool = False, one_pass: bool = False) -> Tensor:
        """uint8 (1 + 4k, H, W, 3) -> float32 (1, C, 1 + k, H/8, W/8): the posterior's mode, scaled.

        `one_pass` encodes a long clip as a whole instead of in tiles of 16 frames: exact, with more memory.
        """
        self._tile(spatial=spatial_tiling, framewise=not one_pass)
        weight = self.autoencoder.encoder.conv_in.conv.weight
        pixels = rearrange(torch.tensor(frames), "T H W C -> 1 C T H W")
        pixels = (to_device(pixels, weight.device).float() / 127.5 - 1).to(weight.dtype)
        posterior: Any = self.autoencoder.encode(pixels)
        return posterior.latent_dist.mode().float() * self.scaling_factor

    @torch.no_grad()
    def decode_float(
        self, latents: Tensor, *, spatial_tiling: bool = False, rows: bool = False, memo: TileMemo | None = None
    ) -> Tensor:
        """Scaled latents (1, C, t, h, w) -> (1 + 4 (t-1), 8h, 8w, 3) float32 on the CPU, about -1..1, not clamped.

        rows: a few rows of pixels at a time, in a quarter of the memory; the result differs by rounding only.
        memo: where tiles of the clip decoded before are found, and those that come again are kept.
        """
        self._tile(spatial=spatial_tiling, framewise=True)
        weight = self.autoencoder.decoder.conv_in.conv.weight
        latents = (latents / self.scaling_factor).to(weight.device, weight.dtype)
        tiles = self.time_tiles
        way = "tiled" if spatial_tiling else "rows" if rows else "whole"
        frames, height, width = 1 + 4 * (latents.shape[2] - 1), 8 * latents.shape[3], 8 * latents.shape[4]
        out, done = torch.empty(frames, height, width, 3), 0
        if latents.shape[2] < tiles.length:
            settled = iter([self.decode_tile(latents, way)])
        else:
            settled = decode_in_time(latents, lambda tile: self.decode_tile(tile, way), tiles, memo, way)
        for run in settled:
            out[done : done + run.shape[2]] = to_host(rearrange(run[0], "C T H W -> T H W C"))
            done += run.shape[2]
        assert done == frames
        return out

    def decode_tile(self, latents: Tensor, way: str) -> Tensor:
        """One tile of time, (1, C, t, h, w) to (1, 3, 1 + 4 (t-1), 8h, 8w)."""
        autoencoder: Any = self.autoencoder
        if way == "tiled" and max(latents.shape[-2:]) > autoencoder.tile_sample_min_height // 8:
            return autoencoder.tiled_decode(latents).sample
        decode = partial(decode_in_rows, autoencoder.decoder) if way == "rows" else autoencoder.decoder
        return decode(autoencoder.post_quant_conv(latents))

    @property
    def time_tiles(self) -> TimeTiles:
        autoencoder: Any = self.autoencoder
        ratio, stride = autoencoder.temporal_compression_ratio, autoencoder.tile_sample_stride_num_frames
        frames = autoencoder.tile_sample_min_num_frames
        return TimeTiles(length=frames // ratio + 1, stride=stride // ratio, frames=stride, blend=frames - stride)

    def decode(self, latents: Tensor, *, spatial_tiling: bool = False) -> np.ndarray:
        """Scaled latents (1, C, t, h, w) -> uint8 frames (1 + 4 (t-1), 8h, 8w, 3)."""
        return to_uint8(self.decode_float(latents, spatial_tiling=spatial_tiling))

    def preview_map(self) -> PreviewMap:
        """The map stored beside the weights; without one it is fitted on the first call, in seconds, and kept."""
        if self.preview is None:
            self.preview = fit_preview(self)
        return self.preview

    def _tile(self, *, spatial: bool, framewise: bool) -> None:
        self.autoencoder.use_tiling = spatial
        self.autoencoder.use_framewise_encoding = framewise
        self.autoencoder.use_framewise_decoding = True


class FrameCausalMidBlock(nn.Module):
    """The middle of encoder and decoder: a token attends to its own frame and to earlier ones.

    diffusers' block builds a dense mask over all pairs of tokens (1.8 GB at 544 x 704); one attention a frame over the
    tokens up to it is the same sum. It takes over the submodules, so the weights' names stay.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.resnets = block.resnets
        self.attentions = block.attentions

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        x = self.resnets[0](x)
        for attention, resnet in zip(self.attentions, self.resnets[1:], strict=True):
            if attention is not None:
                x = x + _attend_to_the_past(attention, x)
            x = resnet(x)
        return x


def _attend_to_the_past(attention: Any, x: Tensor) -> Tensor:
    frames, height, width = x.shape[-3:]
    tokens = attention.group_norm(rearrange(x, "B C T H W -> B C (T H W)")).transpose(1, 2)
    query, key, value = (
        rearrange(project(tokens), "B L (N D) -> B L N D", N=attention.heads)
        for project in (attention.to_q, attention.to_k, attention.to_v)
    )
    size = height * width
    out = torch.cat(
        [
            sdpa(query[:, end - size : end], key[:, :end], value[:, :end])
            for end in range(size, frames * size + 1, size)
        ],
        dim=1,
    )
    out = attention.to_out[0](rearrange(out, "B L N D -> B L (N D)"))
    return rearrange(out, "B (T H W) C -> B C T H W", T=frames, H=height, W=width)


def to_uint8(pixels: Tensor) -> np.ndarray:
    """-1..1 -> 0..255, truncated, as the public app writes its frames."""
    return to_host((pixels.float().clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8)).numpy()


def fit_preview(vae: VideoVAE, clips: int = 12, size: int = 96) -> PreviewMap:
    """Least squares between the latents of generated clips and their frames, 8x smaller and meaned over each latent."""
    rows, colours = [], []
    for seed in range(clips):
        frames = _moving_colours(np.random.default_rng(seed), size)
        latents = vae.encode(frames)[0].cpu()
        targets = torch.from_numpy(frames).float() / 127.5 - 1
        targets = torch.stack([targets[0], targets[1:].mean(0)])  # latent 0 is frame 0, latent 1 frames 1..4
        h, w = latents.shape[-2:]
        small = F.adaptive_avg_pool2d(rearrange(targets, "T H W C -> T C H W"), (h, w))
        rows.append(rearrange(latents, "C T H W -> (T H W) C"))
        colours.append(rearrange(small, "T C H W -> (T H W) C"))
    features, rgb = torch.cat(rows).double(), torch.cat(colours).double()
    ones = torch.ones(len(features), 1, dtype=torch.double)
    solution = torch.linalg.lstsq(torch.cat([features, ones], dim=1), rgb, driver="gelsd").solution.float()
    return PreviewMap(weight=solution[:-1].T.contiguous(), bias=solution[-1].contiguous())


def _moving_colours(random: np.random.Generator, size: int) -> np.ndarray:
    """Five uint8 frames (5, size, size, 3) of random blobs of colour, coarse or fine, that slide sideways."""
    cells = int(random.integers(2, 13))
    grid = torch.from_numpy(random.uniform(-0.2, 1.2, (1, 3, cells, cells + 2))).float()
    wide = F.interpolate(grid, (size, size + 16), mode="bicubic")[0].clamp(0, 1)
    frames = torch.stack([wide[:, :, 4 * t : 4 * t + size] for t in range(5)])
    return (rearrange(frames, "T C H W -> T H W C") * 255).to(torch.uint8).numpy()


def empty_vae(folder: Path) -> AutoencoderKLHunyuanVideo:
    """The VAE a folder's config.json describes, on the meta device."""
    config = {key: value for key, value in read_config(folder).items() if not key.startswith("_")}
    return on_meta(lambda: AutoencoderKLHunyuanVideo(**config), folder)


def load_vae(folder: Path, dtype: torch.dtype | None = None) -> VideoVAE:
    """The VAE in a `vae` folder; CheckpointError when it is damaged or incomplete."""
    autoencoder = empty_vae(folder)
    load_weights(autoencoder, folder, dtype)
    preview = read_preview(folder, autoencoder.config["latent_channels"])
    with described_by(folder / "config.json"):
        return VideoVAE(autoencoder, preview).eval()


def check_vae(folder: Path) -> None:
    """Reads the headers only: CheckpointError when names or shapes differ from what the config describes."""
    autoencoder = empty_vae(folder)
    check_weights(autoencoder, folder)
    read_preview(folder, autoencoder.config["latent_channels"])


def read_preview(folder: Path, latent_channels: int) -> PreviewMap | None:
    """The map in `preview.json`, or None where the folder has none."""
    path = folder / PREVIEW_FILE
    if not path.exists():
        return None
    content = read_json(path)
    try:
        found = PreviewMap(weight=torch.tensor(content["weight"]), bias=torch.tensor(content["bias"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} must hold weight (3 x {latent_channels}) and bias (3): {error}") from None
    if found.weight.shape != (3, latent_channels) or found.bias.shape != (3,):
        raise CheckpointError(
            f"{path} must hold weight (3 x {latent_channels}) and bias (3), "
            f"got {tuple(found.weight.shape)} and {tuple(found.bias.shape)}"
        )
    return replace(found, weight=found.weight.float(), bias=found.bias.float())
