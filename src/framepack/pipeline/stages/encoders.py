"""The stages that read a job's prompts and pictures: once each, before anything is made."""

from typing import Any

import torch

from framepack.pipeline.stages.stage import Job, Modes, Outputs, Stage
from framepack.weights.meta import MetaModels


class TextStage(Stage):
    """Prompts to features."""

    name = "text"
    title = "text encoders"
    component = "text"

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        return models["text"].example(job.letters, "meta")

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        return module(*inputs)

    def passes(self, job: Job) -> int:
        return job.texts


class ImageStage(Stage):
    """Pictures to features."""

    name = "image"
    title = "image encoder"
    component = "image"

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        return (models["image"].example("meta"),)

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        return module(*inputs)

    def passes(self, job: Job) -> int:
        return job.pictures


class LatentStage(Stage):
    """Pictures to latents."""

    name = "encode"
    title = "VAE encode"
    component = "vae"
    convolutions = True
    supports = frozenset({"resident", "disk", "tiled"})

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        return (torch.empty(1, 3, 1, job.height, job.width, dtype=torch.uint8, device="meta"),)

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        return module.encode_pixels(*inputs, modes.encode)

    def passes(self, job: Job) -> int:
        return job.pictures

    def mode(self, modes: Modes) -> object:
        return modes.encode
