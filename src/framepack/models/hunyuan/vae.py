"""Frames <-> latents: diffusers' AutoencoderKLHunyuanVideo behind uint8 frames and scaled latents, and a cheap preview.

Knows tensors of one clip; knows nothing of sections or of how clips are joined. The VAE is causal in time: 1 + k
latents are 1 + s k frames, s its temporal stride (HunyuanVideo, arXiv 2412.03603). Shapes: T frames of H x W pixels, t
latents of h x w, C latent channels.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
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
    PLAIN,
    CheckpointError,
    check_weights,
    described_by,
    load_weights,
    on_meta,
    read_config,
    read_json,
)
from framepack.models.family import Fill
from framepack.models.hunyuan.vae_chunked import decode_chunked
from framepack.models.hunyuan.vae_tiles import TileMemo, decode_in_time
from framepack.models.transfer import to_device, to_host
from framepack.spec.events import VaeMode
from framepack.spec.geometry import TimeTiles

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
        return to_host(to_uint8(rgb + self.bias.to(latents.device))).numpy()

    def save(self, folder: Path) -> None:
        """Writes `preview.json` into a VAE's folder."""
        content = {"weight": self.weight.tolist(), "bias": self.bias.tolist()}
        (folder / PREVIEW_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class VideoVAE(nn.Module):
    """uint8 frames (T, H, W, 3) <-> scaled latents (1, C, t, h, w).

    Clips longer than a tile are done in overlapping tiles of 16 frames, as the public app does (diffusers' default).
    """

    def __init__(self, autoencoder: AutoencoderKLHunyuanVideo, preview: PreviewMap | None = None) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.preview = preview
        config: Any = autoencoder.config
        self.scaling_factor = float(config.scaling_factor)
        self.latent_channels = int(config.latent_channels)
        self.spatial, self.temporal = autoencoder.spatial_compression_ratio, autoencoder.temporal_compression_ratio
        coders: list[Any] = [autoencoder.encoder, autoencoder.decoder]
        for coder in coders:
            coder.mid_block = FrameCausalMidBlock(coder.mid_block)

    @torch.no_grad()
    def encode(self, frames: np.ndarray, *, mode: VaeMode = "whole", one_pass: bool = False) -> Tensor:
        """uint8 (1 + s k, H, W, 3) -> float32 (1, C, 1 + k, h, w): the posterior's mode, scaled.

        `one_pass` encodes a long clip as a whole instead of in tiles of time: exact, with more memory.
        """
        weight = self.autoencoder.encoder.conv_in.conv.weight
        pixels = rearrange(torch.tensor(frames), "T H W C -> 1 C T H W")
        return self.encode_pixels(to_device(pixels, weight.device), mode, one_pass=one_pass)

    def encode_pixels(self, pixels: Tensor, mode: VaeMode = "whole", *, one_pass: bool = False) -> Tensor:
        """uint8 (1, 3, T, H, W) to scaled latents (1, C, t, h, w) float32."""
        autoencoder: Any = self.autoencoder
        x = (pixels.float() / 127.5 - 1).to(autoencoder.encoder.conv_in.conv.weight.dtype)
        if one_pass or x.shape[2] <= autoencoder.tile_sample_min_num_frames:
            moments = self._moments(x, mode)
        else:
            moments = self._moments_in_time(x, mode)
        mean, _ = moments.chunk(2, dim=1)
        return mean.float() * self.scaling_factor

    def _moments(self, x: Tensor, mode: VaeMode) -> Tensor:
        """Means and deviations of a tile of time, (1, 2 C, t, h, w)."""
        autoencoder: Any = self.autoencoder
        if mode == "tiled" and max(x.shape[-2:]) > autoencoder.tile_sample_min_height:
            return autoencoder.tiled_encode(x)
        return autoencoder.quant_conv(autoencoder.encoder(x))

    def _moments_in_time(self, x: Tensor, mode: VaeMode) -> Tensor:
        """The same of a long clip, in tiles that cross-fade."""
        autoencoder: Any = self.autoencoder
        tiles, latents = self.time_tiles, (x.shape[2] - 1) // self.temporal + 1
        stride, length = self.temporal * tiles.stride, self.temporal * (tiles.length - 1) + 1
        made: list[Tensor] = []
        for start in range(0, x.shape[2], stride):
            made.append(self._moments(x[:, :, start : start + length], mode)[:, :, min(start, 1) :])
        for before, tile in pairwise(made):
            autoencoder.blend_t(before, tile, tiles.length - 1 - tiles.stride)
        kept = [tile[:, :, : tiles.stride + (index == 0)] for index, tile in enumerate(made)]
        return torch.cat(kept, dim=2)[:, :, :latents]

    @torch.no_grad()
    def decode_float(self, latents: Tensor, *, mode: VaeMode = "whole", memo: TileMemo | None = None) -> Tensor:
        """Scaled latents (1, C, t, h, w) -> (1 + s (t-1), H, W, 3) float32 on the CPU, about -1..1, not clamped.

        memo: where tiles of the clip decoded before are found, and those that come again are kept.
        """
        weight = self.autoencoder.decoder.conv_in.conv.weight
        latents = (latents / self.scaling_factor).to(weight.device, weight.dtype)
        frames = 1 + self.temporal * (latents.shape[2] - 1)
        out, done = torch.empty(frames, *(self.spatial * side for side in latents.shape[3:]), 3), 0
        decode = partial(self.decode_tile, mode=mode)
        for run in decode_in_time(latents, decode, self.time_tiles, self.temporal, memo, mode):
            out[done : done + run.shape[2]] = to_host(rearrange(run[0], "C T H W -> T H W C"))
            done += run.shape[2]
        assert done == frames
        return out

    def decode_tile(self, latents: Tensor, mode: VaeMode = "whole") -> Tensor:
        """One tile of time, (1, C, t, h, w) without the scale, to (1, 3, 1 + s (t-1), H, W)."""
        autoencoder: Any = self.autoencoder
        if mode == "tiled" and max(latents.shape[-2:]) > autoencoder.tile_sample_min_height // self.spatial:
            return autoencoder.tiled_decode(latents).sample
        decode = partial(decode_chunked, autoencoder.decoder) if mode == "chunked" else autoencoder.decoder
        return decode(autoencoder.post_quant_conv(latents))

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.autoencoder.decoder.conv_in.conv.weight.dtype

    def trial(self, side: int, device: torch.device | str) -> Callable[[], Tensor]:
        """Two latents of `side` x `side` through a decoder of this shape on `device`, to time it."""
        decoder = copy.deepcopy(self.autoencoder.decoder).to_empty(device=device)
        for parameter in decoder.parameters():
            parameter.normal_(std=0.02)
        latents = torch.randn(1, self.latent_channels, 2, side, side, device=device).to(self.dtype)
        return lambda: decoder(latents)

    @property
    def time_tiles(self) -> TimeTiles:
        autoencoder: Any = self.autoencoder
        stride, frames = autoencoder.tile_sample_stride_num_frames, autoencoder.tile_sample_min_num_frames
        return TimeTiles(length=frames // self.temporal + 1, stride=stride // self.temporal)

    def decode(self, latents: Tensor, *, mode: VaeMode = "whole") -> np.ndarray:
        """Scaled latents (1, C, t, h, w) -> uint8 frames (1 + s (t-1), H, W, 3)."""
        return to_uint8(self.decode_float(latents, mode=mode)).numpy()

    def preview_map(self) -> PreviewMap:
        """The map stored beside the weights; without one it is fitted on the first call, in seconds, and kept."""
        if self.preview is None:
            self.preview = fit_preview(self)
        return self.preview


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


def to_uint8(pixels: Tensor) -> Tensor:
    """-1..1 -> 0..255, truncated, as the public app writes its frames."""
    return (pixels.float().clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8)


def to_unit(pixels: Tensor) -> Tensor:
    """-1..1 -> 0..1, float32."""
    return pixels.float().clamp(-1, 1) * 0.5 + 0.5


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


def load_vae(folder: Path, dtype: torch.dtype | None = None, fill: Fill = load_weights) -> VideoVAE:
    """The VAE in a `vae` folder; CheckpointError when it is damaged or incomplete."""
    autoencoder = empty_vae(folder)
    fill(autoencoder, folder, dtype, PLAIN, None)
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
