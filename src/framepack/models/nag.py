"""Normalised attention guidance: a negative prompt inside the attention, without a second pass (arXiv 2505.21179).

The video's queries look at the positive prompt and, once more, at the negative one; the difference is extrapolated and
its size limited. Each prompt's own tokens go through the blocks, image tokens are shared. Boundary: queries, keys and
values in, mixed values out. Token order [negative text, video, image, positive text], so that each half is a slice.
Shapes: B batch, L tokens, M of the negative text, V of the video, H heads, E channels of a head, D = H E.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from framepack.models.attention import Attention
from framepack.models.layers import chunked


@dataclass(frozen=True, kw_only=True)
class Nag:
    """How strongly; at a scale of 1 nothing would change."""

    scale: float
    alpha: float = 0.5
    """Share of the guided values in the result, 0..1."""
    tau: float = 1.5
    """How many times as large as the unguided values the guided ones may be, by the sum over the channels."""
    end: float = 0.75
    """The noise level below which it rests."""

    def acts_at(self, sigma: float) -> bool:
        """Whether it does at that noise level; the first one, 1, may be rounded."""
        return sigma >= self.end - 1e-6

    def guided(self, positive: Tensor, negative: Tensor) -> Tensor:
        """(B, V, D) each, of the video's queries. Computed in float32, returned in the dtype of `positive`."""
        plain = positive.float()
        away = self.scale * plain - (self.scale - 1) * negative.float()
        largest = self.tau * plain.abs().sum(dim=-1, keepdim=True)
        away = away * (largest / away.abs().sum(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        return torch.lerp(plain, away, self.alpha).to(positive.dtype)


@dataclass(frozen=True, kw_only=True)
class NagLayout:
    """Where both prompts lie in one sequence."""

    nag: Nag
    negative: int
    """M: the first tokens are the negative prompt's."""
    video: int
    """V: the tokens after them."""
    image: int
    """The tokens after those; video and image are seen by both prompts."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, attention: Attention, chunk: int | None
    ) -> Tensor:
        """(B, L, H, E) each, bias as `attention` takes it, to (B, L, H, E)."""
        positive, queries = slice(self.negative, None), slice(self.negative + self.video)
        keys = slice(queries.stop + self.image)

        def mixed(rows: slice, columns: slice) -> Tensor:
            part = None if bias is None else bias[..., columns].clone()  # at an address that kernels take
            return attention(query[:, rows], key[:, columns], value[:, columns], part).flatten(2)

        with_positive, with_negative = mixed(positive, positive), mixed(queries, keys)
        video = chunked(self.nag.guided, chunk, with_positive[:, : self.video], with_negative[:, self.negative :])
        joined = [with_negative[:, : self.negative], video, with_positive[:, self.video :]]
        return torch.cat(joined, dim=1).unflatten(2, query.shape[2:])
