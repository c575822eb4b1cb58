"""The mini VAE's encoder over blocks of four frames, each of which it encodes by itself: how training reads clips.

`vae.encoder` lays the weights out so that no frame outside a block is read. Here they run as 2D convolutions, several
times as fast as the real class, and any four frames are encoded without those before them.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional


class BlockEncoder:
    """The encoder of a VAE that `fit_encoder` laid out: a frozen copy, or one that is trained with it."""

    def __init__(self, vae: AutoencoderKLHunyuanVideo, *, learns: bool = False) -> None:
        """learns: read the weights of `vae` itself, with gradients; else of a copy, which further training leaves."""
        config: Any = vae.config
        self.scaling_factor: float = config.scaling_factor
        self._learns, self._vae = learns, vae if learns else deepcopy(vae).requires_grad_(False)

    def to(self, device: torch.device) -> "BlockEncoder":
        """Move the copy there, in place."""
        nn.Module.to(self._vae, device)
        return self

    def __call__(self, frames: Tensor) -> Tensor:
        """(B, 3, 4 * T, H, W) in -1..1 -> scaled latents (B, channels, T, H / 8, W / 8), float32.

        Gradients reach the weights of one that learns.
        """
        at_once = 1 if frames.device.type == "cpu" else len(frames)  # each layer then finds its input in the cache
        with torch.set_grad_enabled(self._learns and torch.is_grad_enabled()):
            layers = _read(self._vae)
            with torch.autocast(frames.device.type, torch.bfloat16):
                latents = [layers(clips) for clips in frames.split(at_once)]
            return torch.cat(latents).float() * self.scaling_factor

    def image(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, channels, 1, H / 8, W / 8): the latent of a picture encoded alone."""
        return self(image[:, :, None].expand(-1, -1, 4, -1, -1))

    def clip(self, frames: Tensor) -> Tensor:
        """(B, 3, 1 + 4k, H, W) -> (B, channels, 1 + k, H / 8, W / 8), as the real class encodes it."""
        return self(torch.cat([frames[:, :, :1].expand(-1, -1, 3, -1, -1), frames], dim=2))


@dataclass(frozen=True)
class _Convolution:
    """Over single frames of latent resolution, edges repeated."""

    weight: Tensor
    bias: Tensor

    def __call__(self, state: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(state, (1, 1, 1, 1), mode="replicate"), self.weight, self.bias)


@dataclass(frozen=True)
class _Stage:
    """A downsampler: halves height and width, and joins `frames` frames."""

    frames: int
    convolution: _Convolution
    """Weight (O, frames * I, 3, 3)."""

    def __call__(self, state: Tensor) -> Tensor:
        """(T, I, H, W) -> (T / frames, O, H / 2, W / 2)."""
        state = rearrange(state, "(t f) c h w -> t (f c) h w", f=self.frames)
        state = torch.cat([state[:, :, :1], state], dim=2)  # the last row and column end a step of two
        state = torch.cat([state[..., :1], state], dim=3)
        return functional.conv2d(state, self.convolution.weight, self.convolution.bias, stride=2)


@dataclass(frozen=True)
class _Normed:
    """A norm over groups of channels of single frames, SiLU, and a convolution."""

    groups: int
    epsilon: float
    scale: Tensor
    shift: Tensor
    convolution: _Convolution

    def __call__(self, state: Tensor) -> Tensor:
        normed = functional.group_norm(state, self.groups, self.scale, self.shift, self.epsilon)
        return self.convolution(functional.silu(normed))


@dataclass(frozen=True)
class _Layers:
    """All of the encoder but the residual branches above latent resolution, which are zero."""

    stages: tuple[_Stage, ...]
    residuals: tuple[tuple[_Normed, _Normed], ...]
    out: _Normed

    def __call__(self, clips: Tensor) -> Tensor:
        """(B, 3, 4 * T, H, W) -> unscaled latents (B, channels, T, H / 8, W / 8)."""
        state = rearrange(clips, "b c t h w -> (b t) c h w").bfloat16()
        for stage in self.stages:
            state = stage(state)
        for first, second in self.residuals:
            state = state + second(first(state))
        return rearrange(self.out(state), "(b t) c h w -> b c t h w", b=len(clips))


def _read(vae: AutoencoderKLHunyuanVideo) -> _Layers:
    """The layers, as functions of the VAE's own parameters."""
    encoder: Any = vae.encoder
    config: Any = vae.config
    quant: Any = vae.quant_conv
    mean = quant.weight[: config.latent_channels, :, 0, 0, 0]
    out = _Convolution(
        torch.einsum("lm,mcyx->lcyx", mean, encoder.conv_out.conv.weight[:, :, -1]),
        mean @ encoder.conv_out.conv.bias + quant.bias[: config.latent_channels],
    )
    return _Layers(
        stages=tuple(_stages(encoder)),
        residuals=tuple(
            (_normed(block.norm1, block.conv1), _normed(block.norm2, block.conv2))
            for block in (*encoder.down_blocks[-1].resnets, *encoder.mid_block.resnets)
        ),
        out=_after(encoder.conv_norm_out, out),
    )


def _stages(encoder: Any) -> list[_Stage]:
    """The way from pixels to latent resolution without the residual branches. Channels always zero are left out."""
    stages = []
    before = encoder.conv_in.conv.weight[:, :, -1, 1, 1]  # from pixels to the channels of the last state
    for level, block in enumerate(encoder.down_blocks[:-1]):
        conv = block.downsamplers[0].conv.conv
        weight = torch.einsum("octyx,ci->oityx", conv.weight[:, :, -conv.stride[0] :], before)
        used = (weight.flatten(1).abs().amax(1) + conv.bias.abs() > 0) | (level == len(encoder.down_blocks) - 2)
        joined = weight[used].transpose(1, 2).flatten(1, 2)
        stages.append(_Stage(conv.stride[0], _Convolution(joined, conv.bias[used])))
        shortcut = encoder.down_blocks[level + 1].resnets[0].conv_shortcut
        before = torch.eye(len(used), device=used.device) if shortcut is None else shortcut.conv.weight[:, :, 0, 0, 0]
        before = before[:, used]
    return stages


def _normed(norm: Any, conv: Any) -> _Normed:
    """A causal convolution that knows single frames only: its last tap in time."""
    return _after(norm, _Convolution(conv.conv.weight[:, :, -1], conv.conv.bias))


def _after(norm: Any, convolution: _Convolution) -> _Normed:
    return _Normed(norm.num_groups, norm.eps, norm.weight, norm.bias, convolution)
