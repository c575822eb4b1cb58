"""The two kinds of transformer block over the joint sequence [video, image and text].

Boundary: a block turns tokens into tokens. Modulation, RoPE and the way to compute come as arguments; a block reads no
weight but its own and never its AdaLN linear, whose output `condition` computes once a job. Attribute names are the
checkpoint's parameter names. Shapes: B batch, L tokens, D width, K modulation vectors, V video tokens.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from framepack.models.attention import Attention, RMSNorm, automatic, rotary_heads, split_heads
from framepack.models.config import TransformerConfig
from framepack.models.layers import FeedForward, Modulation, chunked, gated_add, modulated_norm
from framepack.models.linear import Linear, gelu_linear
from framepack.models.nag import NagLayout


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a forward is computed; changes memory and speed, not the result (but for rounding)."""

    attention: Attention = automatic
    chunk_size: int | None = None
    """Tokens at a time where intermediates are several times the tokens (MLPs, norms, RoPE); None takes all at once."""
    checkpointing: bool = False
    """Recompute each block in the backward pass instead of keeping its activations (training)."""


PLAIN = Execution()


@dataclass(frozen=True, kw_only=True)
class Joint:
    """What every block of one forward shares."""

    rope: Tensor
    """(1, L, 1, E / 2) complex; 1 for image and text, which are not rotated."""
    key_rope: Tensor
    """The same for keys, which may be scaled as well; else it is `rope` itself."""
    video: int
    """V: the first V tokens are the video's, context and noisy; with `nag` those after the negative prompt's."""
    bias: Tensor | None
    """(B or 1, 1, 1, L): added to the logits of each key (float), or which keys exist (bool)."""
    execution: Execution
    nag: NagLayout | None = None
    """Where a negative prompt's tokens lie as well, from which attention leads away."""

    @property
    def negative(self) -> int:
        """M: the tokens before the video's."""
        return self.nag.negative if self.nag else 0

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Video, and what is beside it: negative text, then image and text. (B, L, D) to (B, V, D), (B, L - V, D)."""
        before, video, after = tokens.tensor_split([self.negative, self.negative + self.video], dim=1)
        return video, torch.cat([before, after], dim=1) if self.nag else after

    def join(self, video: Tensor, text: Tensor) -> Tensor:
        """The inverse of `split`."""
        before, after = text.tensor_split([self.negative], dim=1)
        return torch.cat([before, video, after], dim=1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, L, H, E) each to (B, L, D)."""
        attention = self.execution.attention
        if self.nag is None:
            return attention(query, key, value, self.bias).flatten(2)
        return self.nag.attend(query, key, value, self.bias, attention, self.execution.chunk_size).flatten(2)


class JointAttentionWeights(nn.Module):
    """Parameters of a double block's attention: `to_*` for video, `add_*` for image and text."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, head = config.width, config.attention_head_dim
        self.heads = config.num_attention_heads
        self.to_q, self.to_k, self.to_v = (Linear(width, width) for _ in range(3))
        self.add_q_proj, self.add_k_proj, self.add_v_proj = (Linear(width, width) for _ in range(3))
        self.norm_q, self.norm_k = RMSNorm(head), RMSNorm(head)
        self.norm_added_q, self.norm_added_k = RMSNorm(head), RMSNorm(head)
        self.to_out = nn.ModuleList([Linear(width, width)])
        self.to_add_out = Linear(width, width)

    def forward(self, video: Tensor, text: Tensor, joint: Joint) -> tuple[Tensor, Tensor]:
        """Mix both streams: (B, V, D) and (B, L - V, D), normed and modulated, to the same shapes."""
        video_rope, text_rope = joint.split(joint.rope)
        heads, chunk_size = self.heads, joint.execution.chunk_size
        rotated = partial(rotary_heads, heads=heads, chunk_size=chunk_size)
        query = joint.join(
            rotated(video, self.to_q, self.norm_q, video_rope),
            rotated(text, self.add_q_proj, self.norm_added_q, text_rope),
        )
        key = joint.join(
            rotated(video, self.to_k, self.norm_k, joint.split(joint.key_rope)[0]),
            rotated(text, self.add_k_proj, self.norm_added_k, text_rope),
        )
        value = joint.join(split_heads(self.to_v(video), heads), split_heads(self.add_v_proj(text), heads))
        mixed, mixed_text = joint.split(joint.attend(query, key, value))
        return self.to_out[0](mixed), self.to_add_out(mixed_text)


class DoubleBlock(nn.Module):
    """Video and text attend to each other with weights of their own, then an MLP each (MMDiT)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm1 = Modulation(config.width, 6, scales=(1, 4))
        self.norm1_context = Modulation(config.width, 6, scales=(1, 4))
        self.attn = JointAttentionWeights(config)
        self.ff = FeedForward(config.width, config.mlp_ratio, gelu_linear)
        self.ff_context = FeedForward(config.width, config.mlp_ratio, gelu_linear)

    @property
    def modulations(self) -> tuple[Modulation, ...]:
        """The AdaLN modules whose outputs, one after the other, are this block's K vectors.

        K = 12: shift, scale, gate for attention and for the MLP, of the video, then of image and text.
        """
        return self.norm1, self.norm1_context

    def forward(self, tokens: Tensor, modulation: Tensor, joint: Joint) -> Tensor:
        """(B, L, D) and (B, 12, D) to (B, L, D)."""
        video, text = joint.split(tokens)
        shift, scale, gate, *video_mlp = modulation[:, :6].unbind(dim=1)
        text_shift, text_scale, text_gate, *text_mlp = modulation[:, 6:].unbind(dim=1)
        mixed, mixed_text = self.attn(
            modulated_norm(video, shift, scale), modulated_norm(text, text_shift, text_scale), joint
        )
        video = self._mlp(self.ff, gated_add(video, gate, mixed), video_mlp, joint)
        text = self._mlp(self.ff_context, gated_add(text, text_gate, mixed_text), text_mlp, joint)
        return joint.join(video, text)

    def _mlp(self, mlp: FeedForward, tokens: Tensor, modulation: list[Tensor], joint: Joint) -> Tensor:
        shift, scale, gate = modulation
        return chunked(
            lambda part: gated_add(part, gate, mlp(modulated_norm(part, shift, scale))),
            joint.execution.chunk_size,
            tokens,
        )


class AttentionWeights(nn.Module):
    """Parameters of a single block's attention, which has no output projection of its own."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, head = config.width, config.attention_head_dim
        self.heads = config.num_attention_heads
        self.to_q, self.to_k, self.to_v = (Linear(width, width) for _ in range(3))
        self.norm_q, self.norm_k = RMSNorm(head), RMSNorm(head)

    def forward(self, tokens: Tensor, joint: Joint) -> Tensor:
        """Mix normed and modulated tokens: (B, L, D) to (B, L, D)."""
        heads, chunk_size = self.heads, joint.execution.chunk_size
        query = rotary_heads(tokens, self.to_q, self.norm_q, joint.rope, heads, chunk_size)
        key = rotary_heads(tokens, self.to_k, self.norm_k, joint.key_rope, heads, chunk_size)
        value = split_heads(self.to_v(tokens), heads)
        return joint.attend(query, key, value)


class SingleBlock(nn.Module):
    """One set of weights for all tokens, attention and MLP side by side."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        hidden = int(config.width * config.mlp_ratio)
        self.norm = Modulation(config.width, 3, scales=(1,))
        self.attn = AttentionWeights(config)
        self.proj_mlp = Linear(config.width, hidden)
        self.proj_out = Linear(config.width + hidden, config.width)

    @property
    def modulations(self) -> tuple[Modulation, ...]:
        """The AdaLN module whose output is this block's K = 3 vectors: shift, scale, gate."""
        return (self.norm,)

    def forward(self, tokens: Tensor, modulation: Tensor, joint: Joint) -> Tensor:
        """(B, L, D) and (B, 3, D) to (B, L, D)."""
        shift, scale, gate = modulation.unbind(dim=1)
        normed = modulated_norm(tokens, shift, scale)
        mixed = self.attn(normed, joint)
        return chunked(partial(self._out, gate), joint.execution.chunk_size, tokens, normed, mixed)

    def _out(self, gate: Tensor, tokens: Tensor, normed: Tensor, mixed: Tensor) -> Tensor:
        hidden = gelu_linear(self.proj_mlp, normed)
        return gated_add(tokens, gate, self.proj_out(torch.cat([mixed, hidden], dim=-1)))
