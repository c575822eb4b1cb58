"""Draws a section's latents to neighbours that stay as they are: a source's, or those of a section made anew alone.

A section is made beside its neighbours, but nothing makes it as sharp, as bright and as far along as they are. Three
things are drawn, fully at the border and less and less up to the section's middle: the mean of each channel, its spread
in coarse and in fine detail, and, of the step across the border, what is more than the steps beside it. Boundary:
latents in, latents out; knows no pictures.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.pipeline.history import History
from framepack.spec.plan import SectionPlan

BESIDE = 2
"""Latents of a neighbour that are looked at: the nearest one, and its step to the next."""
MOST_GAIN = 2.0
"""A channel's spread is changed by no more, either way: what is flat stays flat."""
LEAST = 1e-6


def settled(section: SectionPlan, latents: Tensor, bank: Mapping[str, Tensor], history: History) -> Tensor:
    """A section's latents (1, C, T, h, w), drawn to what its plan says that stays; the same where there is nothing."""

    def beside(source: str, *, later: bool) -> Tensor | None:
        if not source:
            return None
        if source == "history":
            return history.edge(BESIDE)
        return bank[source][:, :, :BESIDE] if later else bank[source][:, :, -BESIDE:]

    earlier, later = section.stay
    return drawn(latents, beside(earlier, later=False), beside(later, later=True))


def drawn(latents: Tensor, earlier: Tensor | None, later: Tensor | None) -> Tensor:
    """The latents (1, C, T, h, w) of a section between neighbours (1, C, t, h, w), each in the order of time.

    None where nothing is there, or nothing that stays. Without any the latents are passed on.
    """
    beside = [(False, earlier.flip(2))] if earlier is not None else []
    beside += [(True, later)] if later is not None else []
    if not beside:
        return latents
    shares = shares_of(latents.shape[2], [turned for turned, _ in beside]).to(latents)
    sides = [(turned, near, share) for (turned, near), share in zip(beside, shares, strict=True)]
    alike = sum(
        matched(part, [(t, split(near)[i], s) for t, near, s in sides]) for i, part in enumerate(split(latents))
    )
    assert isinstance(alike, Tensor)
    return alike + sum(share * excess(turn(alike, turned), near) for turned, near, share in sides)


def shares_of(count: int, turned: list[bool]) -> Tensor:
    """How far each of `count` latents is drawn to each side, (sides, 1, 1, count, 1, 1): at most 1 to all together.

    turned: whether a side lies behind the section.
    """
    ramp = (1 - 2 * torch.arange(count) / (count + 1)).clamp(min=0)
    ramps = torch.stack([ramp.flip(0) if one else ramp for one in turned])
    return (ramps / ramps.sum(0).clamp(min=1)).view(len(turned), 1, 1, count, 1, 1)


def turn(latents: Tensor, turned: bool) -> Tensor:
    """Latents with the one nearest a side first."""
    return latents.flip(2) if turned else latents


def split(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse and fine detail, which add up to the latents."""
    _, channels, count, rows, columns = latents.shape
    flat = latents.transpose(1, 2).reshape(count, channels, rows, columns)
    coarse = F.avg_pool2d(F.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    coarse = coarse.view(1, count, channels, rows, columns).transpose(1, 2)
    return coarse, latents - coarse


def matched(latents: Tensor, sides: list[tuple[bool, Tensor, Tensor]]) -> Tensor:
    """Latents with each channel's mean and spread led to those of the nearest latent on each side."""
    mean = latents.mean(dim=(3, 4), keepdim=True)
    gain, offset = torch.zeros_like(mean), torch.zeros_like(mean)
    for turned, near, share in sides:
        own, theirs = turn(latents, turned)[:, :, :1], near[:, :, :1]
        ratio = spread(theirs) / spread(own)
        gain = gain + share * ratio.clamp(1 / MOST_GAIN, MOST_GAIN).log()
        offset = offset + share * (theirs.mean(dim=(3, 4), keepdim=True) - own.mean(dim=(3, 4), keepdim=True))
    return (latents - mean) * gain.exp() + mean + offset


def spread(latent: Tensor) -> Tensor:
    """Of each channel of one latent, (1, C, 1, 1, 1)."""
    return latent.std(dim=(3, 4), keepdim=True).clamp(min=LEAST)


def excess(own: Tensor, near: Tensor) -> Tensor:
    """Of the step from a section to its neighbour, what is longer than the shorter step beside it: (1, C, 1, h, w).

    Both have the latent at the border first. Zeros where neither has a second latent to say what is usual.
    """
    usual = [length(part[:, :, 1:2] - part[:, :, :1]) for part in (own, near) if part.shape[2] > 1]
    step = near[:, :, :1] - own[:, :, :1]
    if not usual:
        return torch.zeros_like(step)
    return (1 - torch.stack(usual).amin(0) / length(step)).clamp(min=0) * step


def length(step: Tensor) -> Tensor:
    """Of a step between two latents, (1, 1, 1, 1, 1)."""
    return step.square().mean(dim=(1, 3, 4), keepdim=True).sqrt().clamp(min=LEAST)
