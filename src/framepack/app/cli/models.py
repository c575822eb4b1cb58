"""`framepack models` and `framepack doctor`: what is here, what is missing, what this machine can run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import which

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from framepack.files.confine import left_open
from framepack.memory.probe import Device, Machine, probe
from framepack.spec.attention import PACKAGES, WHEN, installed
from framepack.spec.variants import TERRITORIES, VARIANTS, variant_of
from framepack.weights.hub import download, plan_download
from framepack.weights.loader import choose_precision
from framepack.weights.sources import ModelSource, list_models, locate, passed_over, to_fetch
from framepack.weights.verify import bytes_to_read, verify

STEP_BYTES = 18.12e9
"""What of it a denoising step reads."""
LEAST_VRAM = 4e9
RESIDENT_VRAM = 60e9


def list_command(source: ModelSource) -> None:
    """A paragraph for each model, with its parts."""
    source.require_models_dir()
    console = Console(soft_wrap=True, highlight=False)
    rows = list_models(source)
    for variant in VARIANTS.values():
        parts = [row for row in rows if row.variant == variant.name]
        complete = all(part.complete for part in parts)
        size = gigabytes(sum(part.size for part in parts))
        lacks = f"about {gigabytes(to_fetch(locate(variant, source)))} to fetch"
        state = f"[green]here[/], {size}" if complete else f"framepack models download {variant.name}, {lacks}"
        console.print(f"[bold]{variant.name}[/]: {variant.title}; {state}")
        for part in parts:
            found = f"{part.where}, {gigabytes(part.size)}" if part.size else part.where
            console.print(f"    {part.repo}: {found}{''.join(f'; {what}' for what in part.missing)}", markup=False)


def download_command(model: str, source: ModelSource, *, confirm: bool) -> None:
    """Show what it takes, ask, fetch."""
    console = Console(stderr=True)
    variant = variant_of(model)
    plan = plan_download(variant, source)
    if not plan.to_fetch:
        console.print(f"{model} is complete in {plan.target}", markup=False, soft_wrap=True)
        return
    console.print(
        f"{model}: {gigabytes(plan.to_fetch)} of {gigabytes(plan.total)} to fetch into {plan.target}, "
        f"{gigabytes(plan.free)} free there",
        markup=False,
        soft_wrap=True,
    )
    if variant.territories:
        console.print(f"{variant.territories}.", markup=False, soft_wrap=True)
    if confirm and console.input("go on? [Y/n] ").strip().lower() not in ("", "y", "yes"):
        raise ValueError("nothing was downloaded")
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=plan.to_fetch)
        download(plan, source, lambda done, total: progress.update(task, completed=done, total=total))
    console.print(f"{model} is complete in {plan.target}", markup=False, soft_wrap=True)


def verify_command(model: str, source: ModelSource) -> int:
    """Read every file; 0 when no damage is found, 2 when not."""
    source.require_models_dir()
    console, variant, problems = Console(soft_wrap=True, highlight=False), variant_of(model), 0
    for notice in passed_over(variant, source):
        console.print(f"note: {notice}", style="yellow", markup=False)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=bytes_to_read(variant, source))
        for verdict in verify(variant, source, lambda read: progress.advance(task, read)):
            problems += len(verdict.problems)
            said = "".join(f"\n    {escape(problem)}" for problem in verdict.problems)
            state = f"[red]not right[/]{said}" if said else f"[green]ok[/], {verdict.summary}"
            console.print(f"{verdict.part}: {state}")
            for remark in verdict.remarks:
                console.print(f"    [yellow]note:[/] {escape(remark)}")
    return 2 if problems else 0


def doctor_command(outputs: Path, source: ModelSource) -> None:
    """The machine, the models that are here, and what goes together."""
    source.require_models_dir()
    console = Console(soft_wrap=True, highlight=False)
    machine = probe(outputs)
    for device in machine.devices:
        bf16 = "bf16 in hardware" if device.bf16 else "no bf16"
        console.print(f"{device.name}: {device.model}, {gigabytes(device.memory.total)} memory, {bf16}")
    console.print(
        f"cores {machine.cores}, RAM {gigabytes(machine.ram_total)} ({gigabytes(machine.ram_available)} free)"
    )
    console.print(f"disk {gigabytes(machine.disk_free)} free for {outputs}", markup=False)
    console.print(
        f"torch {machine.torch}, computing in {choose_precision(machine.best.name).transformer}".replace("torch.", "")
    )
    for line in attention_lines(machine):
        console.print(line, markup=False)
    console.print(f"untrusted files are read by a process {confinement(left_open())}")
    console.print()
    console.print("[green]mini[/]: runs here, on any CPU")
    console.print(f"framepack, framepack-f1 (13 B): {verdict_13b(machine)}")
    console.print(f"{TERRITORIES}.")
    missing = sorted({row.variant for row in list_models(source) if not row.complete})
    if missing:
        console.print(f"not downloaded: {', '.join(missing)} (framepack models download NAME)")


def attention_lines(machine: Machine) -> Iterator[str]:
    """What computes attention, and in what on cards that are too old for bf16."""
    here = [name for name in PACKAGES if installed(name)]
    yield "attention: PyTorch's own" + ("" if here else f"; {', '.join(PACKAGES)} are not installed, and not needed")
    for name in here:
        yield f"attention: {name} is installed; {WHEN[name]} (--attention {name})"
    for device in machine.devices:
        if device.name.startswith("cuda") and not device.bf16:
            yield (
                f"{device.name} has no bfloat16: attention runs in float16, large values scaled to its range, the rest "
                "of the transformer in bfloat16, emulated; encoders and VAE in float16, as on every card"
            )


def confinement(left: Sequence[str]) -> str:
    """What the process that decodes uploads is kept from, and what this system cannot keep it from."""
    if not left:
        return "that can reach nothing else"
    why = "that takes user namespaces and Landlock, which Linux has from 6.7 on and containers often switch off"
    return f"with limits, but not kept from {', '.join(left)}: {why}"


def verdict_13b(machine: Machine) -> str:
    """One sentence on the 13 B models, with the device that is taken where nobody names one."""
    first = min(machine.devices, key=lambda device: (device.name == "cpu", device.name))
    said, most = _verdict(first, machine.ram_available), machine.best
    return said if most == first else f"{said}; more memory is free on --device {most.name}"


def _verdict(best: Device, room: int) -> str:
    if best.name == "cpu" and which("nvidia-smi") and not torch.backends.cuda.is_built():
        return "there is an NVIDIA card here, but this torch is built for CPUs: install the one for it (pytorch.org)"
    if best.name == "cpu":
        return "need a GPU with 4 GB or more; on this CPU a video would take days"
    if best.memory.free > RESIDENT_VRAM:
        return f"run on {best.name} with everything resident"
    if best.memory.free < LEAST_VRAM:
        return f"{best.name} has {gigabytes(best.memory.free)} free, at least {gigabytes(LEAST_VRAM)} are needed"
    if room < STEP_BYTES:
        faster = f"{gigabytes(room)} RAM is free, {gigabytes(STEP_BYTES)} would be faster"
        return f"run on {best.name}, streamed from disk: {faster}"
    return f"run on {best.name}, blocks streamed from RAM where they do not fit"


def gigabytes(size: float) -> str:
    """25.8 GB, 12.3 MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
