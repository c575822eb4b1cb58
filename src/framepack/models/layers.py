"""Small layers that the blocks and the refiner share.

Boundary: one tensor in, one out; knows nothing of sections, steps or checkpoints, except that attribute names are the
checkpoint's parameter names. Shapes: B batch, L tokens, D width, K modulation vectors.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framepack.models.linear import Linear

Activated = Callable[[nn.Module, Tensor], Tensor]
"""A linear, then an activation: of layer and input."""

FREQUENCIES = 256
"""Channels of the sinusoidal embedding of timestep and guidance."""


class Modulation(nn.Module):
    """AdaLN's linear: from the conditioning vector to the vectors that shift, scale and gate the tokens.

    Its output depends on timestep, guidance and prompt alone, so it is computed once a job, never in a block's forward.
    """

    def __init__(self, width: int, vectors: Literal[2, 3, 6], scales: tuple[int, ...]) -> None:
        super().__init__()
        self.linear = nn.Linear(width, vectors * width)
        self.vectors = vectors
        self.scales = scales

    def forward(self, conditioning: Tensor) -> Tensor:
        """(..., D) to (..., K, D); each scale has its 1 already added."""
        vectors = list(self.linear(F.silu(conditioning)).chunk(self.vectors, dim=-1))
        for index in self.scales:
            vectors[index] = vectors[index] + 1
        return torch.stack(vectors, dim=-2)


def modulated_norm(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights, then scale and shift: (B, L, D) with (B, D) each.

    For one sample scale and shift are the norm's weight and bias, so all of it is one kernel.
    """
    shape = tokens.shape[-1:]
    if len(tokens) == 1:
        return F.layer_norm(tokens, shape, scale[0], shift[0], eps=1e-6)
    return torch.addcmul(shift.unsqueeze(1), F.layer_norm(tokens, shape, eps=1e-6), scale.unsqueeze(1))


def gated_add(tokens: Tensor, gate: Tensor, update: Tensor) -> Tensor:
    """`tokens + gate * update`: (B, L, D), gate (B, D)."""
    return torch.addcmul(tokens, update, gate.unsqueeze(1))


class Projection(nn.Module):
    """Holds a linear under the checkpoint's name for it, `proj`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = Linear(inputs, outputs)


class FeedForward(nn.Module):
    """Widen, activate, narrow. Parameters `net.0.proj` and `net.2`."""

    def __init__(self, width: int, ratio: float, activated: Activated) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.net = nn.ModuleList([Projection(width, hidden), nn.Identity(), Linear(hidden, width)])
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.activated(self.net[0].proj, x))  # pyright: ignore[reportArgumentType]


def chunked(function: Callable[..., Tensor], chunk_size: int | None, *tensors: Tensor) -> Tensor:
    """Apply a token-wise function to `chunk_size` tokens at a time: several (B or 1, L, ...) to one (B, L, ...).

    Equal to one call but for rounding (matrix products of other sizes may sum in another order).
    """
    if chunk_size is None or tensors[0].shape[1] <= chunk_size:
        return function(*tensors)
    chunks = list(zip(*(tensor.split(chunk_size, dim=1) for tensor in tensors), strict=True))
    made, alike = [], max(len(chunks) - 2, 0) if tensors[0].is_meta else 0
    if alike:  # an estimate: chunks of one size are alike, so only the last two are made
        first = function(*chunks[0])
        made = [torch.empty_like(first) for _ in range(alike)]
        del first
    made += [function(*chunk) for chunk in chunks[alike:]]
    return torch.cat(made, dim=1)


class EmbeddingMLP(nn.Module):
    """Linear, SiLU, linear: for timestep, guidance and pooled text."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear_1 = Linear(inputs, width)
        self.linear_2 = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class ImageProjection(nn.Module):
    """SigLIP features to tokens: (B, N, I) to (B, N, D) through three times the width."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.up = Linear(inputs, 3 * width)
        self.down = Linear(3 * width, width)

    def forward(self, image: Tensor) -> Tensor:
        return self.down(F.silu(self.up(image)))


def sinusoids(values: Tensor) -> Tensor:
    """Cosines, then sines, of each value at geometric frequencies: (N,) to (N, 256), float32 (DDPM, cos first)."""
    half = FREQUENCIES // 2
    exponents = torch.arange(half, dtype=torch.float32, device=values.device) * (-math.log(10000) / half)
    angles = values.float().unsqueeze(-1) * exponents.exp()
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def silu_linear(layer: nn.Module, x: Tensor) -> Tensor:
    """SiLU of `layer(x)`."""
    return F.silu(layer(x))
