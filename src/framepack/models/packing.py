"""The packed context: known latents become few tokens, each with its place in time and space.

Boundary: latents and frame indices in, tokens and RoPE out, once a section; which latents and which indices is the
plan's business. Source: FramePack (arXiv 2504.12626), section 3. Shapes: B batch, C latent channels, T frames, h x w
latent pixels, L tokens, D width, E channels of a head.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from framepack.models.config import TransformerConfig

Kernel = tuple[int, int, int]
SCALES = (1, 2, 4)


def kernel_of(config: TransformerConfig, scale: int = 1) -> Kernel:
    """Latents that one token covers, (frames, rows, columns), at a scale of the context's."""
    return scale * config.patch_size_t, scale * config.patch_size, scale * config.patch_size


@dataclass(frozen=True, kw_only=True)
class ContextLatents:
    """Known latents that the noisy window may look at."""

    latents: Tensor
    """(B, C, t, h, w)"""
    at: Sequence[float]
    """Frame index of each of the t latents, for RoPE. Text is not turned: the origin matters, not distances alone."""
    scale: Literal[1, 2, 4]
    """1: full detail; 2 and 4: that many latents a side become one."""
    weight: float = 1.0
    """How strongly these latents are looked at, 0 < weight <= 1: their share in each softmax is scaled by it."""
    key_scale: float = 1.0
    """Their keys are multiplied by it after norm and RoPE: above 1 a query that matches them holds to them more."""

    def __post_init__(self) -> None:
        """Raise ValueError for a wrong scale, weight or number of indices."""
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}, got {self.scale}")
        if not 0 < self.weight <= 1:
            raise ValueError(f"weight must be above 0 and at most 1, got {self.weight}: leave the latents out for 0")
        if self.key_scale <= 0:
            raise ValueError(f"key_scale must be above 0, got {self.key_scale}")
        if self.latents.ndim != 5 or self.latents.shape[2] != len(self.at):
            raise ValueError(
                f"latents must be (B, C, t, h, w) with one index for each of the t frames, "
                f"got {tuple(self.latents.shape)} and {len(self.at)} indices"
            )


@dataclass(frozen=True, kw_only=True)
class PackedTokens:
    """What stays the same over a section's steps. Token order [4x, 2x, 1x, noisy]."""

    context: Tensor
    """(B, L_context, D): embedded context tokens."""
    rope: Tensor
    """(L_context + L_noisy, 1, E / 2) complex64: cosine + i sine."""
    key_bias: Tensor | None
    """(L_context + L_noisy,) float32, log of each token's weight; None where all weights are 1."""
    key_scale: Tensor | None
    """(L_context + L_noisy,) float32, what each token's keys are multiplied by; None where that is 1 everywhere."""
    shape: tuple[int, int, int]
    """Latent frames, rows and columns of the noisy window."""


def pad_to_multiple(x: Tensor, kernel: Kernel) -> Tensor:
    """Repeat the last frame, row and column until the kernel divides the sizes: (B, C, T, h, w)."""
    sizes = zip(x.shape[-3:], kernel, strict=True)
    right = [amount for size, step in reversed(list(sizes)) for amount in (0, -size % step)]
    return F.pad(x, right, mode="replicate") if any(right) else x


def rotary(config: TransformerConfig, at: Sequence[float], rows: int, columns: int, device: torch.device) -> Tensor:
    """RoPE of a grid of tokens: complex64 (E / 2, len(at), rows, columns), cosine + i sine of each channel pair."""
    axes = [torch.tensor(list(at), dtype=torch.float32, device=device)]
    axes += [torch.arange(size, dtype=torch.float32, device=device) for size in (rows, columns)]
    angles = []
    for grid, channels in zip(torch.meshgrid(*axes, indexing="ij"), config.rope_axes_dim, strict=True):
        exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=device) / channels
        angles.append(torch.einsum("thw,e->ethw", grid, 1.0 / config.rope_theta**exponents))
    angle = torch.cat(angles)
    return torch.complex(angle.cos(), angle.sin())


def coarse(rope: Tensor, scale: int) -> Tensor:
    """RoPE of tokens that cover `scale` frames, rows and columns: the mean over what they cover."""
    if scale == 1:
        return rope
    kernel = (scale, scale, scale)
    real, imaginary = (F.avg_pool3d(pad_to_multiple(x[None], kernel), kernel)[0] for x in (rope.real, rope.imag))
    return torch.complex(real, imaginary)


def tokens_first(rope: Tensor) -> Tensor:
    """(E / 2, T, h, w) to (L, 1, E / 2)."""
    return rearrange(rope, "e t h w -> (t h w) 1 e")


class PatchEmbed(nn.Module):
    """Noisy latents to tokens: (B, C, T, h, w) to (B, T h/p w/p, D), p the patch."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv3d(config.in_channels, config.width, kernel_of(config), kernel_of(config))

    def forward(self, latents: Tensor) -> Tensor:
        return rearrange(self.proj(latents), "b d t h w -> b (t h w) d")


class ContextEmbed(nn.Module):
    """Context latents to tokens, one convolution for each scale."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        kernels = [kernel_of(config, scale) for scale in SCALES]
        self.proj, self.proj_2x, self.proj_4x = (
            nn.Conv3d(config.in_channels, config.width, kernel, kernel) for kernel in kernels
        )

    def forward(self, latents: Tensor, scale: int) -> Tensor:
        """(B, C, t, h, w), padded to a multiple of the kernel, to (B, L, D)."""
        convolution = {1: self.proj, 2: self.proj_2x, 4: self.proj_4x}[scale]
        kernel: Any = convolution.stride
        return rearrange(convolution(pad_to_multiple(latents, kernel)), "b d t h w -> b (t h w) d")


def by_token(
    spans: Sequence[ContextLatents], value: Callable[[ContextLatents], float], rows: int, columns: int
) -> Tensor:
    """A number of each span as one of each token of one scale's spans: (L,) float32, frames averaged as RoPE is."""
    scale = spans[0].scale
    frames = torch.tensor([value(span) for span in spans for _ in span.at])
    frames = pad_to_multiple(frames.view(1, 1, -1, 1, 1), (scale, 1, 1))
    frames = F.avg_pool3d(frames, (scale, 1, 1)).flatten()
    return frames.repeat_interleave(math.ceil(rows / scale) * math.ceil(columns / scale))


def check_shapes(
    context: Sequence[ContextLatents], noisy_at: Sequence[float], shape: tuple[int, int, int], patch: int
) -> None:
    """Raise ValueError where context and noisy window do not fit together."""
    frames, height, width = shape
    if len(noisy_at) != frames:
        raise ValueError(f"noisy_at must have one index for each of the {frames} frames, got {len(noisy_at)}")
    if height % patch or width % patch:
        raise ValueError(f"latent height and width must be multiples of {patch}, got {height}x{width}")
    for span in context:
        if span.latents.shape[-2:] != (height, width):
            got = "x".join(map(str, span.latents.shape[-2:]))
            raise ValueError(f"context latents must be {height}x{width} like the noisy window, got {got}")


def pack_context(
    config: TransformerConfig,
    embed: ContextEmbed,
    context: Sequence[ContextLatents],
    noisy_at: Sequence[float],
    shape: tuple[int, int, int],
) -> PackedTokens:
    """Embed the context, coarse to fine, and place it and the noisy window. See `PackedTokens`."""
    patch = config.patch_size
    check_shapes(context, noisy_at, shape, patch)
    rows, columns = shape[1] // patch, shape[2] // patch
    weight = embed.proj.weight
    tokens, ropes, biases, scales = [], [], [], []
    for scale in sorted(SCALES, reverse=True):
        if not (spans := [span for span in context if span.scale == scale]):
            continue
        latents = torch.cat([span.latents.to(weight.device, weight.dtype) for span in spans], dim=2)
        at = [index for span in spans for index in span.at]
        tokens.append(embed(latents, scale))
        ropes.append(tokens_first(coarse(rotary(config, at, rows, columns, weight.device), scale)))
        biases.append(by_token(spans, lambda span: math.log(span.weight), rows, columns))
        scales.append(by_token(spans, lambda span: span.key_scale, rows, columns))
    ropes.append(tokens_first(rotary(config, noisy_at, rows, columns, weight.device)))
    biases.append(torch.zeros(len(ropes[-1])))
    scales.append(torch.ones(len(ropes[-1])))
    weighted = any(span.weight != 1 for span in context)
    scaled = any(span.key_scale != 1 for span in context)
    return PackedTokens(
        context=torch.cat(tokens, dim=1) if tokens else weight.new_empty(1, 0, config.width),
        rope=torch.cat(ropes).contiguous(),
        key_bias=torch.cat(biases).to(weight.device) if weighted else None,
        key_scale=torch.cat(scales).to(weight.device) if scaled else None,
        shape=shape,
    )
