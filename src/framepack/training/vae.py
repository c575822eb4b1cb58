"""Trains the mini VAE's decoder where it loses most: from latents to quarter resolution.

The linear decoder's weak place is its first upsampling, which cannot tell the pixels of one latent apart. Its stage
is also the cheapest, so only conv_in, the middle, the first block and the second one's residual blocks are trained,
against the blocks' principal components; the fitted stages behind stay as they are. Latents never move: the encoder
is frozen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from einops import rearrange
from numpy.random import Generator
from safetensors.torch import load_file, save_file
from torch import Tensor

from framepack.training.clips import ClipRecipe, ClipStream, draw_wishes, state_rates
from framepack.training.motions import render, state_at
from framepack.training.pool import ImagePool
from framepack.training.vae_decoder import Fit, QuarterTarget, fit_decoder
from framepack.training.vae_encoder import BlockEncoder, fit_encoder, new_vae

ENCODER_FILE = "block_encoder.safetensors"


@dataclass(frozen=True, kw_only=True)
class VaeRecipe:
    """The VAE's widths, how it is fitted, and how its decoder's first stage is trained."""

    channels: tuple[int, ...] = (16, 32, 64, 64)
    latent_channels: int = 16
    fit_clips: int = 60
    """clips of 17 frames for the principal components and the least squares"""
    fit_rows: int = 120_000
    """positions that each least-squares fit sees"""
    steps: int = 1500
    batch: int = 6
    size: tuple[int, int] = (64, 64)
    residual_rate: float = 4e-4
    linear_rate: float = 1.5e-4
    warm_up: int = 50
    clips: ClipRecipe = field(default_factory=ClipRecipe)
    squares: float = 2.0
    """weight of the squared error beside the absolute one"""

    def rate(self, step: int) -> float:
        """Factor on the learning rates: up, then down to nothing."""
        return min(1.0, (step + 1) / self.warm_up) * (1 - step / self.steps)


def decoder_batch(
    random: Generator, stream: ClipStream, pool: np.ndarray, recipe: VaeRecipe
) -> tuple[Tensor, Tensor, int]:
    """Unscaled latents (B, C, 5, h, w), blocks (B, 192, 5, 2h, 2w) and the first latent that counts.

    Half of the batches begin in the middle of a video, as the tiles of a long one do; the first latent is context.
    """
    wishes = [draw_wishes(random, recipe.clips) for _ in range(recipe.batch)]
    rates = state_rates(wishes).to(stream.device)
    inside = bool(random.random() < 0.5)
    first = 4 * int(random.integers(1, 9)) - 3 if inside else 0
    frames = torch.arange(first, first + (20 if inside else 17))
    if not inside:
        frames = torch.cat([torch.zeros(3, dtype=torch.long), frames])
    images = stream.crops(random, recipe.clips, pool, recipe.batch, recipe.size)
    clips = render(
        images, state_at(frames.to(stream.device), rates, rates, torch.zeros(recipe.batch, device=stream.device))
    )
    blocks = rearrange(clips, "n c (t f) (h y) (w x) -> n (c f y x) t h w", f=4, y=4, x=4)
    return stream.encoder(clips) / stream.encoder.scaling_factor, blocks, int(inside)


def quarter(vae: AutoencoderKLHunyuanVideo, latents: Tensor) -> Tensor:
    """The trained stage: unscaled latents (B, C, t, h, w) -> features at quarter resolution (B, D, t, 2h, 2w)."""
    decoder: Any = vae.decoder
    state = decoder.conv_in(vae.post_quant_conv(latents))
    for resnet in decoder.mid_block.resnets:
        state = resnet(state)
    state = decoder.up_blocks[0](state)
    for resnet in decoder.up_blocks[1].resnets:
        state = resnet(state)
    return state


def stage_parameters(vae: AutoencoderKLHunyuanVideo) -> dict[str, torch.nn.Parameter]:
    """What `quarter` reads."""
    parts = ("conv_in.", "mid_block.", "up_blocks.0.", "up_blocks.1.resnets.")
    return {name: p for name, p in vae.decoder.named_parameters() if name.startswith(parts)}


def prepare_vae(
    recipe: VaeRecipe, seed: int, folder: Path, pool: ImagePool, device: torch.device
) -> tuple[AutoencoderKLHunyuanVideo, BlockEncoder]:
    """The VAE of a run, fitted and trained on the first call and read from `folder` afterwards."""
    done = folder / ENCODER_FILE
    if done.is_file():
        vae: Any = AutoencoderKLHunyuanVideo.from_pretrained(folder)
        return vae, BlockEncoder(matrix=load_file(done)["matrix"], scaling_factor=float(vae.config.scaling_factor))
    torch.manual_seed(seed)
    vae = new_vae(recipe.channels, recipe.latent_channels)
    random = np.random.default_rng((seed, 2))
    clips = _fit_clips(random, recipe, pool.at(0), side=128)
    encoder = fit_encoder(vae, clips)
    top, left = (8 * int(value) for value in random.integers(0, 9, 2))
    part = clips[..., top : top + 64, left : left + 64]
    held = torch.cat([part[:, :, :1].expand(-1, -1, 3, -1, -1), part], dim=2)
    _, target = fit_decoder(vae, part, encoder(held) / encoder.scaling_factor, Fit(rows=recipe.fit_rows))
    vae.to(device)
    for _ in train_decoder(vae, target.to(device), ClipStream(encoder, device), pool.at(0), recipe, seed):
        pass
    vae.cpu().save_pretrained(folder)
    save_file({"matrix": encoder.matrix.contiguous()}, done)
    return vae, encoder


def _fit_clips(random: Generator, recipe: VaeRecipe, pool: np.ndarray, side: int) -> Tensor:
    """Clips of 17 frames, (N, 3, 17, side, side) in -1..1, one motion each."""
    stream = ClipStream(BlockEncoder(matrix=torch.zeros(768, 1), scaling_factor=1.0), torch.device("cpu"))
    images = stream.crops(random, recipe.clips, pool, recipe.fit_clips, (side, side))
    rates = state_rates([draw_wishes(random, recipe.clips) for _ in images])
    return render(images, state_at(torch.arange(17), rates, rates, torch.zeros(len(images))))


def train_decoder(
    vae: AutoencoderKLHunyuanVideo,
    target: QuarterTarget,
    stream: ClipStream,
    pool: np.ndarray,
    recipe: VaeRecipe,
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Train in place; yields (step, PSNR of the batch at quarter resolution in dB)."""
    parameters = stage_parameters(vae)
    linear = [p for name, p in parameters.items() if "resnets" not in name or "shortcut" in name]
    residual = [p for name, p in parameters.items() if "resnets" in name and "shortcut" not in name]
    groups = [{"params": linear, "lr": recipe.linear_rate}, {"params": residual, "lr": recipe.residual_rate}]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, recipe.rate)
    for step in range(recipe.steps):
        random = np.random.default_rng((seed, 1, step))
        latents, blocks, first = decoder_batch(random, stream, pool, recipe)
        with torch.autocast(latents.device.type, torch.bfloat16):
            features = quarter(vae, latents)
        pixels = torch.einsum("ncthw,mc->nmthw", features[:, list(target.channels)].float(), target.basis)
        error = (pixels - blocks)[:, :, first:]
        squares = error.square().mean()
        loss = recipe.squares * squares + (error.square() + 1e-4).sqrt().mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        adam.step()
        schedule.step()
        yield step + 1, float(-10 * torch.log10(squares.detach() / 4))
