"""Latents to frames: a tile of time through the VAE."""

from dataclasses import replace
from typing import Any

import torch

from framepack.pipeline.stages.sampling import held_in_sections, tables
from framepack.pipeline.stages.stage import Job, Modes, Outputs, Stage
from framepack.weights.meta import MetaModels

CHUNKED = 1.37
"""Times as many operations in chunks as in the whole picture, which is upsampled twice; 1.34 to 1.38 from 256 x 256 to
544 x 960 (HunyuanVideo's VAE)."""


class DecodeStage(Stage):
    """A section's clip, tile after tile; one tile is alive at a time."""

    name = "decode"
    title = "VAE decode"
    component = "vae"
    in_sections = True
    convolutions = True
    supports = frozenset({"resident", "chunk_size", "tiled", "disk"})

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        vae = models["vae"]
        length = min(job.decoded, vae.time_tiles.length)
        return (torch.empty(1, vae.latent_channels, length, *job.latent_size, dtype=vae.dtype, device="meta"),)

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        return module.decode_tile(*inputs, modes.decode)

    def calls(self, job: Job) -> int:
        return job.tiles

    def mode(self, modes: Modes) -> object:
        return modes.decode

    def counted(self, modes: Modes) -> tuple[Modes, float]:
        return (replace(modes, decode="whole"), CHUNKED) if modes.decode == "chunked" else (modes, 1.0)

    def beside(self, job: Job, models: MetaModels, outputs: Outputs) -> int:
        return held_in_sections(job, models, outputs)

    def waiting(self, job: Job, models: MetaModels, outputs: Outputs, on_device: int) -> int:
        return tables(job, outputs, job.texts - on_device, job.mixes - on_device)
