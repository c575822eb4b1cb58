"""Through a job's stages with leases from a memory manager on the meta device: where weights are, and what it takes.

A second section follows the first, as its weights may be elsewhere by then. Boundary: says; moves nothing real.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from framepack.memory import Budget, MemoryManager
from framepack.memory.estimate import Cost, Leased, Speed, estimate_lease
from framepack.memory.probe import resident_ram
from framepack.pipeline.job_costs import JobCosts
from framepack.pipeline.memory_plan import MemoryPlan, with_libraries
from framepack.pipeline.stages import Stage
from framepack.spec.events import Placement, Planned, PlannedStage

RGB, FLOAT = 3, 4


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
    """Of one job."""

    def __init__(
        self,
        costs: JobCosts,
        plan: MemoryPlan,
        budget: Budget,
        memory: MemoryManager,
        *,
        sizes: Mapping[str, int],
        base: int,
        others: int,
        mapped: frozenset[str],
    ) -> None:
        """memory: with the components that move. sizes: bytes of each. base: RAM of the process without weights.

        others: bytes on the device that are not the job's. mapped: components whose weights stay in their files.
        """
        self.costs, self.plan, self.budget, self.others, self.mapped = costs, plan, budget, others, mapped
        self.sizes, self.base, self.memory = sizes, base, memory
        self.capacity = budget.capacity()

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
        return self.budget.in_ram or not kept or self.sizes[component] > self.budget.host_free()

    def _row(self, visit: Visit, second: Visit | None, held: list[dict[str, int]], speed: Speed) -> PlannedStage:
        """A stage's row for all sections: the first, and the others like the second."""
        stage, leased, job, in_ram = visit.stage, visit.leased, self.costs.job, self.budget.in_ram
        weights = sum(leased.held.values())
        on_device = weights + visit.workspace
        pinned = leased.streamed if stage.component in self.mapped and not visit.from_disk else 0
        host = self.base + visit.loaded + pinned + (on_device if self.budget.device.type == "cpu" else 0)
        host += 0 if in_ram else self.costs.waiting(stage, 0)
        if stage.name == "source":
            host += RGB * job.height * job.width * job.source_held
        if stage.name == "decode":
            host += RGB * FLOAT * job.height * job.width * job.geometry.frames_of(job.decoded)
        passes, others = stage.passes(job), stage.sections(job) - 1 if second else 0
        first, next_ = visit.seconds(passes, speed), second.seconds(passes, speed) if second else 0.0
        modes = self.plan.modes
        return PlannedStage(
            part=stage.name,
            title=stage.title,
            placement=placement_of(stage.component, leased, held),
            where=leased.where,
            from_disk=visit.from_disk,
            chunk_size=modes.chunk_size if stage.name in ("stills", "sample") else None,
            mode=modes.encode
            if stage.name in ("encode", "source")
            else modes.decode
            if stage.name == "decode"
            else None,
            weights=weights + (visit.loaded if in_ram else 0),
            activations=visit.workspace,
            peak=host if in_ram else self.others + on_device,
            host=host,
            passes=passes * (1 + others),
            copied=visit.copied(passes) + (others * second.copied(passes) if second else 0),
            seconds=None if first is None or next_ is None else first + others * next_,
        )


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
