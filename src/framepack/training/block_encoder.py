"""The mini VAE's encoder over blocks of four frames, each of which it encodes by itself: how training reads clips.

`training.vae_encoder` lays the weights out so that no frame outside a block is read. Here they run as 2D
convolutions, several times as fast as the real class, and any four frames are encoded without those before them.
"""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional


class BlockEncoder(nn.Module):
    """A frozen copy of the encoder of a VAE that `fit_encoder` laid out."""

    def __init__(self, vae: AutoencoderKLHunyuanVideo) -> None:
        """`vae` may be trained further, its free weights only; what is copied here does not follow."""
        super().__init__()
        encoder: Any = vae.encoder
        config: Any = vae.config
        quant: Any = vae.quant_conv
        self.scaling_factor: float = config.scaling_factor
        self.stages = nn.ModuleList(_stages(encoder))
        self.residuals = nn.ModuleList(
            _Residual(block) for block in (*encoder.down_blocks[-1].resnets, *encoder.mid_block.resnets)
        )
        self.norm = _norm(encoder.conv_norm_out)
        mean = quant.weight[: config.latent_channels, :, 0, 0, 0]
        self.out = _conv(
            torch.einsum("lm,mcyx->lcyx", mean, encoder.conv_out.conv.weight[:, :, -1]),
            mean @ encoder.conv_out.conv.bias + quant.bias[: config.latent_channels],
        )
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, 4 * T, H, W) in -1..1 -> scaled latents (B, channels, T, H / 8, W / 8), float32."""
        at_once = 1 if frames.device.type == "cpu" else len(frames)  # so that what is read next is still in its cache
        with torch.autocast(frames.device.type, torch.bfloat16):
            latents = [self._encode(clips) for clips in frames.split(at_once)]
        return torch.cat(latents).float() * self.scaling_factor

    def image(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, channels, 1, H / 8, W / 8): the latent of a picture encoded alone."""
        return self(image[:, :, None].expand(-1, -1, 4, -1, -1))

    def clip(self, frames: Tensor) -> Tensor:
        """(B, 3, 1 + 4k, H, W) -> (B, channels, 1 + k, H / 8, W / 8), as the real class encodes it."""
        return self(torch.cat([frames[:, :, :1].expand(-1, -1, 3, -1, -1), frames], dim=2))

    def _encode(self, clips: Tensor) -> Tensor:
        state = rearrange(clips, "b c t h w -> (b t) c h w").bfloat16()
        for stage in self.stages:
            state = stage(state)
        for residual in self.residuals:
            state = residual(state)
        return rearrange(self.out(functional.silu(self.norm(state))), "(b t) c h w -> b c t h w", b=len(clips))


class _Stage(nn.Module):
    """A downsampler: halves height and width, and joins `frames` frames."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Weight (O, I, frames, 3, 3)."""
        super().__init__()
        self.frames = weight.shape[2]
        self.register_buffer("weight", weight.detach().transpose(1, 2).flatten(1, 2))
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, state: Tensor) -> Tensor:
        """(T, I, H, W) -> (T / frames, O, H / 2, W / 2)."""
        state = rearrange(state, "(t f) c h w -> t (f c) h w", f=self.frames)
        state = torch.cat([state[:, :, :1], state], dim=2)  # the last row and column end a step of two
        return functional.conv2d(torch.cat([state[..., :1], state], dim=3), self.weight, self.bias, stride=2)


class _Residual(nn.Module):
    """A residual block of the real class, as it acts on single frames."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norms = nn.ModuleList((_norm(block.norm1), _norm(block.norm2)))
        self.convs = nn.ModuleList(
            _conv(part.conv.weight[:, :, -1], part.conv.bias) for part in (block.conv1, block.conv2)
        )

    def forward(self, state: Tensor) -> Tensor:
        """(T, C, H, W) to the same."""
        hidden = state
        for norm, conv in zip(self.norms, self.convs, strict=True):
            hidden = conv(functional.silu(norm(hidden)))
        return state + hidden


def _stages(encoder: Any) -> list[_Stage]:
    """The way from pixels to latent resolution without the residual branches, which are zero there.

    Channels that are always zero are left out.
    """
    stages = []
    before = encoder.conv_in.conv.weight[:, :, -1, 1, 1]  # what the channels of the last state are made of
    for level, block in enumerate(encoder.down_blocks[:-1]):
        conv = block.downsamplers[0].conv.conv
        weight = torch.einsum("octyx,ci->oityx", conv.weight[:, :, -conv.stride[0] :], before)
        used = (weight.flatten(1).abs().amax(1) + conv.bias.abs() > 0) | (level == len(encoder.down_blocks) - 2)
        stages.append(_Stage(weight[used], conv.bias[used]))
        shortcut = encoder.down_blocks[level + 1].resnets[0].conv_shortcut
        before = torch.eye(len(used), device=used.device) if shortcut is None else shortcut.conv.weight[:, :, 0, 0, 0]
        before = before[:, used]
    return stages


def _conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, padding_mode="replicate")
    conv.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return conv.to(weight.device)


def _norm(norm: nn.GroupNorm) -> nn.GroupNorm:
    copy = nn.GroupNorm(norm.num_groups, norm.num_channels, norm.eps)
    copy.load_state_dict({name: value.detach() for name, value in norm.state_dict().items()})
    return copy.to(norm.weight.device)
