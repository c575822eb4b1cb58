"""`framepack plan`: what `framepack generate` with the same options would do in the memory there is; loads nothing."""

from collections.abc import Sequence

import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from framepack.app.cli.models import gigabytes
from framepack.app.clock import clock
from framepack.app.service.paths import there
from framepack.media.clips import changes, lasting, look, size_for
from framepack.media.cuts import cuts
from framepack.memory import Budget
from framepack.pipeline.device import choose_device
from framepack.pipeline.estimate import Estimator
from framepack.pipeline.in_files import check_lora_room, stay_in_files
from framepack.spec.attention import left_to_sdpa
from framepack.spec.events import Planned, PlannedStage
from framepack.spec.ignored import ignored_settings
from framepack.spec.machine import MachineOptions
from framepack.spec.plan import delivery, plan
from framepack.spec.request import GenerationRequest
from framepack.spec.unknown import understood, unknown_in
from framepack.spec.variants import variant_of
from framepack.weights.loader import choose_attention, choose_precision, look_at_loras, narrow
from framepack.weights.meta import MetaModels
from framepack.weights.sources import ModelSource, locate, passed_over, to_fetch

CARD = torch.device("meta")
"""Stands for the GPU that `--vram-limit` describes where there is none."""


def run(request: GenerationRequest, machine: MachineOptions, without_say: Sequence[str] = ()) -> int:
    """Print the plan of `request`. ValueError where there is none.

    without_say: options that were given and do not change a plan.
    """
    device = choose_device(machine.device)
    pretended = device.type == "cpu" and bool(machine.vram_limit)
    budget = Budget.of(CARD if pretended else device, machine.vram_limit, machine.ram_limit, machine.preserve)
    source = ModelSource(models_dir=machine.models_dir, revision=machine.revision, offline=machine.offline)
    source.require_models_dir()
    named = None if machine.dtype == "auto" else machine.dtype
    precision = choose_precision("cuda" if pretended else device, named)
    choose_attention(machine.attention, None if pretended else device, precision.transformer)
    models = MetaModels.of(variant_of(request.model), source, precision)
    loras = [lora for lora in request.loras if lora.strength]
    for lora in loras:
        there("lora", str(lora.file))
    if loras:
        check_lora_room(budget, models.sizes()["transformer"])
    lora_notes = look_at_loras(models["transformer"], loras)
    request, sizes = lasting(request), sizes_of_pictures(request)
    height, width = request.size or size_for(request, *sizes["start"][::-1])
    sections = plan(request)
    estimator = Estimator(models, budget.device, here=not pretended)
    _, planned = estimator.plan(
        request,
        sections,
        (height, width),
        budget,
        tiling=machine.vae_tiling,
        mapped=stay_in_files(models.family, budget, estimator.sizes, changed=bool(loras)),
    )
    card = f"a GPU with {gigabytes(planned.capacity)}" if pretended else f"{device}, {gigabytes(planned.capacity)}"
    console = Console(highlight=False)
    console.print(
        f"[bold]{request.model}[/] at {width} x {height}: {delivery(request)}, {request.steps} steps each, on {card}",
        soft_wrap=True,
    )
    if heard := understood(request, source.models_dir):
        console.print(f"understood: {heard}", markup=False, soft_wrap=True)
    show(planned, console)
    tell_missing(request.model, source, console)
    notes = [
        *passed_over(variant_of(request.model), source),
        *narrow(precision),
        *lora_notes,
        *left_to_sdpa(machine.attention, sections),
        *ignored_settings(request),
        *unknown_in(request, source.models_dir),
        *cuts(request, sizes),
        *changes(request, (height, width)),
        *[f"{', '.join(without_say)} only matters to `generate`; the plan is the same with any value"]
        * bool(without_say),
    ]
    for note in notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    return 0


def tell_missing(model: str, source: ModelSource, console: Console) -> None:
    """A plan needs no weights, but what it plans does."""
    places = locate(variant_of(model), source)
    if any(place.missing for place in places):
        size = gigabytes(to_fetch(places))
        console.print(
            f"{model} is not downloaded: run `framepack models download {model}` (about {size})", soft_wrap=True
        )


def sizes_of_pictures(request: GenerationRequest) -> dict[str, tuple[int, int]]:
    """Width and height of the edited pictures; where the request has a size, its start picture need not be there.

    MediaError or ValueError where one cannot be used.
    """
    sizes = {}
    for key, picture in request.pictures.items():
        if key != "start" or request.size is None or picture.file.exists():
            height, width = look(request, key, picture).shape[:2]
            sizes[key] = width, height
    return sizes


def show(planned: Planned, console: Console) -> None:
    """The table, then what holds for the whole job."""
    in_ram = planned.peak == planned.host
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for title in ("stage", "weights are", "works"):
        table.add_column(title, no_wrap=True)
    for title in ("weights", "work", "peak", "RAM", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for stage in planned.stages:
        sizes = (gigabytes(size) for size in (stage.weights, stage.activations, stage.peak, stage.host))
        table.add_row(stage.title, placement(stage), how(stage), *sizes, duration(stage.seconds))
    whole = console.measure(table, options=console.options.update(max_width=500)).maximum
    console.width = max(console.width, whole)  # a terminal that is too narrow breaks lines, and nothing is cut
    console.print(table)
    for note in planned.notes:
        console.print(note, soft_wrap=True)
    on_device = "" if in_ram else f"{gigabytes(planned.peak)} on the device, "
    console.print(f"peak {on_device}{gigabytes(planned.host)} RAM; time {duration(planned.seconds)}", soft_wrap=True)


def placement(stage: PlannedStage) -> str:
    """Where the weights are, and from where they come."""
    words = stage.placement
    if stage.placement == "streamed" and " of " in stage.where:
        kept, _, total = stage.where.partition(" of ")
        number = int(total.split()[0])
        words = f"streamed {number - int(kept)}/{number}"
    return f"{words}, disk" if stage.from_disk and stage.copied else words


def how(stage: PlannedStage) -> str:
    """Tokens at a time, or the mode of the VAE."""
    return f"{stage.chunk_size} tokens" if stage.chunk_size else stage.mode or ""


def duration(seconds: float | None) -> str:
    """About how long, or that it is not known."""
    if seconds is None:
        return "unknown"
    return clock(seconds) if seconds >= 1 else "< 0:01"
