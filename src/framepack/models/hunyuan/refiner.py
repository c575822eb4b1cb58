"""Text refinement: a small transformer over the prompt's tokens that also sees the timestep.

Boundary: runs in `condition`, once a job; no block reads its weights. Shapes: N samples (steps times batch), L text
tokens, D width, P text channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from framepack.models.attention import sdpa, split_heads
from framepack.models.config import TransformerConfig
from framepack.models.layers import FREQUENCIES, EmbeddingMLP, FeedForward, gated_add, silu_linear
from framepack.models.linear import Linear


class RefinerAttention(nn.Module):
    """Self-attention without RoPE or norms."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([Linear(width, width)])

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (split_heads(linear(tokens), self.heads) for linear in (self.to_q, self.to_k, self.to_v))
        return self.to_out[0](sdpa(query, key, value, mask).flatten(2))


class RefinerGates(nn.Module):
    """The two gates of a refiner block, from its conditioning vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = Linear(width, 2 * width)

    def forward(self, conditioning: Tensor) -> tuple[Tensor, ...]:
        return self.linear(F.silu(conditioning)).chunk(2, dim=-1)


class RefinerBlock(nn.Module):
    """Attention and MLP over the text, each gated by timestep and mean text."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = RefinerAttention(width, config.num_attention_heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.ff = FeedForward(width, ratio=4.0, activated=silu_linear)
        self.norm_out = RefinerGates(width)

    def forward(self, tokens: Tensor, conditioning: Tensor, mask: Tensor | None) -> Tensor:
        """(N, L, D), (N, D) and which keys exist, (N, 1, 1, L), to (N, L, D)."""
        gate_attention, gate_mlp = self.norm_out(conditioning)
        tokens = gated_add(tokens, gate_attention, self.attn(self.norm1(tokens), mask))
        return gated_add(tokens, gate_mlp, self.ff(self.norm2(tokens)))


class RefinerBlocks(nn.Module):
    """The refiner's blocks, one level deeper as the parameter names want it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.refiner_blocks = nn.ModuleList([RefinerBlock(config) for _ in range(config.num_refiner_layers)])

    def forward(self, tokens: Tensor, conditioning: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.refiner_blocks:
            tokens = block(tokens, conditioning, mask)
        return tokens


class TimeAndText(nn.Module):
    """Conditioning vector of the refiner: timestep plus the prompt's mean."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.timestep_embedder = EmbeddingMLP(FREQUENCIES, config.width)
        self.text_embedder = EmbeddingMLP(config.text_embed_dim, config.width)

    def forward(self, time: Tensor, mean_text: Tensor) -> Tensor:
        return self.timestep_embedder(time) + self.text_embedder(mean_text)


class TokenRefiner(nn.Module):
    """Text encoder's states to the transformer's text tokens."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.time_text_embed = TimeAndText(config)
        self.proj_in = Linear(config.text_embed_dim, config.width)
        self.token_refiner = RefinerBlocks(config)

    def forward(self, text: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """(N, L, P), sinusoids of the timestep (N, 256) and which tokens exist, (N, L) or None for all: (N, L, D)."""
        conditioning = self.time_text_embed(time, masked_mean(text, mask))
        keys = None if mask is None else mask[:, None, None, :]
        return self.token_refiner(self.proj_in(text), conditioning, keys)


def masked_mean(text: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens that exist: (N, L, P) to (N, P)."""
    if mask is None:
        return text.mean(dim=1)
    weights = mask.float().unsqueeze(-1)
    return (torch.sum(text * weights, dim=1) / weights.sum(dim=1)).to(text.dtype)
