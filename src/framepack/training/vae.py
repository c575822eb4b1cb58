"""Trains the mini VAE: fitted first, then encoder and decoder together on pictures and clips.

The fit (`vae_encoder`, `vae_decoder`) is a linear codec; its decoder cannot tell the pixels of a latent apart, and its
encoder knows nothing beyond a block's edge. Training mends both. Latents stay near the fitted ones, half whitened, and
are decoded with noise on them, as a transformer's are never exact. Afterwards the VAE is frozen.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from numpy.random import Generator
from torch import Tensor

from framepack.training.block_encoder import BlockEncoder
from framepack.training.clips import ClipRecipe, crops, draw_wishes, state_rates
from framepack.training.curve import append_row, cut_rows
from framepack.training.motions import render, state_at
from framepack.training.optimizer import Optimizer, OptimizerRecipe
from framepack.training.pool import ImagePool
from framepack.training.replicas import Replicas
from framepack.training.state import has_state, load_state, save_state
from framepack.training.vae_decoder import Fit, fit_decoder
from framepack.training.vae_encoder import fit_encoder, free_weights, new_vae

LOG_EVERY = 20
ALONE = Replicas()
LATEST_START = 30
"""frames into a video at which the last training clip begins"""


@dataclass(frozen=True, kw_only=True)
class VaeProgress:
    """One line of the log, averaged over its steps."""

    step: int
    psnr: float
    """of the batches, dB"""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class VaeRecipe:
    """The VAE's widths, how it is fitted, and how it is trained."""

    channels: tuple[int, ...] = (16, 32, 64, 64)
    latent_channels: int = 16
    layers: int = 2
    """residual blocks a level; the decoder has one more"""
    fit_clips: int = 60
    """clips of 17 frames for the principal components and the least squares"""
    fit_rows: int = 120_000
    """positions that each least-squares fit sees"""
    steps: int = 6000
    images: int = 14
    """in a batch of pictures; two batches of five are"""
    clips_a_batch: int = 2
    sizes: tuple[tuple[int, int], ...] = ((64, 64), (64, 64), (80, 80))
    """height and width; clips take the first"""
    decoder_rate: float = 1.5e-4
    encoder_rate: float = 7.5e-5
    warm_up: int = 200
    decay: float = 0.9
    """share of the steps at the end over which the rates fall to nothing"""
    checkpoint_minutes: float = 4.0
    squares: float = 2.0
    """weight of the squared error"""
    absolute: float = 0.25
    """weight of the absolute error"""
    near: float = 0.003
    """weight of the squared distance of latents to the fitted ones"""
    noise: float = 0.1
    """largest standard deviation of the noise on latents, as a share of their own"""
    clips: ClipRecipe = field(default_factory=ClipRecipe)

    def rate(self, step: int) -> float:
        """Factor on the learning rates: up, level, then down to nothing."""
        return min(1.0, (step + 1) / self.warm_up, (self.steps - step) / max(1.0, self.decay * self.steps))


def prepare_vae(
    recipe: VaeRecipe,
    seed: int,
    folder: Path,
    pool: ImagePool,
    device: torch.device,
    seconds: float | None = None,
    on_progress: Callable[[VaeProgress], None] = lambda _: None,
    replicas: Replicas = ALONE,
) -> AutoencoderKLHunyuanVideo | None:
    """The VAE of a run: fitted and trained on the first calls, read from `folder` afterwards.

    Beside `folder` lie `vae.csv`, the log, and until the end the fitted VAE and the checkpoint. Returns None when
    `seconds` were not enough: the next call goes on.
    """
    if replicas.agree(folder.is_dir()):
        return _read(folder)
    fitted, state = folder.with_name(folder.name + ".fitted"), folder.with_name(folder.name + ".state")
    with replicas.first():
        if not fitted.is_dir():
            _save(fit_vae(recipe, seed, pool.at(0)), fitted)
    vae: Any = _read(fitted)
    vae.to(device)
    run = _Run(recipe=recipe, seed=seed, pool=pool.at(0), state=state, log=folder.with_name("vae.csv"))
    if not run.train(vae, replicas, seconds, on_progress):
        return None
    with replicas.first():
        if not folder.is_dir():
            measure_scale(vae, recipe, seed, pool.at(0))
            _save(vae.cpu(), folder)
            for rest in (fitted, state):
                shutil.rmtree(rest, ignore_errors=True)
    return _read(folder)


def fit_vae(recipe: VaeRecipe, seed: int, pool: np.ndarray) -> AutoencoderKLHunyuanVideo:
    """The linear codec that training starts from."""
    torch.manual_seed(seed)
    vae = new_vae(recipe.channels, recipe.latent_channels, recipe.layers)
    random = np.random.default_rng((seed, 2))
    clips = _clips(random, recipe, pool, recipe.fit_clips, (128, 128), torch.arange(17), torch.device("cpu"))
    fit_encoder(vae, clips)
    top, left = (8 * int(value) for value in random.integers(0, 9, 2))
    part = clips[..., top : top + 64, left : left + 64]
    with torch.no_grad():
        latents = torch.cat([_latents(vae, few) for few in part.split(4)])
    fit_decoder(vae, part, latents, Fit(rows=recipe.fit_rows))
    return vae


def measure_scale(vae: Any, recipe: VaeRecipe, seed: int, pool: np.ndarray) -> None:
    """Register the factor that brings the latents of training clips to size one, as the fit did."""
    random = np.random.default_rng((seed, 3))
    clips = _clips(random, recipe, pool, recipe.fit_clips, (128, 128), torch.arange(17), vae.device)
    encoder = BlockEncoder(vae)
    size = encoder.clip(clips).square().mean().sqrt()
    vae.register_to_config(scaling_factor=float(encoder.scaling_factor / size))


def optimizer_of(vae: AutoencoderKLHunyuanVideo, recipe: VaeRecipe) -> Optimizer:
    """For the weights that are free to move; the others no longer ask for gradients."""
    free = free_weights(vae)
    for name, parameter in vae.named_parameters():
        parameter.requires_grad_(name in free)
    slow = {name: recipe.encoder_rate / recipe.decoder_rate for name in free if name.startswith(("encoder.", "quant_"))}
    return Optimizer(vae, set(), OptimizerRecipe(adam=recipe.decoder_rate, clip=0.5, rows=False), slow)


def train_vae(
    vae: AutoencoderKLHunyuanVideo,
    fitted: BlockEncoder,
    optimizer: Optimizer,
    pool: np.ndarray,
    recipe: VaeRecipe,
    seed: int,
    first: int = 0,
    replicas: Replicas = ALONE,
) -> Iterator[tuple[int, float]]:
    """Train in place from step `first` on; yields (steps done, PSNR of the batch in dB). `fitted`: before training."""
    device = next(vae.parameters()).device
    shown = replace(recipe, images=replicas.share(recipe.images), clips_a_batch=replicas.share(recipe.clips_a_batch))
    masks = {parameter: mask for name, mask in free_weights(vae).items() for parameter in [vae.get_parameter(name)]}
    for step in range(first, recipe.steps):
        random = replicas.random(seed, 1, step)
        noise = torch.Generator(device).manual_seed(int(random.integers(2**62)))
        frames, inside = draw_batch(random, shown, pool, step, device)
        with torch.autocast(device.type, torch.bfloat16):
            latents = _latents(vae, frames)
        near = (latents - fitted.clip(frames) / fitted.scaling_factor).square().mean()
        if inside:  # as a decoder sees a tile of a long video: its first latent is no picture, and only context
            latents, frames = latents[:, :, 1:], frames[:, :, 4:]
        latents = _noisy(latents, recipe.noise, noise)
        with torch.autocast(device.type, torch.bfloat16):
            made = vae.decode(latents).sample  # pyright: ignore[reportAttributeAccessIssue]
        error = (made.float() - frames)[:, :, int(inside) :]
        squares, absolute = error.square().mean(), (error.square() + 1e-4).sqrt().mean()
        (recipe.squares * squares + recipe.absolute * absolute + recipe.near * near).backward()
        for parameter, mask in masks.items():
            if parameter.grad is not None:
                parameter.grad.mul_(mask)
        (mean,) = replicas.average(masks, squares.detach())
        optimizer.step(recipe.rate(step))
        yield step + 1, -10 * math.log10(mean / 4)


def draw_batch(
    random: Generator, recipe: VaeRecipe, pool: np.ndarray, step: int, device: torch.device
) -> tuple[Tensor, bool]:
    """Frames (B, 3, T, H, W) in -1..1, and whether they begin inside a video.

    Of five steps two have pictures, two clips of 17 frames and one clips of 21 frames that begin inside a video.
    """
    kind = step % 5
    if kind in (1, 3):
        size = recipe.sizes[random.integers(len(recipe.sizes))]
        return crops(random, recipe.clips, pool, recipe.images, size, device)[:, :, None], False
    frames = torch.arange(21 if kind == 4 else 17) + int(random.integers(LATEST_START))
    return _clips(random, recipe, pool, recipe.clips_a_batch, recipe.sizes[0], frames, device), kind == 4


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A training with its files."""

    recipe: VaeRecipe
    seed: int
    pool: np.ndarray
    state: Path
    log: Path

    def train(
        self,
        vae: AutoencoderKLHunyuanVideo,
        replicas: Replicas,
        seconds: float | None,
        on_progress: Callable[[VaeProgress], None],
    ) -> bool:
        """Train until the last step; returns False where `seconds` ended it before."""
        recipe, fitted, optimizer = self.recipe, BlockEncoder(vae), optimizer_of(vae, self.recipe)
        with replicas.first():
            first = load_state(self.state, optimizer)[0] if has_state(self.state) else 0
            cut_rows(self.log, first)
        began = saved = logged = time.monotonic()
        psnrs: list[float] = []
        for step, psnr in train_vae(vae, fitted, optimizer, self.pool, recipe, self.seed, first, replicas):
            psnrs.append(psnr)
            if step % LOG_EVERY and step < recipe.steps:
                continue
            now = time.monotonic()
            ends = replicas.agree(seconds is not None and now - began > seconds and step < recipe.steps)
            progress = VaeProgress(step=step, psnr=sum(psnrs) / len(psnrs), seconds=now - logged)
            logged, psnrs = now, []
            if not replicas.rank:
                append_row(self.log, asdict(progress))
                on_progress(progress)
            if not replicas.rank and (ends or now - saved > 60 * recipe.checkpoint_minutes):
                save_state(self.state, optimizer, step, step)
                saved = now
            if ends:
                return False
        vae.load_state_dict(vae.state_dict() | optimizer.averaged())
        return True


def _noisy(latents: Tensor, largest: float, random: torch.Generator) -> Tensor:
    """With noise of at most that share of their own spread, each clip its own amount."""
    amount = torch.rand(len(latents), 1, 1, 1, 1, generator=random, device=latents.device)
    noise = torch.randn(latents.shape, generator=random, device=latents.device)
    return latents + largest * latents.detach().std() * amount * noise


def _latents(vae: AutoencoderKLHunyuanVideo, frames: Tensor) -> Tensor:
    """(B, 3, T, H, W) -> unscaled latents, float32."""
    posterior: Any = vae.encode(frames).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
    return posterior.mode().float()


def _clips(
    random: Generator,
    recipe: VaeRecipe,
    pool: np.ndarray,
    count: int,
    size: tuple[int, int],
    frames: Tensor,
    device: torch.device,
) -> Tensor:
    """Clips of these frames of a video, (count, 3, T, H, W) in -1..1, one motion each."""
    images = crops(random, recipe.clips, pool, count, size, device)
    rates = state_rates([draw_wishes(random, recipe.clips) for _ in images]).to(device)
    return render(images, state_at(frames.to(device), rates, rates, torch.zeros(count, device=device)))


def _read(folder: Path) -> AutoencoderKLHunyuanVideo:
    vae: Any = AutoencoderKLHunyuanVideo.from_pretrained(folder)
    return vae


def _save(vae: AutoencoderKLHunyuanVideo, folder: Path) -> None:
    """Write it whole or not at all."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    vae.save_pretrained(fresh)
    fresh.rename(folder)
