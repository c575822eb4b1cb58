"""The mini VAE's encoder: fitted to begin with, and which of its weights training may then change.

Three stages of PCA over 2x2(x2) patches go into the three downsamplers of `AutoencoderKLHunyuanVideo`; components run
as (+x, -x) pairs so that SiLU cancels, and constant channels keep GroupNorm from rescaling. Latents are half whitened
(standard deviation = sd ** 0.5), which trained better than fully whitened ones. Residual branches add nothing at first;
those at latent resolution can be trained, the larger ones stay zero for good. No weight reaches out of a block of four
frames, and the masks of training preserve that (`trainable_masks`): see `block_encoder`.
"""

import math
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from einops import rearrange
from torch import Tensor

GROUPS = 4
CONSTANT = 16.0  # of the constant channels; inputs are of size one, so GroupNorm's scale moves by a thousandth
STAGES = ((1, 2, 2), (2, 2, 2), (2, 2, 2))


def new_vae(channels: tuple[int, ...], latent_channels: int, layers: int = 1) -> AutoencoderKLHunyuanVideo:
    """An untrained VAE of the mini model's shape."""
    return AutoencoderKLHunyuanVideo(
        block_out_channels=channels,  # pyright: ignore[reportArgumentType]
        layers_per_block=layers,
        norm_num_groups=GROUPS,
        mid_block_add_attention=False,
        latent_channels=latent_channels,
        scaling_factor=1.0,
    )


@torch.no_grad()
def fit_encoder(vae: AutoencoderKLHunyuanVideo, clips: Tensor) -> None:
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
    state, incoming = clips, 3
    pairs = _pair_channels(config.block_out_channels[-1], latents)
    for level, (stage, width) in enumerate(zip(STAGES, widths, strict=True)):
        block = encoder.down_blocks[level]
        if (shortcut := block.resnets[0].conv_shortcut) is not None:
            shortcut.conv.weight[range(incoming), range(incoming), 0, 0, 0] = 1
        basis, state = _principal(state, stage, width)
        weight = block.downsamplers[0].conv.conv.weight
        taps = weight[
            :, :incoming, 3 - stage[0] :, 1:, 1:
        ]  # the causal kernel of 3 ends on the block's last frame and pixel
        if level < 2:
            taps[:width] = basis
        else:
            taps[[plus for plus, _ in pairs]] = basis
            taps[[minus for _, minus in pairs]] = -basis
            set_constants(block.downsamplers[0].conv.conv.bias, CONSTANT)
        incoming = width
    spread = state.transpose(0, 1).flatten(1).std(1)
    _read_out(vae, pairs, spread)
    scale = float(1 / (state / spread.sqrt()[:, None, None, None]).square().mean().sqrt())
    vae.register_to_config(scaling_factor=scale)
    for block in _latent_residuals(vae):
        _initialise(block)


def trainable_masks(vae: AutoencoderKLHunyuanVideo) -> dict[str, Tensor]:
    """The weights that training may change and where, (name: 1 or 0 of the weight's shape).

    The whole decoder; of the encoder the downsamplers and the layers at latent resolution, as far as blocks of four
    frames remain independent and constant channels constant.
    """
    encoder: Any = vae.encoder
    masks: dict[int, Tensor] = {}

    def free(module: Any, frames: int = 1, *, rows: bool = False, columns: bool = False) -> None:
        for parameter in module.parameters():
            mask = torch.ones_like(parameter)
            if parameter.ndim == 5:
                mask[:, :, : max(0, parameter.shape[2] - frames)] = 0
                mask[:, constant if columns else []] = 0
            mask[constant if rows else []] = 0
            masks[id(parameter)] = mask

    constant = _constant_channels(vae.config["block_out_channels"][-1])
    for stage, block in zip(STAGES, encoder.down_blocks, strict=False):
        free(block.downsamplers[0], stage[0], rows=block is encoder.down_blocks[-2])
    for block in _latent_residuals(vae):
        free(block, rows=True, columns=True)
    free(encoder.conv_norm_out)
    free(encoder.conv_out, columns=True)
    free(vae.quant_conv)
    free(vae.post_quant_conv, 3)
    free(vae.decoder, 3)
    return {name: masks[id(parameter)] for name, parameter in vae.named_parameters() if id(parameter) in masks}


def _latent_residuals(vae: AutoencoderKLHunyuanVideo) -> list[Any]:
    encoder: Any = vae.encoder
    return [*encoder.down_blocks[-1].resnets, *encoder.mid_block.resnets]


def _initialise(block: Any) -> None:
    """A branch that adds nothing until its last convolution is trained. It sees single frames only."""
    width = block.norm1.num_channels
    constant = _constant_channels(width)
    for norm in (block.norm1, block.norm2):
        norm.weight.fill_(CONSTANT * (2 * GROUPS / width) ** 0.5)  # undoes the scale that the constants bring
    weight = block.conv1.conv.weight
    weight[:, :, -1].normal_(0, (2 / (9 * width)) ** 0.5)
    weight[constant] = 0
    weight[:, constant] = 0
    set_constants(block.conv1.conv.bias, CONSTANT)


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


def set_constants(bias: Tensor, value: float) -> None:
    """The last two channels of each norm group become +-value, if their weights are zero."""
    group = len(bias) // GROUPS
    bias[group - 1 :: group] = value
    bias[group - 2 :: group] = -value


def _constant_channels(width: int) -> list[int]:
    """The last two of each norm group."""
    group = width // GROUPS
    return [channel for channel in range(width) if channel % group >= group - 2]


def space_to_depth(clips: Tensor, frames: int, side: int) -> Tensor:
    """(N, C, T, H, W) -> (N, C * block, T', H', W'), the first frame repeated to fill its block."""
    clips = torch.cat([clips[:, :, :1].expand(-1, -1, frames - 1, -1, -1), clips], dim=2)
    return rearrange(clips, "n c (t f) (h y) (w x) -> n (c f y x) t h w", f=frames, y=side, x=side)


def principal_directions(rows: Tensor, count: int, most: int) -> Tensor:
    """The `count` strongest directions of rows (N, C), from at most `most` of them: (C, count) float64."""
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]].double()
    return torch.linalg.eigh(rows.T @ rows / len(rows))[1].flip(1)[:, :count]


def _principal(state: Tensor, stage: tuple[int, int, int], width: int) -> tuple[Tensor, Tensor]:
    """The strongest components of a stage's blocks as kernels (width, C, *stage), and the state after it."""
    blocks = space_to_depth(state, stage[0], stage[1]).movedim(1, -1).contiguous()
    basis = (principal_directions(blocks.flatten(0, 3), width, 250_000) / math.prod(stage) ** 0.5).float()
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
