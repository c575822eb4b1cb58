"""Drift: a meter of what each section looks like, and a guard that holds a section's latents to the first ones.

Boundary: frames and latents in, numbers and latents out. The guard keeps only statistics, and these are made of the
first sections' latents, so that a run or a take which is handed those goes on to the same bits.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from framepack.spec.events import Look
from framepack.spec.plan import SectionPlan

EVERY = 4
"""Of a section's frames the meter looks at every so many."""
BLOCK = 16
"""Pixels a side of the blocks whose colours are compared with the start picture's."""
LUMA = (0.299, 0.587, 0.114)
FIRST = 2
"""Sections whose statistics the others are held to."""


class DriftMeter:
    """Measures sections, in levels of 0..255."""

    def __init__(self, start: np.ndarray | None) -> None:
        """start: the start picture, uint8 (H, W, 3); None where there is none."""
        self._start = None if start is None else blocks(torch.tensor(start)[None].float())

    def look(self, frames: Tensor) -> Look:
        """Of a section's frames, float32 (T, H, W, 3) of -1..1."""
        levels = frames[::EVERY].float().clamp(-1, 1) * 127.5 + 127.5
        luma = levels @ levels.new_tensor(LUMA)
        across, down = luma.diff(dim=2)[:, :-1], luma.diff(dim=1)[:, :, :-1]
        distance = None
        if self._start is not None:
            distance = float((blocks(levels) - self._start.to(levels.device)).square().mean().sqrt())
        red, green, blue = levels.mean(dim=(0, 1, 2)).tolist()
        return Look(
            colour=(red, green, blue),
            contrast=float(luma.std(dim=(1, 2)).mean()),
            sharpness=float(torch.hypot(across, down).mean()),
            distance=distance,
        )


def blocks(frames: Tensor) -> Tensor:
    """Mean colour of each block: (T, H, W, 3) to (T, 3, H / BLOCK, W / BLOCK)."""
    return torch.nn.functional.avg_pool2d(frames.movedim(-1, 1), BLOCK, ceil_mode=True)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of latents, by channel: (1, C, 1, 1, 1)."""

    mean: Tensor
    spread: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> "Statistics":
        """Of (1, C, T, h, w)."""
        dims = (2, 3, 4)
        return cls(mean=latents.mean(dim=dims, keepdim=True), spread=latents.std(dim=dims, keepdim=True))


class DriftGuard:
    """Holds sections to the mean statistics of the first ones under the same prompt, which it lets pass.

    z' = (z - mean) (spread_ref / spread)^g + mean + g (mean_ref - mean), of each channel, for a strength g of 0..1.
    Sections come in the order they are made. What it makes is shown as well as seen by later sections: seen only,
    it did half as much and left jumps (benchmarks/results/drift_guard-cpu-2026-12-01.md).
    """

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self._prompt: str | None = None
        self._first: list[Statistics] = []

    def note(self, section: SectionPlan, latents: Tensor) -> None:
        """Keep the statistics of a section's final latents (1, C, T, h, w) if it is one of the first."""
        if self._is_first(section):
            self._first.append(Statistics.of(latents))

    def _is_first(self, section: SectionPlan) -> bool:
        if section.prompt != self._prompt:  # another scene may be darker, and is to
            self._prompt, self._first = section.prompt, []
        return len(self._first) < FIRST

    def held(self, section: SectionPlan, latents: Tensor) -> Tensor:
        """Latents (1, C, T, h, w) of a section that was just made; at strength 0 they are passed on."""
        if not self.strength or self._is_first(section):
            return latents
        own = Statistics.of(latents)
        mean = torch.stack([one.mean for one in self._first]).mean(dim=0)
        spread = torch.stack([one.spread for one in self._first]).mean(dim=0)
        contrast = (spread / own.spread.clamp(min=1e-6)) ** self.strength
        return (latents - own.mean) * contrast + torch.lerp(own.mean, mean, self.strength)
