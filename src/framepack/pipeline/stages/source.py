"""A clip to latents, in one causal pass: the source that a video goes on from, leads to, or restyles."""

from typing import Any

import torch

from framepack.pipeline.stages.stage import Job, Modes, Outputs, Stage
from framepack.weights.meta import MetaModels


class SourceStage(Stage):
    """All frames of a pass at once; jobs without a source have no such stage."""

    name = "source"
    title = "source encode"
    component = "vae"
    convolutions = True
    supports = frozenset({"resident", "disk", "tiled"})

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        frames = max(job.source_frames, 1)
        return (torch.empty(1, 3, frames, job.height, job.width, dtype=torch.uint8, device="meta"),)

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        return module.encode_pixels(*inputs, modes.encode, one_pass=True)

    def passes(self, job: Job) -> int:
        return job.source_passes

    def mode(self, modes: Modes) -> object:
        return modes.encode
