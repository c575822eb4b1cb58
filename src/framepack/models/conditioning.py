"""What depends on step, prompt and image alone: computed once a job, read at every step.

Boundary: holds tensors, computes little; `HunyuanVideoTransformer3DModelPacked.condition` fills it. At 13 B the weights
behind it are a quarter of the model (6.8 GB of modulation alone, in bf16); their results take 2 MB a step.
Shapes: S steps, B batch, K modulation vectors, D width, L text tokens, N image tokens.
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor, nn

from framepack.models.config import TransformerConfig
from framepack.models.layers import FREQUENCIES, EmbeddingMLP, sinusoids
from framepack.models.nag import Nag
from framepack.models.transfer import to_device, to_host


@dataclass(frozen=True, kw_only=True)
class StepCondition:
    """What one forward needs to know of its step."""

    index: int
    """Position of the step in the schedule, for caches."""
    modulation: tuple[Tensor, ...]
    """(B, K, D) for each block: K is 12 in double blocks, 3 in single ones."""
    final: Tensor
    """(B, 2, D): scale (with its 1) and shift of the final norm."""
    tokens: Tensor
    """(B, N + L, D): projected image, then refined text."""
    mask: Tensor | None
    """(B, N + L) bool, which of these exist; None for all."""
    image: int
    """N: how many of the tokens are the image's."""
    nag: Nag | None = None
    """How attention leads away from `negative`; None where it does not."""
    negative: Tensor | None = None
    """(B, M, D): refined text of the negative prompt; all of it exists."""


@dataclass(frozen=True, kw_only=True)
class ConditionTable:
    """All steps of a job. `dataclasses.replace(table, image=...)` gives a section another image, at no cost."""

    modulation: tuple[Tensor, ...]
    """(S, B, K, D) for each block."""
    final: Tensor
    """(S, B, 2, D)"""
    text: Tensor
    """(S, B, L, D): refined, which depends on the step."""
    text_mask: Tensor | None
    """(B, L) bool; None where no sample of the batch is padded."""
    image: Tensor
    """(B, N, D): projected, the same for all steps."""
    negative: Tensor | None = None
    """(S, B, M, D): the refined text that attention is to lead away from; modulated like the positive one."""

    def __len__(self) -> int:
        return len(self.final)

    def step(self, index: int, nag: Nag | None = None) -> StepCondition:
        """Cut out step `index`, guided by `nag` where there is a negative text."""
        mask = self.text_mask
        if mask is not None:
            mask = torch.cat([mask.new_ones(self.image.shape[:2]), mask], dim=1)
        return StepCondition(
            index=index,
            modulation=tuple(block[index] for block in self.modulation),
            final=self.final[index],
            tokens=torch.cat([self.image, self.text[index]], dim=1),
            mask=mask,
            image=self.image.shape[1],
            nag=None if self.negative is None else nag,
            negative=None if self.negative is None or nag is None else self.negative[index],
        )

    def to(self, device: torch.device | str) -> Self:
        """Move every tensor."""

        def move(tensor: Tensor) -> Tensor:
            return to_host(tensor) if torch.device(device).type == "cpu" else to_device(tensor, device)

        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in moved.items():
            if isinstance(value, tuple):
                moved[name] = tuple(move(tensor) for tensor in value)
            elif value is not None:
                moved[name] = move(value)
        return replace(self, **moved)


class TimeTextEmbed(nn.Module):
    """Timestep, guidance and pooled text to the vector that all modulation comes from."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.timestep_embedder = EmbeddingMLP(FREQUENCIES, config.width)
        self.text_embedder = EmbeddingMLP(config.pooled_projection_dim, config.width)
        self.guidance_embedder = EmbeddingMLP(FREQUENCIES, config.width) if config.guidance_embeds else None

    def forward(self, time: Tensor, guidance: Tensor, pooled: Tensor) -> Tensor:
        """Sinusoids of the timesteps (S, B, 256) and guidance (B, 256), pooled (B, P) or (S, B, P), to (S, B, D)."""
        conditioning = self.timestep_embedder(time)
        if self.guidance_embedder is not None:
            conditioning = conditioning + self.guidance_embedder(guidance)
        return conditioning + self.text_embedder(pooled)


def rounded_sinusoids(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Sinusoids of timesteps or guidance, both rounded to the weights' dtype first: in bf16 10,000 is 9,984."""
    return sinusoids(values.to(dtype)).to(dtype)


def crop_text(text: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Drop the padding that all samples share; the mask is None where nothing else is padded.

    Raises ValueError for a prompt without tokens and for padding that is not at the end.
    """
    if mask is None:
        return text, None
    mask = mask.bool()
    lengths = mask.sum(dim=1)
    longest = int(lengths.max())
    if int(lengths.min()) == 0:
        raise ValueError("text_mask must keep at least one token of each sample, got none")
    if not torch.equal(mask, torch.arange(mask.shape[1], device=mask.device) < lengths.unsqueeze(1)):
        raise ValueError("text_mask must be True first, then False: pad prompts on the right")
    cropped = mask[:, :longest]
    return text[:, :longest], None if bool(cropped.all()) else cropped
