"""A request and a machine -> how the job will be done and what it takes: weights, memory and time, stage by stage.

Stages are run on the meta device; their leases are taken in order, with a second section after the first, from a memory
manager there that has as much room as the real one. Nothing is loaded. One object for one model on one device, so that
costs and speeds are worked out once.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from framepack.memory import Budget, MemoryManager
from framepack.memory.budget import HIGH_VRAM
from framepack.memory.estimate import Cost, Speed, estimate
from framepack.memory.probe import resident_ram
from framepack.memory.weight_blocks import Split, split
from framepack.models.attention_estimate import attention_like
from framepack.pipeline.calibrate import calibrate
from framepack.pipeline.enlarge import meta_network
from framepack.pipeline.job_costs import JobCosts, job_of
from framepack.pipeline.memory_plan import MemoryPlan, choose
from framepack.pipeline.stages import Modes, Stage, stages_of
from framepack.pipeline.stages.upscale import NAME, UpscaleStage
from framepack.pipeline.walk import Walk
from framepack.spec.events import Planned
from framepack.spec.machine import Tiling
from framepack.spec.plan import SectionPlan
from framepack.spec.request import GenerationRequest
from framepack.weights.meta import MetaModels

LIBRARIES = 80_000_000
"""RAM that libraries and the allocators of all threads take in a process's first job; measured with mini on Linux."""


class Estimator:
    """Of one model's jobs on one device."""

    def __init__(self, models: MetaModels, device: torch.device, *, here: bool = True) -> None:
        """here: it is this machine's device that will do the work, so that its speed can be measured."""
        self.models, self.device, self.here = models, device, here
        kind = device.type if here else "meta"
        self.on_cpu = kind == "cpu"
        self.stages = stages_of(models.family, attention_like(kind, models.precision.transformer))
        self.base = resident_ram() + LIBRARIES
        """RAM of the process without any weights."""
        self.sizes = models.sizes()
        self._known: dict[object, tuple[Cost, Any]] = {}
        self._speed: Speed | None = None
        self._managers: dict[frozenset[str], MemoryManager] = {}

    def speed(self, *, streams: bool) -> Speed:
        """Measured once, by a short trial; unknown for another machine's device. streams: weights may be copied."""
        if not self.here:
            return Speed()
        if self._speed is None:
            self._speed = calibrate(self.models, self.device, streams=streams)
        return self._speed

    @torch.inference_mode(False)  # what is made in inference mode could not be moved, nor its operations counted
    @torch.no_grad()
    def plan(
        self,
        request: GenerationRequest,
        sections: tuple[SectionPlan, ...],
        size: tuple[int, int],
        budget: Budget,
        *,
        tiling: Tiling = "never",
        high_vram: bool | None = None,
        mapped: frozenset[str] = frozenset(),
        held: int = 0,
    ) -> tuple[MemoryPlan, Planned]:
        """How the job is done at `size`, (height, width) in pixels, and what it takes.

        mapped: components whose weights stay in their files. held: weights on the device already. Raises
        TilingRefusedError and TooSmallError, see `memory_plan`.
        """
        job = job_of(request, sections, size)
        models, sizes, every = self.models, self.sizes, self.stages
        if job.enlarged and request.finish.network:
            network = meta_network(request.finish.network)
            models, every = models.with_network(NAME, network), {**every, "upscale": UpscaleStage()}
            sizes = {**sizes, NAME: sum(tensor.nbytes for tensor in network.state_dict().values())}
        stages = {name: stage for name, stage in every.items() if stage.needed(job)}
        costs = JobCosts(partial(self.run, models=models), stages, models, job)
        others = self.base if budget.in_ram else budget.others(held)
        kind, shown = budget.device.type, f"{job.width}x{job.height}"
        first = MemoryPlan(
            cost=costs.cost,
            parts=frozenset(stage.name for stage in stages.values()),
            device=kind,
            size=shown,
            tiling=tiling,
        )
        chosen = choose(first, self.weight_blocks, self.sizes["vae"], budget.capacity() - others)
        memory = self._manager(frozenset(self.sizes) if not budget.in_ram else mapped)
        if NAME in sizes and not budget.in_ram:
            memory.add(NAME, models[NAME])
        memory.high_vram = is_roomy(budget) if high_vram is None else high_vram
        memory.budget = replace(memory.budget, preserve=budget.preserve)
        walk = Walk(costs, chosen, budget, memory, sizes=sizes, base=self.base, others=others, mapped=mapped)
        try:
            return chosen, walk.planned(self.speed(streams=not budget.in_ram))
        finally:
            if NAME in memory.report().modules:
                memory.remove(NAME)

    @cached_property
    def weight_blocks(self) -> Split:
        """The transformer's blocks and what is beside them."""
        transformer, module = self.models.family["transformer"], self.models["transformer"]
        return split(module, transformer.blocks(module), transformer.once(module))

    def _manager(self, moving: frozenset[str]) -> MemoryManager:
        """A manager on the meta device with the components that move, which holds nothing yet."""
        if moving not in self._managers:
            memory = self._managers[moving] = MemoryManager("meta", vram_limit=0)
            for part in self.models.family.components:
                if part.name in moving:
                    module = self.models[part.name]
                    memory.add(part.name, module, blocks=part.blocks(module), once=part.once(module))
            memory.add("in RAM", nn.Module())
        self._managers[moving].free()
        return self._managers[moving]

    def run(
        self, stage: Stage, inputs: tuple[Any, ...], modes: Modes, models: MetaModels | None = None
    ) -> tuple[Cost, Any]:
        """What one call of a stage costs, and what it makes, on the meta device; the same shapes cost the same."""
        models = models or self.models
        module = models[stage.component]
        weights = tuple(shapes_in(tuple(module.state_dict().values()))) if stage.component == NAME else ()
        key = (stage.name, weights, stage.mode(modes), *shapes_in(inputs))
        if key not in self._known:
            made: list[Any] = []
            cost = estimate(
                lambda: made.append(stage.work(module, *inputs, modes=modes)),
                models.blocks(stage.component),
                fused_gelu=self.on_cpu,
            )
            self._known[key] = cost, made[0]
        return self._known[key]


def shapes_in(value: object) -> Iterator[object]:
    """Of all tensors in a value, its dataclasses included."""
    if isinstance(value, Tensor):
        yield value.shape, value.dtype
    elif is_dataclass(value):
        for part in fields(value):
            yield from shapes_in(getattr(value, part.name))
    elif isinstance(value, tuple):
        for part in value:
            yield from shapes_in(part)


def is_roomy(budget: Budget) -> bool:
    """Whether the device holds all models at once."""
    return not budget.in_ram and budget.capacity() > HIGH_VRAM
