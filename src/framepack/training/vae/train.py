"""Trains the mini VAE: fitted first, then encoder and decoder together on pictures and clips.

The fit (`vae_encoder`, `vae_decoder`) is a linear codec; its decoder cannot tell the pixels of a latent apart, and its
encoder knows nothing beyond a block's edge. Training mends both; `vae_phases` helps with the first. Latents stay near
the fitted ones, half whitened, and are decoded with noise on them, as a transformer's are never exact. Afterwards the
VAE is frozen.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from numpy.random import Generator
from torch import Tensor, nn

from framepack.training.amx import trust_convolutions
from framepack.training.curve import append_row, cut_rows
from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.clips import crops, draw_wishes, state_rates
from framepack.training.data.motions import render, state_at
from framepack.training.data.pool import ImagePool
from framepack.training.optimizer import Optimizer, OptimizerRecipe
from framepack.training.replicas import Replicas
from framepack.training.state import has_state, load_state, save_state
from framepack.training.vae.decoder import Fit, fit_decoder
from framepack.training.vae.encoder import fit_encoder, free_weights, new_vae
from framepack.training.vae.phases import PhaseTeacher
from framepack.training.vae.recipe import VaeRecipe
from framepack.training.vae.settle import measure_scale, turn_back

LOG_EVERY = 20
ALONE = Replicas()
ENCODING = ("encoder.", "quant_")
"""Names of the encoder's weights begin so."""
TYPICAL, FLOOR = 0.009, 0.002
"""Squared errors: a clip's that weighs 1, and one that those below hardly weigh more than."""
LATEST_START = 30
"""frames into a video at which the last training clip begins"""


@dataclass(frozen=True, kw_only=True)
class VaeProgress:
    """One line of the log, averaged over its steps."""

    step: int
    psnr: float
    """of the batches, dB"""
    phases: float
    """share of a latent's pixels that the decoder tells apart; half of them where it guesses"""
    seconds: float


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
    fitted, state = fitted_beside(folder), folder.with_name(folder.name + ".state")
    with replicas.first():
        if not fitted.is_dir():
            save_vae(fit_vae(recipe, seed, pool.at(0)), fitted)
    vae: Any = _read(fitted)
    vae.to(device)
    run = _Run(recipe=recipe, seed=seed, pool=pool.at(0), state=state, log=folder.with_name("vae.csv"))
    if not run.train(vae, replicas, seconds, on_progress):
        return None
    with replicas.first():
        if not folder.is_dir():
            if recipe.encoder_rate:
                random = np.random.default_rng((seed, 3))
                clips = _clips(random, recipe, pool.at(0), recipe.fit_clips, (128, 128), torch.arange(17), device)
                if recipe.further:  # a transformer stands on the old ones
                    turn_back(vae, BlockEncoder(_read(fitted).to(device)), clips)
                else:
                    measure_scale(vae, clips)
            save_vae(vae.cpu(), folder)
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


class Pupil(nn.Module):
    """What is trained together: the VAE, and the teacher of phases, which is thrown away afterwards."""

    def __init__(self, vae: AutoencoderKLHunyuanVideo, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.vae, self.teacher = vae, PhaseTeacher(vae).to(vae.device)

    def moving(self, recipe: VaeRecipe) -> dict[nn.Parameter, Tensor]:
        """The VAE's parameters that are trained, and where (1 or 0 of their shape)."""
        free = free_weights(self.vae)
        return {
            self.vae.get_parameter(name): mask
            for name, mask in free.items()
            if recipe.encoder_rate or not name.startswith(ENCODING)
        }


def optimizer_of(pupil: Pupil, recipe: VaeRecipe) -> Optimizer:
    """For the weights that are free to move; the others no longer ask for gradients."""
    moving = pupil.moving(recipe)
    for parameter in pupil.vae.parameters():
        parameter.requires_grad_(parameter in moving)
    ratio = recipe.encoder_rate / recipe.decoder_rate
    encoding = tuple(f"vae.{part}" for part in ENCODING)
    slow = {name: ratio for name, parameter in pupil.named_parameters() if name.startswith(encoding)}
    return Optimizer(pupil, set(), OptimizerRecipe(adam=recipe.decoder_rate, clip=0.5, rows=False), slow)


def train_vae(
    pupil: Pupil,
    fitted: BlockEncoder,
    optimizer: Optimizer,
    pool: np.ndarray,
    recipe: VaeRecipe,
    seed: int,
    first: int = 0,
    replicas: Replicas = ALONE,
) -> Iterator[tuple[int, float, float]]:
    """Train in place from step `first` on; yields (steps done, PSNR of the batch in dB, share of phases told right).

    `fitted`: before training.
    """
    vae, device = pupil.vae, pupil.vae.device
    encoder = BlockEncoder(vae, learns=True)
    shown = replace(recipe, images=replicas.share(recipe.images), clips_a_batch=replicas.share(recipe.clips_a_batch))
    masks = pupil.moving(recipe)
    for step in range(first, recipe.steps):
        random = replicas.random(seed, 1, step)
        noise = torch.Generator(device).manual_seed(int(random.integers(2**62)))
        frames, inside = draw_batch(random, shown, pool, step, device)
        latents = encoder.clip(frames) / encoder.scaling_factor
        near = (latents - fitted.clip(frames) / fitted.scaling_factor).square().mean()
        if inside:  # as a decoder sees a tile of a long video: its first latent is no picture, and only context
            latents, frames = latents[:, :, 1:], frames[:, :, 4:]
        latents = _noisy(latents, recipe.noise, noise)
        with torch.autocast(device.type, torch.bfloat16), pupil.teacher.listening(vae) as heard:
            made = vae.decoder(vae.post_quant_conv(latents))  # one tile in time, as long as generation's
        error = (made.float() - frames)[:, :, int(inside) :]
        squares = error.square().flatten(1).mean(1)
        absolute = (error.square() + 1e-4).sqrt().flatten(1).mean(1)
        shares = _shares(squares.detach(), recipe.even)
        pixels = (shares * (recipe.squares * squares + recipe.absolute * absolute)).mean()
        blind, right = pupil.teacher(heard)
        told = recipe.phases * recipe.rate(step) * blind
        (pixels + recipe.near * near + told).backward()
        for parameter, mask in masks.items():
            if parameter.grad is not None:
                parameter.grad.mul_(mask)
        (mean,) = replicas.average([*masks, *pupil.teacher.parameters()], squares.detach().mean())
        optimizer.step(recipe.rate(step))
        yield step + 1, -10 * math.log10(mean / 4), right


def _shares(squares: Tensor, even: float) -> Tensor:
    """Weights of clips with these squared errors: smooth ones count more, as PSNR and the eye have it."""
    return ((TYPICAL + FLOOR) / (squares + FLOOR)) ** even


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
        recipe, fitted, pupil = self.recipe, BlockEncoder(vae), trust_convolutions(Pupil(vae, self.seed))
        optimizer = optimizer_of(pupil, recipe)
        with replicas.first():
            first = load_state(self.state, optimizer)[0] if has_state(self.state) else 0
            if not replicas.rank:
                cut_rows(self.log, first)
        began = saved = logged = time.monotonic()
        told: list[tuple[float, float]] = []
        steps = train_vae(pupil, fitted, optimizer, self.pool, recipe, self.seed, first, replicas)
        for step, psnr, right in steps:
            told.append((psnr, right))
            if step % LOG_EVERY and step < recipe.steps:
                continue
            now = time.monotonic()
            ends = replicas.agree(seconds is not None and now - began > seconds and step < recipe.steps)
            mean, phases = (sum(values) / len(told) for values in zip(*told, strict=True))
            progress = VaeProgress(step=step, psnr=mean, phases=phases, seconds=now - logged)
            logged, told = now, []
            if not replicas.rank:
                append_row(self.log, asdict(progress))
                on_progress(progress)
            if not replicas.rank and (ends or now - saved > 60 * recipe.checkpoint_minutes):
                save_state(self.state, optimizer, step, step)
                saved = now
            if ends:
                return False
        pupil.load_state_dict(pupil.state_dict() | optimizer.averaged())
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


def fitted_beside(folder: Path) -> Path:
    """Where the VAE is that the training of the one in `folder` begins with."""
    return folder.with_name(folder.name + ".fitted")


def _read(folder: Path) -> Any:
    return AutoencoderKLHunyuanVideo.from_pretrained(folder)


def save_vae(vae: AutoencoderKLHunyuanVideo, folder: Path) -> None:
    """Write it whole or not at all."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    vae.save_pretrained(fresh)
    fresh.rename(folder)
