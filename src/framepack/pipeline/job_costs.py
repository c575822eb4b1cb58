"""What the stages of one job cost, from the job's sizes; each is worked out when it is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import mean
from typing import Any

from framepack.memory.estimate import Cost
from framepack.pipeline.conditioning import nag_of, prompts_of
from framepack.pipeline.given import sigmas_of
from framepack.pipeline.sources import held_frames, source_work
from framepack.pipeline.stages import Job, Modes, Stage
from framepack.sampling import needs_negative
from framepack.spec.events import Part
from framepack.spec.plan import SectionPlan, new_tiles
from framepack.spec.redo import made_anew
from framepack.spec.request import GenerationRequest
from framepack.spec.stills import stills
from framepack.weights.meta import MetaModels

Run = Callable[[Stage, tuple[Any, ...], Modes], tuple[Cost, Any]]
"""What one call of a stage costs, and what it makes, on the meta device."""


def job_of(request: GenerationRequest, sections: tuple[SectionPlan, ...], size: tuple[int, int]) -> Job:
    """What of a request its estimate depends on. size: (height, width) in pixels."""
    prompts, nag = prompts_of(request, sections), nag_of(request)
    sigmas = sigmas_of(request, request.window * request.geometry.tokens(*size))
    source_frames, source_passes = source_work(request)
    return Job(
        geometry=request.geometry,
        height=size[0],
        width=size[1],
        letters=max(len(prompt.text) for prompt in prompts),
        steps=request.steps,
        branches=2 if needs_negative(request.cfg) else 1,
        cached=request.cache != "none",
        nag=nag,
        nag_share=mean(map(nag.acts_at, sigmas[:-1].tolist())) if nag else 0.0,
        texts=len(prompts),
        pictures=len(request.pictures),
        source_frames=source_frames,
        source_passes=source_passes,
        source_held=held_frames(request),
        mixes=len({section.image for section in sections}),
        sections=len(sections),
        made=len(made_anew(request)) if request.redo else len(sections),
        stills=stills(request),
        section=max(sections, key=tokens_of),
        decoded=max(section.decode_latents for section in sections),
        enlarged=request.delivered_frames if request.finish.network and request.finish.enlarge != 1 else 0,
        tiles=round(mean(len(tiles) for tiles in new_tiles(sections, request.geometry.tiles))),
    )


def tokens_of(section: SectionPlan) -> float:
    """The section's tokens, in latents of full detail."""
    return len(section.at) + sum(len(span.take) / span.scale**3 for span in section.context)


class JobCosts:
    """What the stages of one job cost, each worked out when it is asked for."""

    def __init__(self, run: Run, stages: Mapping[str, Stage], models: MetaModels, job: Job) -> None:
        self.job, self.stages, self.models = job, stages, models
        self._call = run
        self._outputs: dict[str, Any] = {}
        self._inputs: dict[str, tuple[Any, ...]] = {}

    @property
    def outputs(self) -> dict[str, Any]:
        """What the stages before sampling make."""
        for name in ("text", "image", "prepare"):
            if name in self.stages and name not in self._outputs:
                self._outputs[name] = self._run(name, Modes())[1]
        return self._outputs

    def cost(self, name: Part, modes: Modes) -> Cost:
        """Of one pass."""
        if name not in ("text", "image", "encode", "source"):
            _ = self.outputs
        stage = self.stages[name]
        counted, times = stage.counted(modes)
        flops = self._run(name, counted)[0].flops
        share, lighter = stage.lighter(self.job, self.models, self._inputs[name])
        if share:
            flops += share * (self._call(stage, lighter, counted)[0].flops - flops)
        return replace(self._run(name, modes)[0], flops=round(flops * times * stage.calls(self.job)))

    def beside(self, stage: Stage) -> int:
        """Bytes on the device that are neither weights nor made by the work."""
        return stage.beside(self.job, self.models, self.outputs)

    def waiting(self, stage: Stage, on_device: int) -> int:
        """Bytes that wait in RAM."""
        return stage.waiting(self.job, self.models, self.outputs, on_device)

    def _run(self, name: Part, modes: Modes) -> tuple[Cost, Any]:
        stage = self.stages[name]
        if name not in self._inputs:
            self._inputs[name] = stage.inputs(self.job, self.models, self._outputs)
        return self._call(stage, self._inputs[name], modes)
