"""The mini VAE's encoder, computed rather than trained: principal components through the real class's weights.

Three stages of PCA over 2x2(x2) patches go into the three downsamplers of `AutoencoderKLHunyuanVideo`; residual
branches are zero, components run as (+x, -x) pairs so that SiLU cancels, and constant channels keep GroupNorm from
rescaling. Latents are half whitened (standard deviation = sd ** 0.5), which trained better than fully whitened
ones. Because every stage is a linear map of aligned blocks, the whole encoder is one (768, channels) matrix:
`BlockEncoder`, which training uses.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from einops import rearrange
from torch import Tensor
from torch.nn import functional

GROUPS = 4
CONSTANT = 16.0  # of the constant channels; inputs are of size one, so GroupNorm's scale moves by a thousandth
STAGES = ((1, 2, 2), (2, 2, 2), (2, 2, 2))


@dataclass(frozen=True, kw_only=True)
class BlockEncoder:
    """The encoder as one matrix, for whole blocks of 4 frames x 8 x 8 pixels."""

    matrix: Tensor
    """(768, channels), rows in the order (colour, frame, y, x)"""
    scaling_factor: float

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, 3, 4 * T, H, W) in -1..1 -> scaled latents (B, channels, T, H / 8, W / 8)."""
        blocks = rearrange(frames, "b c (t f) (h y) (w x) -> b t h w (c f y x)", f=4, y=8, x=8)
        return rearrange(blocks @ (self.matrix * self.scaling_factor), "b t h w c -> b c t h w")

    def to(self, device: torch.device) -> "BlockEncoder":
        """The same on another device."""
        return BlockEncoder(matrix=self.matrix.to(device), scaling_factor=self.scaling_factor)

    def image(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, channels, 1, H / 8, W / 8): the latent of a picture encoded alone."""
        return self(image[:, :, None].expand(-1, -1, 4, -1, -1))


def new_vae(channels: tuple[int, ...], latent_channels: int) -> AutoencoderKLHunyuanVideo:
    """An untrained VAE of the mini model's shape."""
    return AutoencoderKLHunyuanVideo(
        block_out_channels=channels,  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        norm_num_groups=GROUPS,
        mid_block_add_attention=False,
        latent_channels=latent_channels,
        scaling_factor=1.0,
    )


@torch.no_grad()
def fit_encoder(vae: AutoencoderKLHunyuanVideo, clips: Tensor) -> BlockEncoder:
    """Write the analytic encoder into `vae` and register its measured scaling factor.

    clips: (N, 3, 1 + 4k, H, W) in -1..1, H and W multiples of 8.
    """
    encoder: Any = vae.encoder
    config: Any = vae.config
    latents = config.latent_channels
    widths = (min(12, config.block_out_channels[0]), config.block_out_channels[1], latents)
    for name, parameter in encoder.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    encoder.conv_in.conv.weight[range(3), range(3), 2, 1, 1] = 1
    state, incoming, bases = clips, 3, []
    pairs = _pair_channels(config.block_out_channels[-1], latents)
    for level, (stage, width) in enumerate(zip(STAGES, widths, strict=True)):
        block = encoder.down_blocks[level]
        if (shortcut := block.resnets[0].conv_shortcut) is not None:
            shortcut.conv.weight[range(incoming), range(incoming), 0, 0, 0] = 1
        basis, state = _principal(state, stage, width)
        bases.append(basis)
        weight = block.downsamplers[0].conv.conv.weight
        taps = weight[
            :, :incoming, 3 - stage[0] :, 1:, 1:
        ]  # the causal kernel of 3 ends on the block's last frame and pixel
        if level < 2:
            taps[:width] = basis
        else:
            taps[[plus for plus, _ in pairs]] = basis
            taps[[minus for _, minus in pairs]] = -basis
            _constants(block.downsamplers[0].conv.conv.bias)
        incoming = width
    spread = state.transpose(0, 1).flatten(1).std(1)
    _read_out(vae, pairs, spread)
    block_encoder = BlockEncoder(matrix=_compose(bases) / spread.sqrt(), scaling_factor=1.0)
    scale = float(1 / (state / spread.sqrt()[:, None, None, None]).square().mean().sqrt())
    vae.register_to_config(scaling_factor=scale)
    return BlockEncoder(matrix=block_encoder.matrix, scaling_factor=scale)


def _pair_channels(width: int, latents: int) -> list[tuple[int, int]]:
    """The two channels of each latent, spread over the norm groups; two channels of each group stay for constants."""
    group = width // GROUPS
    if 2 * latents > width - 2 * GROUPS:
        raise ValueError(
            f"{latents} latent channels need a last block of {2 * latents + 2 * GROUPS} or more, got {width}"
        )
    return [
        (group * (i % GROUPS) + 2 * (i // GROUPS), group * (i % GROUPS) + 2 * (i // GROUPS) + 1) for i in range(latents)
    ]


def _constants(bias: Tensor) -> None:
    group = len(bias) // GROUPS
    bias[group - 1 :: group] = CONSTANT
    bias[group - 2 :: group] = -CONSTANT


def _blocks(state: Tensor, stage: tuple[int, int, int]) -> Tensor:
    """(N, C, T, H, W) -> (N, T', H', W', C * block), the first frame repeated to fill its block."""
    frames, y, x = stage
    if frames > 1:
        state = torch.cat([state[:, :, :1], state], dim=2)
    return rearrange(state, "n c (t f) (h y) (w x) -> n t h w (c f y x)", f=frames, y=y, x=x)


def _principal(state: Tensor, stage: tuple[int, int, int], width: int) -> tuple[Tensor, Tensor]:
    """The strongest components of a stage's blocks as kernels (width, C, *stage), and the state after it."""
    blocks = _blocks(state, stage)
    rows = blocks.flatten(0, 3)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:250_000]].double()
    _, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    size = stage[0] * stage[1] * stage[2]
    basis = (vectors.flip(1)[:, :width] / size**0.5).float()
    kernels = rearrange(basis, "(c f y x) k -> k c f y x", f=stage[0], y=stage[1], x=stage[2])
    return kernels, rearrange(blocks @ basis, "n t h w k -> n k t h w")


def _read_out(vae: AutoencoderKLHunyuanVideo, pairs: list[tuple[int, int]], spread: Tensor) -> None:
    """GroupNorm, SiLU and the last convolutions: pick +x - (-x) of each pair, half whitened."""
    encoder: Any = vae.encoder
    quant: Any = vae.quant_conv
    latents = len(pairs)
    group = encoder.conv_norm_out.num_channels // GROUPS
    encoder.conv_norm_out.weight.zero_()
    encoder.conv_norm_out.bias.zero_()
    encoder.conv_out.conv.bias.zero_()
    for latent, (plus, minus) in enumerate(pairs):
        encoder.conv_norm_out.weight[[plus, minus]] = CONSTANT * (2 / group) ** 0.5 / spread[latent].sqrt()
        encoder.conv_out.conv.weight[latent, plus, 2, 1, 1] = 1
        encoder.conv_out.conv.weight[latent, minus, 2, 1, 1] = -1
    quant.weight.zero_()
    quant.bias.zero_()
    quant.weight[range(latents), range(latents)] = 1
    quant.bias[latents:] = -5.0  # log variance: the posterior is as good as its mode


def _compose(bases: list[Tensor]) -> Tensor:
    """The three stages as one matrix (768, channels): what they make of each unit block."""
    state = torch.eye(3 * 4 * 8 * 8).view(-1, 3, 4, 8, 8)
    for kernels in bases:
        state = functional.conv3d(state, kernels, stride=kernels.shape[2:])
    return state.flatten(1)
