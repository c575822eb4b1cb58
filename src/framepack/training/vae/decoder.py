"""The mini VAE's decoder, solved rather than trained: stagewise least squares through the real class's convolutions.

Residual branches start at zero, until they are trained; conv_in, the three upsamplers, the shortcuts and conv_out
are fitted one after the other so that the whole is the best linear decoder these convolutions can be. Constant
channels keep GroupNorm from rescaling. `train` continues from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from framepack.training.vae.encoder import GROUPS, principal_directions, set_constants, space_to_depth

CONSTANT = 4.0
RANDOM_SHARE = 0.1
"""of the random weights that stays in channels the fit does not use, so that training can use them"""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How the least squares are sampled and damped."""

    rows: int = 120_000
    ridge: float = 1e-5
    first_ridge: float = 1e-3
    """of the first upsampler, which sees latents and would otherwise memorise the clips"""


def channels_of(width: int, count: int) -> list[int]:
    """`count` channels spread over the norm groups; the last two of each group are constants."""
    group = width // GROUPS
    if count > width - 2 * GROUPS:
        raise ValueError(f"{count} fitted channels need a block of {count + 2 * GROUPS} or more, got {width}")
    return [group * (i % GROUPS) + i // GROUPS for i in range(count)]


@torch.no_grad()
def fit_decoder(vae: AutoencoderKLHunyuanVideo, clips: Tensor, latents: Tensor, fit: Fit | None = None) -> float:
    """Write the linear decoder into `vae`; returns its PSNR on the clips in dB.

    clips: (N, 3, 1 + 4k, H, W) in -1..1. latents: (N, C, 1 + k, H / 8, W / 8) as the encoder returns them, unscaled.
    """
    fit = fit or Fit()
    decoder: Any = vae.decoder
    config: Any = vae.config
    narrow, low, middle, wide = config.block_out_channels
    _reset(vae)
    state, channels = _blurred(decoder, latents, wide, config.latent_channels)
    target = space_to_depth(clips, 4, 4)
    basis = _basis(target, min(middle - 2 * GROUPS, target.shape[1]))
    target = torch.einsum("ncthw,cm->nmthw", target, basis)
    state = _upsample(decoder.up_blocks[0], state, channels, target, (1, 2, 2), fit, fit.first_ridge)
    channels = _shortcut(decoder.up_blocks[1], channels_of(wide, target.shape[1]), middle)
    target = space_to_depth(clips, 2, 2)
    target = torch.einsum("ncthw,cm->nmthw", target, _basis(target, min(24, low - 2 * GROUPS)))
    state = _upsample(decoder.up_blocks[1], state, channels, target, (2, 2, 2), fit, fit.ridge)
    channels = _shortcut(decoder.up_blocks[2], channels_of(middle, target.shape[1]), low)
    state = _upsample(decoder.up_blocks[2], state, channels, clips, (2, 2, 2), fit, fit.ridge)
    state = _read_out(decoder, state, channels_of(low, 3), clips, narrow, fit)
    return float(-10 * torch.log10((state - clips).square().mean() / 4))


def _reset(vae: AutoencoderKLHunyuanVideo) -> None:
    for name, parameter in vae.decoder.named_parameters():
        if ".conv2." in name:
            parameter.zero_()
    identity: Any = vae.post_quant_conv
    identity.weight.zero_()
    identity.bias.zero_()
    for channel in range(identity.out_channels):
        identity.weight[channel, channel] = 1


def _set_kernel(conv: Any, kernel: Tensor, outputs: Sequence[int], inputs: Sequence[int]) -> None:
    conv.weight.mul_(RANDOM_SHARE)
    conv.bias.zero_()
    conv.weight[outputs] = 0
    for output, row in zip(outputs, kernel, strict=True):
        conv.weight[output, inputs] = row
    group = conv.weight.shape[0] // GROUPS
    for channel in (group - 1, group - 2):
        conv.weight[channel::group] = 0
    set_constants(conv.bias, CONSTANT)


def _blurred(decoder: Any, latents: Tensor, width: int, count: int) -> tuple[Tensor, list[int]]:
    """conv_in passes the latents and box blurs of the strongest."""
    blurs = min(count, width - 2 * GROUPS - count)
    kernel = torch.zeros(count + blurs, count, 3, 3, 3)
    kernel[range(count), range(count), 2, 1, 1] = 1
    kernel[range(count, count + blurs), range(blurs), 2] = 1 / 9
    channels = channels_of(width, count + blurs)
    _set_kernel(decoder.conv_in.conv, kernel, channels, list(range(count)))
    return _convolve(latents, kernel), channels


def _upsample(
    block: Any,
    state: Tensor,
    channels: list[int],
    target: Tensor,
    factors: tuple[int, int, int],
    fit: Fit,
    ridge: float,
) -> Tensor:
    """Fit a block's upsampler to predict `target` from `state`."""
    state = _enlarge(state, factors)
    kernel = _least_squares(state, target, fit.rows, ridge)
    conv = block.upsamplers[0].conv.conv
    _set_kernel(conv, kernel, channels_of(conv.out_channels, target.shape[1]), channels)
    return _convolve(state, kernel)


def _shortcut(block: Any, channels: list[int], width: int) -> list[int]:
    """Pass channels through the first residual block's shortcut, if it has one; returns where they are then."""
    shortcut = block.resnets[0].conv_shortcut
    if shortcut is None:
        return channels
    moved = channels_of(width, len(channels))
    kernel = torch.eye(len(channels))[:, :, None, None, None]
    _set_kernel(shortcut.conv, kernel, moved, channels)
    return moved


def _read_out(decoder: Any, state: Tensor, channels: list[int], clips: Tensor, width: int, fit: Fit) -> Tensor:
    """The last block carries +-RGB past SiLU; conv_out sharpens it with a 3x3x3 filter."""
    shortcut, group = decoder.up_blocks[3].resnets[0].conv_shortcut, width // GROUPS
    plus, minus = [group * k for k in range(3)], [group * k + 1 for k in range(3)]
    eye = torch.eye(3)[:, :, None, None, None]
    _set_kernel(shortcut.conv, torch.cat([eye, -eye]), plus + minus, channels)
    kernel = _least_squares(state, clips, fit.rows, fit.ridge)
    decoder.conv_norm_out.weight.fill_(CONSTANT * (2 / group) ** 0.5)
    decoder.conv_norm_out.bias.zero_()
    decoder.conv_out.conv.weight.zero_()
    decoder.conv_out.conv.bias.zero_()
    decoder.conv_out.conv.weight[:, plus] = kernel
    decoder.conv_out.conv.weight[:, minus] = -kernel
    return _convolve(state, kernel)


def _pad(state: Tensor) -> Tensor:
    """As the class pads a causal convolution."""
    return functional.pad(state, (1, 1, 1, 1, 2, 0), mode="replicate")


def _convolve(state: Tensor, kernel: Tensor) -> Tensor:
    return torch.cat([functional.conv3d(_pad(part), kernel) for part in state.split(8)])


def _enlarge(state: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Nearest upsampling as the class does it: the first frame stays one frame."""
    first = functional.interpolate(state[:, :, 0], scale_factor=factors[1:], mode="nearest")[:, :, None]
    if state.shape[2] == 1:
        return first
    rest = functional.interpolate(state[:, :, 1:].contiguous(), scale_factor=factors, mode="nearest")
    return torch.cat([first, rest], dim=2)


def _basis(blocks: Tensor, count: int) -> Tensor:
    """The strongest directions of blocks (N, C, T, H, W), (C, count)."""
    return principal_directions(rearrange(blocks, "n c t h w -> (n t h w) c"), count, 200_000).float()


def _least_squares(state: Tensor, target: Tensor, rows: int, ridge: float) -> Tensor:
    """The 3x3x3 kernel (C_out, C_in, 3, 3, 3) that best predicts target from state, at random positions."""
    padded = _pad(state).permute(0, 2, 3, 4, 1)
    count, _, frames, height, width = state.shape
    chosen = torch.randperm(count * frames * height * width, generator=torch.Generator().manual_seed(1))[:rows]
    x, y = chosen % width, chosen // width % height
    t, n = chosen // (width * height) % frames, chosen // (width * height * frames)
    taps = [padded[n, t + f, y + v, x + h] for f in range(3) for v in range(3) for h in range(3)]
    samples = torch.stack(taps, dim=2).flatten(1)
    targets = target.permute(0, 2, 3, 4, 1)[n, t, y, x]
    gram = samples.T @ samples
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram))
    kernel = torch.linalg.solve(gram.double(), (samples.T @ targets).double()).float()
    return kernel.T.reshape(-1, state.shape[1], 3, 3, 3)
