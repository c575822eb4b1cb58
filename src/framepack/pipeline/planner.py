"""What a job is foreseen to take, told before its first work: stage by stage, weights, memory and time.

The stages' leases are rehearsed in order, with a second section after the first, by a memory manager on the meta device
that has as much room as the real one. Boundary: foretells; how the work is done is `choices`' business.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from torch import nn

from framepack.memory import Budget, MemoryManager
from framepack.memory.probe import resident_ram
from framepack.memory.rehearsal import Forecast, Speed, Stage, rehearse_one
from framepack.memory.units import split
from framepack.pipeline.choices import Choices, Tiling, choose, with_libraries
from framepack.pipeline.costs import Costs, Size
from framepack.spec.events import Part, Placement, Planned, PlannedStage, Way

ORDER: tuple[Part, ...] = ("text", "image", "encode", "prepare", "sample", "decode")
MODULES: dict[Part, str] = {
    "text": "text",
    "image": "image",
    "encode": "vae",
    "prepare": "transformer",
    "sample": "transformer",
    "decode": "vae",
}
TITLES: dict[Part, str] = {
    "text": "text encoders",
    "image": "image encoder",
    "encode": "VAE encode",
    "prepare": "once a job",
    "sample": "sampling",
    "decode": "VAE decode",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What of a request its forecast depends on."""

    size: Size
    texts: int
    """Prompts to encode."""
    pictures: int
    sections: int
    mixes: int
    """Different mixes of pictures that sections are given."""
    branches: int
    """Forwards a step: two with guidance by a negative prompt."""
    beside: int
    """Bytes on the device, during sampling, that are neither weights nor of one step: tables, context, caches."""
    clip: int
    """Bytes of frames held in RAM when a section is joined."""

    def passes(self, part: Part) -> int:
        """How often a part's work is done, in the first section."""
        several = {"text": self.texts, "encode": self.pictures, "image": self.pictures, "prepare": self.texts}
        return self.size.steps * self.branches if part == "sample" else several.get(part, 1)


@dataclass
class Host:
    """RAM during the rehearsal: modules loaded outright stay, until a limit makes the oldest leave."""

    base: int
    limit: int | None
    loaded: dict[str, int] = field(default_factory=dict)

    def load(self, name: str, size: int) -> int:
        """Bytes of all modules in RAM once `name` is."""
        if name not in self.loaded:
            while self.limit is not None and self.loaded and self.base + sum(self.loaded.values()) + size > self.limit:
                self.loaded.pop(next(iter(self.loaded)))
            self.loaded[name] = size
        return sum(self.loaded.values())


class Planner:
    """Plans jobs of one model on one device."""

    def __init__(
        self,
        costs: Costs,
        budget: Budget,
        *,
        base: int,
        high_vram: bool = False,
        mapped: frozenset[str] = frozenset(),
        held: int = 0,
    ) -> None:
        """base: RAM of the process without weights. mapped: modules whose weights stay in their files.

        held: weights that are on the device already.
        """
        self.costs, self.budget = costs, budget
        self.high_vram, self.mapped = high_vram, mapped
        self.capacity = budget.capacity()
        self.base = base
        self.others = self.base if budget.in_ram else budget.others(held)
        self.sizes = costs.parts.sizes()

    def choose(self, size: Size, tiling: Tiling) -> Choices:
        """How the work is to be done; see `choices.choose`."""
        transformer = self.costs.parts.transformer
        units = split(transformer, transformer.blocks, transformer.once_per_job)
        first = Choices(size=size, costs=self.costs, device=self.budget.device.type, tiling=tiling)
        return choose(first, units, self.sizes["vae"], self.capacity - self.others)

    def foretell(self, job: Job, choices: Choices, speed: Speed, conv: float | None = None) -> Planned:
        """The stages in the order they come. conv: multiplications and additions that the VAE does in a second."""
        memory = self._manager()
        host, told, held = Host(self.base, self.budget.ram_limit), [], []
        for part in (*ORDER, "sample", "decode"):
            stage = self._stage(part, job, choices, conv)
            loaded = host.load(stage.module, 0 if stage.module in self.mapped else self.sizes[stage.module])
            forecast = self._rehearse(memory, stage, loaded, speed)
            held.append(forecast.held)
            told.append((part, stage, forecast, loaded))
        rows = []
        for index, (part, stage, forecast, loaded) in enumerate(told[: len(ORDER)]):
            again = told[index + 2][2] if part in ("sample", "decode") else None
            row = self._row(part, stage, forecast, loaded, choices, job)
            row = replace(row, placement=placement_of(stage.module, forecast, held[index:]))
            rows.append(row if again is None else with_sections(row, again, job.sections - 1))
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

    def _manager(self) -> MemoryManager:
        """On the meta device, with the modules that move: in RAM only mapped ones do."""
        parts = self.costs.parts
        memory = MemoryManager("meta", vram_limit=0, preserve=self.budget.preserve, high_vram=self.high_vram)
        in_ram, transformer = self.budget.in_ram, parts.transformer
        if "text" in self.mapped or not in_ram:
            memory.add("text", parts.text, blocks=parts.text.blocks)
        if not in_ram:
            memory.add("image", parts.image)
            memory.add("vae", parts.vae)
        if "transformer" in self.mapped or not in_ram:
            memory.add("transformer", transformer, blocks=transformer.blocks, once=transformer.once_per_job)
        memory.add("in RAM", nn.Module())
        return memory

    def _stage(self, part: Part, job: Job, choices: Choices, conv: float | None) -> Stage:
        cost = choices.cost(part)
        margin = with_libraries(cost.activations, choices.device)
        beside = job.beside if part in ("sample", "decode") else 0
        return Stage(
            label=part,
            module=MODULES[part],
            cost=replace(cost, activations=margin),
            once=part == "prepare",
            passes=job.passes(part),
            beside=beside + (self._waiting(part, job) if self.budget.in_ram else 0),
            from_disk=MODULES[part] in self.mapped and self._short_of_ram(MODULES[part]),
            flops=conv if part in ("encode", "decode") else None,
        )

    def _waiting(self, part: Part, job: Job) -> int:
        """Bytes of RAM that condition tables wait in; where it is the device, less what the work itself counts."""
        if part in ("text", "image", "encode"):  # they come before
            return 0
        counted = (1 if part == "prepare" else job.branches) if self.budget.in_ram else 0
        return self.costs.tables(job.size, job.texts - counted, job.mixes - counted)

    def _short_of_ram(self, module: str) -> bool:
        """Mapped weights do not fit the host either, so what is streamed is read from disk each time.

        The text encoders' are passed through once a prompt and never kept.
        """
        return self.budget.in_ram or module == "text" or self.sizes[module] > self.budget.host_room()

    def _rehearse(self, memory: MemoryManager, stage: Stage, loaded: int, speed: Speed) -> Forecast:
        """In RAM, what was loaded outright is where it is used."""
        free = self.capacity - self.others - (loaded if self.budget.in_ram else 0) - self.budget.slack()
        memory.budget = replace(memory.budget, vram_limit=max(0, free))
        if stage.module in memory.report().modules:
            return rehearse_one(memory, stage, speed)
        flops = stage.flops or speed.flops
        with memory.lease("in RAM", activations=stage.cost.activations + stage.beside):  # what moves makes room
            pass
        held = {name: module.device for name, module in memory.report().modules.items()}
        return Forecast(
            label=stage.label,
            where="in RAM",
            weights=sum(held.values()),
            activations=stage.cost.activations,
            peak=sum(held.values()) + stage.cost.activations + stage.beside,
            copied=0,
            seconds=None if flops is None else stage.passes * stage.cost.flops / flops,
            streamed=0,
            held=held,
        )

    def _row(
        self, part: Part, stage: Stage, forecast: Forecast, loaded: int, choices: Choices, job: Job
    ) -> PlannedStage:
        on_host = self.budget.device.type == "cpu"
        pinned = forecast.streamed if stage.module in self.mapped and not stage.from_disk else 0
        host = self.base + loaded + pinned + (forecast.peak if on_host else 0) + (job.clip if part == "decode" else 0)
        host += 0 if self.budget.in_ram else self._waiting(part, job)
        ways: dict[Part, Way] = {"encode": choices.encode, "decode": choices.decode}
        return PlannedStage(
            part=part,
            title=TITLES[part],
            placement="resident",
            where=forecast.where,
            from_disk=stage.from_disk,
            rows=choices.rows if part == "sample" else None,
            way=ways.get(part),
            weights=forecast.weights + (loaded if self.budget.in_ram else 0),
            activations=stage.cost.activations + stage.beside,
            peak=host if self.budget.in_ram else self.others + forecast.peak,
            host=host,
            passes=stage.passes,
            copied=forecast.copied,
            seconds=forecast.seconds,
        )


def placement_of(module: str, now: Forecast, held: list[dict[str, int]]) -> Placement:
    """Of a module's weights. held: bytes of each module on the device from this stage on."""
    if now.streamed:
        return "streamed"
    least = min(later.get(module, 0) for later in held)
    return "resident" if least >= now.held.get(module, 0) else "offloaded"


def with_sections(row: PlannedStage, again: Forecast, others: int) -> PlannedStage:
    """A stage's forecast for all sections: the first, and `others` like the second."""
    seconds = None if row.seconds is None or again.seconds is None else row.seconds + others * again.seconds
    return replace(row, passes=row.passes * (others + 1), copied=row.copied + others * again.copied, seconds=seconds)


def notes(rows: list[PlannedStage]) -> Iterator[str]:
    """What the user may want to know of the choices."""
    for row in rows:
        if row.way == "tiled":
            yield f"{row.title}: in tiles, which leave faint seams"
        if row.way == "rows":
            yield f"{row.title}: a few rows at a time, as the whole picture does not fit; the result is the same"
        if row.rows:
            yield f"{row.title}: {row.rows} tokens at a time; the result is the same but for rounding"
        if row.from_disk and row.copied:
            yield f"{row.title}: weights that RAM does not hold are read from disk"
