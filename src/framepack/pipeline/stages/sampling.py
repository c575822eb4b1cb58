"""The transformer's stages: what step, prompt and picture decide, once a job; then a step, many times a section."""

from dataclasses import replace
from typing import Any

import torch

from framepack.models.attention import Attention
from framepack.models.hunyuan.blocks import Execution
from framepack.models.packing import ContextLatents
from framepack.pipeline.stages.stage import Job, Modes, Outputs, Stage
from framepack.spec.windows import Window
from framepack.weights.meta import MetaModels

STATES = 6
"""Windows that a sampler holds, about."""
BANK = 5
"""Latents of pictures on the device, about."""


class PrepareStage(Stage):
    """The condition table of one prompt, for all steps."""

    name = "prepare"
    title = "once a job"
    component = "transformer"
    once = True

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        text, pooled = outputs["text"]
        steps, scale = (torch.empty(count, device="meta") for count in (job.steps, 1))
        return steps, scale, pooled, text, None, outputs.get("image")

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        return module.condition(*inputs)

    def passes(self, job: Job) -> int:
        return job.texts

    def waiting(self, job: Job, models: MetaModels, outputs: Outputs, on_device: int) -> int:
        return tables(job, outputs, job.texts - min(on_device, 1), job.mixes - min(on_device, 1))


class SampleStage(Stage):
    """One forward of the transformer."""

    name = "sample"
    title = "sampling"
    component = "transformer"
    in_sections = True
    supports = frozenset({"resident", "chunk_size", "disk"})

    def __init__(self, attention: Attention) -> None:
        self.attention = attention

    def inputs(self, job: Job, models: MetaModels, outputs: Outputs) -> tuple[Any, ...]:
        x, packed = window_inputs(job, job.section, models["transformer"])
        table = outputs["prepare"]
        if job.nag:  # the longest prompt may be either of the two
            table = replace(table, negative=table.text)
        return x, table.step(0, job.nag), packed, None

    def work(self, module: Any, *inputs: Any, modes: Modes) -> Any:
        return module(*inputs, Execution(attention=self.attention, chunk_size=modes.chunk_size))

    def passes(self, job: Job) -> int:
        return job.steps * job.branches

    def sections(self, job: Job) -> int:
        return job.made

    def lighter(self, job: Job, models: MetaModels, inputs: tuple[Any, ...]) -> tuple[float, tuple[Any, ...]]:
        x, step, *others = inputs
        return (1.0 - job.nag_share if job.nag else 0.0), (x, replace(step, nag=None, negative=None), *others)

    def mode(self, modes: Modes) -> object:
        return modes.chunk_size

    def counted(self, modes: Modes) -> tuple[Modes, float]:
        return replace(modes, chunk_size=None), 1.0

    def beside(self, job: Job, models: MetaModels, outputs: Outputs) -> int:
        return held_in_sections(job, models, outputs)

    def waiting(self, job: Job, models: MetaModels, outputs: Outputs, on_device: int) -> int:
        return tables(job, outputs, job.texts - on_device, job.mixes - on_device)


class StillStage(SampleStage):
    """The same for the moments that are made before the sections, in the memory of a section."""

    name = "stills"
    title = "stills"
    in_sections = False

    def passes(self, job: Job) -> int:
        return super().passes(job) * len(job.stills)

    def lighter(self, job: Job, models: MetaModels, inputs: tuple[Any, ...]) -> tuple[float, tuple[Any, ...]]:
        _, step, _, mask = inputs
        x, packed = window_inputs(job, job.stills[-1], models["transformer"])
        return 1.0, (x, step, packed, mask)


def window_inputs(job: Job, window: Window, transformer: Any) -> tuple[torch.Tensor, Any]:
    """The latents of a window, and its packed context, on the meta device."""
    rows, columns = job.latent_size

    def latents(frames: int) -> torch.Tensor:
        return torch.empty(1, transformer.config.in_channels, frames, rows, columns, device="meta")

    spans = [
        ContextLatents(
            latents=latents(len(span.take)),
            at=span.at,
            scale=span.scale,
            weight=span.weight,
            key_scale=span.key_scale,
        )
        for span in window.context
    ]
    frames = len(window.at)
    with torch.no_grad():
        return latents(frames), transformer.pack(spans, window.at, (frames, rows, columns))


def tables(job: Job, outputs: Outputs, prompts: int, mixes: int) -> int:
    """Bytes of the condition tables of so many prompts, and of the image tokens of so many mixes of pictures."""
    table = outputs["prepare"]
    of_prompt = sum(tensor.nbytes for tensor in (*table.modulation, table.final, table.text))
    return prompts * of_prompt + mixes * table.image.nbytes


def held_in_sections(job: Job, models: MetaModels, outputs: Outputs) -> int:
    """Bytes that stay on the device while sections are made: tables, context, history, the sampler's states, caches.

    Of the tables only those of the section at hand, one a branch.
    """
    transformer, geometry = models["transformer"], job.geometry
    config, (rows, columns) = transformer.config, job.latent_size
    latent_tokens = geometry.tokens(job.height, job.width)
    context = sum(len(span.take) * latent_tokens // span.scale**3 for span in job.section.context)
    noisy = len(job.section.at) * latent_tokens
    token = config.width * transformer.dtype.itemsize
    rotary = config.attention_head_dim // 2 * torch.complex64.itemsize
    latent = torch.float32.itemsize * config.in_channels * rows * columns
    states = (geometry.history + BANK + STATES * len(job.section.at)) * latent
    caches = job.branches * (context + 2 * noisy) * token if job.cached else 0
    tables_here = tables(job, outputs, job.branches, job.branches) + (outputs["prepare"].text.nbytes if job.nag else 0)
    return tables_here + context * token + (context + noisy) * rotary + states + caches
