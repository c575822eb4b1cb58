"""Trains the mini VAE: fitted first, then encoder and decoder together on pictures and clips.

The fit (`encoder`, `decoder`) is a linear codec. Its decoder cannot tell the pixels of a latent apart (`phases` trains
that), and its encoder knows nothing beyond a block's edge. Latents stay near the fitted ones, half whitened, and are
decoded with noise on them, as a transformer's are never exact. Afterwards the VAE is frozen.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from numpy.random import Generator
from torch import Tensor, nn

from framepack.training.amx import use_float32_convolutions
from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.clips import draw_motions, random_crops, state_rates
from framepack.training.data.motions import render, state_at
from framepack.training.data.pool import ImagePool
from framepack.training.loop import chunks, run_loop
from framepack.training.optimizer import Optimizer, OptimizerRecipe
from framepack.training.replicas import Replicas
from framepack.training.run_log import append_row, truncate_log
from framepack.training.state import has_state, load_state, save_state
from framepack.training.vae.alignment import align_latents, measure_scaling_factor
from framepack.training.vae.decoder import Fit, fit_decoder
from framepack.training.vae.encoder import fit_encoder, new_vae, trainable_masks
from framepack.training.vae.phases import PhaseHeads
from framepack.training.vae.recipe import VaeRecipe

CPU = torch.device("cpu")
ENCODER_PREFIXES = ("encoder.", "quant_")
"""Names of the encoder's weights begin so."""
TYPICAL_ERROR, SMALLEST_ERROR = 0.009, 0.002
"""Squared errors: of a clip with weight 1, and one below which the weight hardly rises."""
LATEST_START = 30
"""frames into a video at which the last training clip begins"""


@dataclass(frozen=True, kw_only=True)
class VaeProgress:
    """One line of the log, averaged over its steps."""

    step: int
    psnr: float
    """of the batches, dB"""
    phases: float
    """accuracy of the phase heads; a half where they guess"""
    seconds: float


class VaeTrainer:
    """One run's VAE, optimizer and pictures, stepped by number."""

    def __init__(
        self,
        vae: AutoencoderKLHunyuanVideo,
        images: np.ndarray,
        recipe: VaeRecipe,
        seed: int,
        replicas: Replicas | None = None,
    ) -> None:
        """`vae` is trained in place; images (N, S, S, 3) uint8."""
        torch.manual_seed(seed)
        self.vae, self.images, self.recipe, self.seed = vae, images, recipe, seed
        self.replicas = replicas or Replicas()
        self.fitted, self.encoder = BlockEncoder(vae), BlockEncoder(vae, learns=True)
        self.phase_heads = PhaseHeads(vae).to(vae.device)
        self.module = nn.ModuleDict({"vae": vae, "teacher": self.phase_heads})  # names in checkpoints
        use_float32_convolutions(self.module)
        self.masks = {
            vae.get_parameter(name): mask
            for name, mask in trainable_masks(vae).items()
            if recipe.encoder_rate or not name.startswith(ENCODER_PREFIXES)
        }
        for parameter in vae.parameters():
            parameter.requires_grad_(parameter in self.masks)
        ratio = recipe.encoder_rate / recipe.decoder_rate
        prefixes = tuple(f"vae.{prefix}" for prefix in ENCODER_PREFIXES)
        rates = {name: ratio for name, _ in self.module.named_parameters() if name.startswith(prefixes)}
        settings = OptimizerRecipe(adam=recipe.decoder_rate, clip=0.5, rows=False)
        self.optimizer = Optimizer(self.module, set(), settings, rates)

    def step(self, number: int) -> tuple[float, float]:
        """Train one batch; returns its PSNR in dB and the accuracy of the phase heads."""
        random = self.replicas.random(self.seed, 1, number)
        noise = torch.Generator(self.vae.device).manual_seed(int(random.integers(2**62)))
        rate = self.recipe.rate(number)
        loss, squared, accuracy = self.loss(*self.draw(random, number), noise, self.recipe.phases * rate)
        loss.backward()
        for parameter, mask in self.masks.items():
            if parameter.grad is not None:
                parameter.grad.mul_(mask)
        (mean,) = self.replicas.average_gradients([*self.masks, *self.phase_heads.parameters()], squared.mean())
        self.optimizer.step(rate)
        return -10 * math.log10(mean / 4), accuracy

    def draw(self, random: Generator, step: int) -> tuple[Tensor, bool]:
        """Frames (B, 3, T, H, W) in -1..1, and whether they begin in the middle of a video.

        Of five steps two have pictures, two clips of 17 frames and one clips of 21 frames from the middle of a video.
        """
        recipe, kind = self.recipe, step % 5
        if kind in (1, 3):
            size = recipe.sizes[random.integers(len(recipe.sizes))]
            count = self.replicas.local_batch(recipe.images)
            return random_crops(random, recipe.clips, self.images, count, size, self.vae.device)[:, :, None], False
        frames = torch.arange(21 if kind == 4 else 17) + int(random.integers(LATEST_START))
        count = self.replicas.local_batch(recipe.clips_a_batch)
        return _clips(random, recipe, self.images, count, recipe.sizes[0], frames, self.vae.device), kind == 4

    def loss(
        self, frames: Tensor, mid_video: bool, noise: torch.Generator, phase_weight: float
    ) -> tuple[Tensor, Tensor, float]:
        """The loss of a batch, each clip's squared error, and the accuracy of the phase heads."""
        recipe, vae = self.recipe, self.vae
        latents = self.encoder.clip(frames) / self.encoder.scaling_factor
        near = (latents - self.fitted.clip(frames) / self.fitted.scaling_factor).square().mean()
        if mid_video:  # like a tile of a long video: the first latent is no picture, and only context
            latents, frames = latents[:, :, 1:], frames[:, :, 4:]
        latents = _add_noise(latents, recipe.noise, noise)
        with torch.autocast(vae.device.type, torch.bfloat16), self.phase_heads.recording(vae) as states:
            decoded = vae.decoder(vae.post_quant_conv(latents))  # one tile in time, as long as generation's
        error = (decoded.float() - frames)[:, :, int(mid_video) :]
        squared = error.square().flatten(1).mean(1)
        absolute = (error.square() + 1e-4).sqrt().flatten(1).mean(1)
        weights = clip_weights(squared.detach(), recipe.even)
        pixels = (weights * (recipe.squares * squared + recipe.absolute * absolute)).mean()
        phases, accuracy = self.phase_heads(states)
        return pixels + recipe.near * near + phase_weight * phases, squared.detach(), accuracy


def clip_weights(squared: Tensor, even: float) -> Tensor:
    """Weights of clips with these squared errors: smooth ones count more, as in the mean of their PSNR."""
    return ((TYPICAL_ERROR + SMALLEST_ERROR) / (squared + SMALLEST_ERROR)) ** even


def prepare_vae(
    recipe: VaeRecipe,
    folder: Path,
    pool: ImagePool,
    replicas: Replicas | None = None,
    *,
    device: torch.device = CPU,
    seconds: float | None = None,
    on_progress: Callable[[VaeProgress], None] = lambda _: None,
) -> AutoencoderKLHunyuanVideo | None:
    """The VAE of a run: fitted and trained on the first calls, read from `folder` afterwards.

    Beside `folder` lie `vae.csv`, the log, and until the end the fitted VAE and the checkpoint. Returns None when
    `seconds` were not enough: the next call continues.
    """
    replicas = replicas or Replicas()
    if replicas.broadcast(folder.is_dir()):
        return load_vae(folder)
    fitted = fitted_folder(folder)
    with replicas.main_process_first():
        if not fitted.is_dir():
            save_vae(fit_vae(recipe, pool.seed, pool.at(0)), fitted)
    trainer = VaeTrainer(load_vae(fitted).to(device), pool.at(0), recipe, pool.seed, replicas)
    if _train(trainer, folder, seconds, on_progress) < recipe.steps:
        return None
    trainer.module.load_state_dict(trainer.module.state_dict() | trainer.optimizer.averaged())
    with replicas.main_process_first():
        if not folder.is_dir():
            _correct_latents(trainer)
            save_vae(trainer.vae.cpu(), folder)
            for leftover in (fitted, _state(folder)):
                shutil.rmtree(leftover, ignore_errors=True)
    return load_vae(folder)


def _train(trainer: VaeTrainer, folder: Path, seconds: float | None, on_progress: Callable[[VaeProgress], None]) -> int:
    """Continue from the checkpoint, if there is one, until the last step or for `seconds`; returns the steps done."""
    recipe, state, log = trainer.recipe, _state(folder), folder.with_name("vae.csv")
    with trainer.replicas.main_process_first():
        first = load_state(state, trainer.optimizer)[0] if has_state(state) else 0
        if trainer.replicas.is_main:
            truncate_log(log, first)
    saved = time.monotonic()

    def report(line: VaeProgress) -> None:
        append_row(log, asdict(line))
        on_progress(line)

    def save(step: int, ends: bool) -> None:
        nonlocal saved
        if step < recipe.steps and (ends or time.monotonic() - saved > 60 * recipe.checkpoint_minutes):
            save_state(state, trainer.optimizer, step, step)
            saved = time.monotonic()

    lines = _steps(trainer, first)
    steps = recipe.steps
    return run_loop(lines, trainer.replicas, first=first, steps=steps, seconds=seconds, on_line=report, save=save)


def _steps(trainer: VaeTrainer, first: int) -> Iterator[VaeProgress]:
    for numbers in chunks(first, trainer.recipe.steps):
        began = time.monotonic()
        psnrs, accuracies = zip(*(trainer.step(number) for number in numbers), strict=True)
        seconds = time.monotonic() - began
        yield VaeProgress(step=numbers.stop, psnr=fmean(psnrs), phases=fmean(accuracies), seconds=seconds)


def _correct_latents(trainer: VaeTrainer) -> None:
    """Scale or align the latents of an encoder that was trained; see `alignment`."""
    recipe, vae = trainer.recipe, trainer.vae
    if not recipe.encoder_rate:
        return
    random = np.random.default_rng((trainer.seed, 3))
    clips = _clips(random, recipe, trainer.images, recipe.fit_clips, (128, 128), torch.arange(17), vae.device)
    if recipe.further:  # a transformer uses the old latents
        align_latents(vae, trainer.fitted, clips)
    else:
        measure_scaling_factor(vae, clips)


def fit_vae(recipe: VaeRecipe, seed: int, images: np.ndarray) -> AutoencoderKLHunyuanVideo:
    """The linear codec that training starts from."""
    torch.manual_seed(seed)
    vae = new_vae(recipe.channels, recipe.latent_channels, recipe.layers)
    random = np.random.default_rng((seed, 2))
    clips = _clips(random, recipe, images, recipe.fit_clips, (128, 128), torch.arange(17), CPU)
    fit_encoder(vae, clips)
    top, left = (8 * int(value) for value in random.integers(0, 9, 2))
    part = clips[..., top : top + 64, left : left + 64]
    with torch.no_grad():
        latents = torch.cat([_latents(vae, few) for few in part.split(4)])
    fit_decoder(vae, part, latents, Fit(rows=recipe.fit_rows))
    return vae


def _add_noise(latents: Tensor, largest: float, random: torch.Generator) -> Tensor:
    """With noise of at most that share of their standard deviation, each clip its own amount."""
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
    images: np.ndarray,
    count: int,
    size: tuple[int, int],
    frames: Tensor,
    device: torch.device,
) -> Tensor:
    """Clips of these frames of a video, (count, 3, T, H, W) in -1..1, one motion each."""
    start = random_crops(random, recipe.clips, images, count, size, device)
    rates = state_rates([draw_motions(random, recipe.clips) for _ in start]).to(device)
    return render(start, state_at(frames.to(device), rates, rates, torch.zeros(count, device=device)))


def fitted_folder(folder: Path) -> Path:
    """Where the VAE is that the training of the one in `folder` begins with."""
    return folder.with_name(folder.name + ".fitted")


def _state(folder: Path) -> Path:
    """Where the checkpoint of that training is."""
    return folder.with_name(folder.name + ".state")


def load_vae(folder: Path) -> Any:
    """A VAE that `save_vae` wrote."""
    return AutoencoderKLHunyuanVideo.from_pretrained(folder)


def save_vae(vae: AutoencoderKLHunyuanVideo, folder: Path) -> None:
    """Write it whole or not at all."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    vae.save_pretrained(fresh)
    fresh.rename(folder)
