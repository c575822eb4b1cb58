"""A user's network that enlarges the final frames, tile by tile: the one stage whose component is no family's."""

from collections.abc import Iterator
from typing import Any

import torch

from framepack.pipeline.stages.stage import Job, Modes, Outputs, Stage
from framepack.weights.meta import MetaModels

NAME = "upscaler"
"""What memory calls the network."""
TILE, MARGIN = 192, 16
"""Pixels of a tile's side, and of what it sees beyond its edges."""


class UpscaleStage(Stage):
    """A tile of a frame, (1, 3, H, W) float32 in 0..1, to its enlarged one; a pass is a frame."""

    name = "upscale"
    title = "enlarging"
    component = NAME
    convolutions = True

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        height, width = (max(seen(tile, side) for tile in tiles(side)) for side in (job.height, job.width))
        return (torch.empty(1, 3, height, width, device="meta"),)

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        (pixels,) = inputs
        return module(padded(pixels, module.fold))

    def passes(self, job: Job) -> int:
        return job.enlarged

    def calls(self, job: Job) -> float:
        """The largest tile is counted; all of them together see so many times its pixels."""
        whole = 1.0
        for side in (job.height, job.width):
            sizes = [seen(tile, side) for tile in tiles(side)]
            whole *= sum(sizes) / max(sizes)
        return whole


def tiles(side: int) -> Iterator[range]:
    """Tiles of one side."""
    return (range(start, min(start + TILE, side)) for start in range(0, side, TILE))


def seen(tile: range, side: int) -> int:
    """Pixels of a side that a tile sees."""
    return min(tile.stop + MARGIN, side) - max(tile.start - MARGIN, 0)


def padded(pixels: torch.Tensor, fold: int) -> torch.Tensor:
    """With sides that are multiples of `fold`; what is added repeats the edge."""
    down, across = (-side % fold for side in pixels.shape[2:])
    return torch.nn.functional.pad(pixels, (0, across, 0, down), mode="replicate") if down or across else pixels
