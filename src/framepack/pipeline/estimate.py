"""A request and a machine -> how the job will be done and what it takes: weights, memory and time, stage by stage.

Stages are run on the meta device; their leases are taken in order, with a second section after the first, from a memory
manager there that has as much room as the real one. Nothing is loaded. One object for one model on one device, so that
costs and speeds are worked out once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from framepack.memory import Budget, MemoryManager
from framepack.memory.budget import HIGH_VRAM
from framepack.memory.estimate import Cost, Leased, Speed, estimate, estimate_lease
from framepack.memory.probe import resident_ram
from framepack.memory.units import Split, split
from framepack.models.attention_estimate import attention_like
from framepack.pipeline.calibrate import calibrate
from framepack.pipeline.conditioning import prompts_of
from framepack.pipeline.memory_plan import MemoryPlan, Tiling, choose, with_libraries
from framepack.pipeline.stages import Job, Modes, Stage, stages_of
from framepack.sampling import needs_negative
from framepack.spec.events import Part, Placement, Planned, PlannedStage
from framepack.spec.plan import SectionPlan, new_tiles
from framepack.spec.request import GenerationRequest
from framepack.weights.meta import MetaModels

LIBRARIES = 80_000_000
"""RAM that libraries and the allocators of all threads take in a process's first job; measured with mini on Linux."""
RGB, FLOAT = 3, 4


def job_of(request: GenerationRequest, sections: tuple[SectionPlan, ...], size: tuple[int, int]) -> Job:
    """What of a request its estimate depends on. size: (height, width) in pixels."""
    prompts = prompts_of(request, sections)
    return Job(
        geometry=request.geometry,
        height=size[0],
        width=size[1],
        letters=max(len(prompt.text) for prompt in prompts),
        steps=request.steps,
        branches=2 if needs_negative(request.cfg) else 1,
        cached=request.cache != "none",
        texts=len(prompts),
        pictures=len(request.pictures),
        mixes=len({section.image for section in sections}),
        sections=len(sections),
        section=max(sections, key=tokens_of),
        decoded=max(section.decode_latents for section in sections),
        tiles=round(mean(len(tiles) for tiles in new_tiles(sections, request.geometry.tiles))),
    )


def tokens_of(section: SectionPlan) -> float:
    """The section's tokens, in latents of full detail."""
    return len(section.latents) + sum(len(span.take) / span.scale**3 for span in section.context)


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
        costs = JobCosts(self, job)
        others = self.base if budget.in_ram else budget.others(held)
        first = MemoryPlan(cost=costs.cost, device=budget.device.type, size=f"{job.width}x{job.height}", tiling=tiling)
        chosen = choose(first, self.units, self.sizes["vae"], budget.capacity() - others)
        high = is_roomy(budget) if high_vram is None else high_vram
        memory = self._manager(frozenset(self.sizes) if not budget.in_ram else mapped)
        walk = Walk(costs, chosen, budget, memory, others=others, high_vram=high, mapped=mapped)
        return chosen, walk.planned(self.speed(streams=not budget.in_ram))

    @cached_property
    def units(self) -> Split:
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

    def run(self, stage: Stage, inputs: tuple[Any, ...], modes: Modes) -> tuple[Cost, Any]:
        """What one call of a stage costs, and what it makes, on the meta device; the same shapes cost the same."""
        key = (stage.name, stage.mode(modes), *shapes_in(inputs))
        if key not in self._known:
            made: list[Any] = []
            module = self.models[stage.component]
            cost = estimate(
                lambda: made.append(stage.work(module, *inputs, modes=modes)),
                self.models.blocks(stage.component),
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


class JobCosts:
    """What the stages of one job cost, each worked out when it is asked for."""

    def __init__(self, estimator: Estimator, job: Job) -> None:
        self.estimator, self.job = estimator, job
        self.stages, self.models = estimator.stages, estimator.models
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
        if name not in ("text", "image", "encode"):
            _ = self.outputs
        stage = self.stages[name]
        counted, times = stage.counted(modes)
        flops = self._run(name, counted)[0].flops * times * stage.calls(self.job)
        return replace(self._run(name, modes)[0], flops=round(flops))

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
        return self.estimator.run(stage, self._inputs[name], modes)


@dataclass
class Host:
    """RAM during the walk: components loaded outright stay, until a limit makes the oldest leave."""

    base: int
    limit: int | None
    loaded: dict[str, int] = field(default_factory=dict)

    def load(self, name: str, size: int) -> int:
        """Bytes of all components in RAM once `name` is."""
        if name not in self.loaded:
            while self.limit is not None and self.loaded and self.base + sum(self.loaded.values()) + size > self.limit:
                self.loaded.pop(next(iter(self.loaded)))
            self.loaded[name] = size
        return sum(self.loaded.values())


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One stage as it is met: what it costs, and what its lease does."""

    stage: Stage
    cost: Cost
    beside: int
    loaded: int
    """Bytes of weights in RAM."""
    from_disk: bool
    leased: Leased

    @property
    def workspace(self) -> int:
        """Bytes on the device beside weights."""
        return self.cost.activations + self.beside

    def copied(self, passes: int) -> int:
        """Weights brought to the device, all passes together."""
        return self.leased.brought + passes * self.leased.streamed

    def seconds(self, passes: int, speed: Speed) -> float | None:
        """Computing and copying happen at the same time; bringing weights comes before. None where it is not known."""
        flops = speed.conv if self.stage.convolutions else speed.flops
        flops, copied = flops or speed.flops, speed.read if self.from_disk else speed.copied
        if flops is None or (self.copied(1) and copied is None):
            return None
        computing = self.cost.flops / flops
        if copied is None:
            return passes * computing
        return self.leased.brought / copied + passes * max(computing, self.leased.streamed / copied)


class Walk:
    """Through a job's stages, with leases from a manager on the meta device."""

    def __init__(
        self,
        costs: JobCosts,
        plan: MemoryPlan,
        budget: Budget,
        memory: MemoryManager,
        *,
        others: int,
        high_vram: bool,
        mapped: frozenset[str],
    ) -> None:
        """memory: with the components that move. others: bytes on the device that are not the job's."""
        self.costs, self.plan, self.budget, self.others, self.mapped = costs, plan, budget, others, mapped
        self.sizes, self.base = costs.estimator.sizes, costs.estimator.base
        self.capacity = budget.capacity()
        self.memory, memory.high_vram = memory, high_vram
        memory.budget = replace(memory.budget, preserve=budget.preserve)

    def planned(self, speed: Speed) -> Planned:
        """The stages in the order they come."""
        stages, host = list(self.costs.stages.values()), Host(self.base, self.budget.ram_limit)
        again = [stage for stage in stages if stage.in_sections]
        visits = [self._visit(stage, host) for stage in (*stages, *again)]
        rows = []
        for index, visit in enumerate(visits[: len(stages)]):
            held = [later.leased.held for later in visits[index:]]
            second = visits[len(stages) + again.index(visit.stage)] if visit.stage in again else None
            rows.append(self._row(visit, second, held, speed))
        known = [row.seconds for row in rows if row.seconds is not None]
        return Planned(
            device=str(self.budget.device),
            capacity=self.capacity,
            stages=tuple(rows),
            peak=max(row.peak for row in rows),
            host=max(resident_ram(), *(row.host for row in rows)),
            seconds=sum(known) if len(known) == len(rows) else None,
            notes=tuple(notes(rows)),
        )

    def _visit(self, stage: Stage, host: Host) -> Visit:
        name, cost = stage.component, self.costs.cost(stage.name, self.plan.modes)
        cost = replace(cost, activations=with_libraries(cost.activations, self.plan.device))
        in_ram = self.budget.in_ram
        beside = self.costs.beside(stage) + (self.costs.waiting(stage, self.costs.job.branches) if in_ram else 0)
        loaded = host.load(name, 0 if name in self.mapped else self.sizes[name])
        # in RAM, what was loaded outright is where it is used
        free = self.capacity - self.others - (loaded if in_ram else 0) - self.budget.slack()
        self.memory.budget = replace(self.memory.budget, vram_limit=max(0, free))
        there = name in self.memory.report().modules
        leased = estimate_lease(
            self.memory, name if there else "in RAM", once=stage.once and there, workspace=cost.activations + beside
        )
        return Visit(
            stage=stage,
            cost=cost,
            beside=beside,
            loaded=loaded,
            from_disk=name in self.mapped and self._short_of_ram(name),
            leased=leased if there else replace(leased, where="in RAM", streamed=0, brought=0),
        )

    def _short_of_ram(self, component: str) -> bool:
        """Mapped weights do not fit the host either, so what is streamed is read from disk each time.

        So it is with those that are passed through once a prompt and never kept.
        """
        kept = self.costs.models.family[component].pin
        return self.budget.in_ram or not kept or self.sizes[component] > self.budget.host_room()

    def _row(self, visit: Visit, second: Visit | None, held: list[dict[str, int]], speed: Speed) -> PlannedStage:
        """A stage's row for all sections: the first, and the others like the second."""
        stage, leased, job, in_ram = visit.stage, visit.leased, self.costs.job, self.budget.in_ram
        weights = sum(leased.held.values())
        on_device = weights + visit.workspace
        pinned = leased.streamed if stage.component in self.mapped and not visit.from_disk else 0
        host = self.base + visit.loaded + pinned + (on_device if self.budget.device.type == "cpu" else 0)
        host += 0 if in_ram else self.costs.waiting(stage, 0)
        if stage.name == "decode":
            host += RGB * FLOAT * job.height * job.width * job.geometry.frames_of(job.decoded)
        passes, others = stage.passes(job), job.sections - 1 if second else 0
        first, next_ = visit.seconds(passes, speed), second.seconds(passes, speed) if second else 0.0
        modes = self.plan.modes
        return PlannedStage(
            part=stage.name,
            title=stage.title,
            placement=placement_of(stage.component, leased, held),
            where=leased.where,
            from_disk=visit.from_disk,
            chunk_size=modes.chunk_size if stage.name == "sample" else None,
            mode=modes.encode if stage.name == "encode" else modes.decode if stage.name == "decode" else None,
            weights=weights + (visit.loaded if in_ram else 0),
            activations=visit.workspace,
            peak=host if in_ram else self.others + on_device,
            host=host,
            passes=passes * (1 + others),
            copied=visit.copied(passes) + (others * second.copied(passes) if second else 0),
            seconds=None if first is None or next_ is None else first + others * next_,
        )


def is_roomy(budget: Budget) -> bool:
    """Whether the device holds all models at once."""
    return not budget.in_ram and budget.capacity() > HIGH_VRAM


def placement_of(component: str, now: Leased, held: list[dict[str, int]]) -> Placement:
    """Of a component's weights. held: bytes of each on the device from this stage on."""
    if now.streamed:
        return "streamed"
    least = min(later.get(component, 0) for later in held)
    return "resident" if least >= now.held.get(component, 0) else "offloaded"


def notes(rows: list[PlannedStage]) -> Iterator[str]:
    """What the user may want to know of the modes."""
    for row in rows:
        if row.mode == "tiled":
            yield f"{row.title}: in tiles, which leave faint seams"
        if row.mode == "chunked":
            yield f"{row.title}: a few rows at a time, as the whole picture does not fit; the result is the same"
        if row.chunk_size:
            yield f"{row.title}: {row.chunk_size} tokens at a time; the result is the same but for rounding"
        if row.from_disk and row.copied:
            yield f"{row.title}: weights that RAM does not hold are read from disk"
