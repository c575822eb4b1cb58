"""Flow matching on a section: noise levels, the noisy window, and the error of the predicted velocity.

x = (1 - sigma) * clean + sigma * noise, velocity = noise - clean. Source: rectified flow as in arXiv 2403.03206.
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.packing import ContextLatents
from framepack.training.data.clips import ClipBatch
from framepack.training.data.sections import VideoLatent
from framepack.training.transformer.towers import Features

LITTLE = 0.1
"""A distance of latents, which are of unit size, that is hardly visible."""


@dataclass(frozen=True, kw_only=True)
class FlowRecipe:
    """Noise levels and dropouts."""

    shift: float = 3.0
    """moves logit-normal levels towards noise"""
    uniform: float = 0.2
    """share of uniform levels"""
    first: float = 0.0
    """share of clips at the level 1, with which sampling begins: half of all the calls where it takes two steps"""
    history_noise: float = 0.25
    """at most this much noise on known latents other than the start, against drift; half of the batches have none"""
    text_dropout: float = 0.08
    image_dropout: float = 0.1
    other_guidance: float = 0.3
    """share of batches with a distilled guidance other than 10, so that it loses its meaning"""
    focus: float = 0.0
    """share of the error that counts where the picture has left its start, so that a small cut-out is not lost in it"""


def draw_sigmas(count: int, recipe: FlowRecipe, random: Generator) -> Tensor:
    """(count,) noise levels in 0..1, stratified."""
    levels = (torch.arange(count) + torch.rand(count, generator=random)) / count
    normal = torch.sigmoid(torch.special.ndtri(levels.clamp(1e-4, 1 - 1e-4)))
    shifted = recipe.shift * normal / (1 + (recipe.shift - 1) * normal)
    uniform = torch.rand(count, generator=random) < recipe.uniform
    levels = torch.where(uniform, torch.rand(count, generator=random), shifted).clamp(0.01, 1)
    if not recipe.first:
        return levels
    return torch.where(torch.rand(count, generator=random) < recipe.first, 1.0, levels)


def draw_guidance(count: int, recipe: FlowRecipe, random: Generator) -> Tensor:
    """(count,) distilled guidance times 1000: 10 mostly, else 1 to 32."""
    if float(torch.rand((), generator=random)) >= recipe.other_guidance:
        return torch.full((count,), 10_000.0)
    return 1000 * 32 ** torch.rand(count, generator=random)


def draw_normal(like: Tensor, random: Generator) -> Tensor:
    """Normal numbers of a tensor's shape, on its device; a GPU draws them itself, from a seed that `random` gives."""
    if like.device.type == "cpu":
        return torch.randn(like.shape, generator=random)
    seed = int(torch.randint(2**62, (), generator=random))
    return torch.randn(like.shape, generator=Generator(like.device).manual_seed(seed), device=like.device)


def context_latents(batch: ClipBatch) -> list[ContextLatents]:
    """The section's context, as the transformer packs it."""
    return [
        ContextLatents(latents=latents, at=part.at, scale=part.scale)
        for part, latents in zip(batch.section.context, batch.context, strict=True)
    ]


def noisy_history(batch: ClipBatch, recipe: FlowRecipe, random: Generator) -> list[ContextLatents]:
    """The section's context; latents of several frames may carry noise."""
    amount = recipe.history_noise * float(torch.rand((), generator=random)) * (torch.rand((), generator=random) < 0.5)
    parts = []
    for part, context in zip(batch.section.context, context_latents(batch), strict=True):
        moving = torch.tensor([isinstance(source, VideoLatent) for source in part.sources], device=batch.noisy.device)
        noise = draw_normal(context.latents, random) * amount * moving[:, None, None]
        parts.append(replace(context, latents=context.latents + noise))
    return parts


def flow_loss(
    model: HunyuanVideoTransformer3DModelPacked,
    features: Features,
    batch: ClipBatch,
    recipe: FlowRecipe,
    random: Generator,
) -> Tensor:
    """Mean squared error of the velocity over the batch, weighted by `changes`."""
    clean = batch.noisy
    count, device = len(clean), clean.device
    sigmas = draw_sigmas(count, recipe, random).to(device)
    noise = draw_normal(clean, random)
    level = sigmas[:, None, None, None, None]
    image = features.image * (torch.rand((), generator=random) >= recipe.image_dropout).to(device)
    guidance = draw_guidance(count, recipe, random).to(device)
    table = model.condition(1000 * sigmas[None], guidance, features.pooled, features.text, None, image)
    frames, height, width = clean.shape[2:]
    packed = model.pack(noisy_history(batch, recipe, random), batch.section.noisy_at, (frames, height, width))
    velocity = model(clean + level * (noise - clean), table.step(0), packed)
    error = (velocity - (noise - clean)).square()
    if recipe.focus:
        error = error * (1 - recipe.focus + recipe.focus * changes(clean, batch.context[0][:, :, :1]))
    return error.mean()


def changes(clean: Tensor, start: Tensor) -> Tensor:
    """How far latents (B, C, t, h, w) are from the start picture's (B, C, 1, h, w), as (B, 1, t, h, w).

    A frame's mean is one, or less where next to nothing has changed.
    """
    distance = (clean - start).square().mean(dim=1, keepdim=True).sqrt()
    return distance / (distance.mean(dim=(3, 4), keepdim=True) + LITTLE)
