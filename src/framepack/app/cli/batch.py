"""`framepack batch`: many videos by the queue, here or by the service that has it, and a contact sheet of them."""

import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.app.cli.jobs import Outputs, folders_of, line, open_store
from framepack.app.cli.machine import machine_of, pool_config, typed
from framepack.app.cli.request import Preset, given, with_fields
from framepack.spec.machine import ServiceOptions, parse_bytes

if TYPE_CHECKING:
    from framepack.jobs.folders import Folders
    from framepack.jobs.job import Job
    from framepack.jobs.pool import PoolConfig
    from framepack.jobs.rerun import Rerun
    from framepack.jobs.store import JobStore
    from framepack.spec.picture import Picture
    from framepack.spec.request import GenerationRequest

CHECK_INTERVAL = 3.0
"""Seconds between checks whether the service that runs a batch's jobs has ended."""


@with_fields(machine=ServiceOptions)
def batch(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A folder of pictures, a .txt of prompts, a .jsonl or a .csv.")],
    setting: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE for all, such as steps=20.")] = None,
    grid: Annotated[list[str] | None, typer.Option(help="NAME=V,V,... or NAME=1..4: all combinations.")] = None,
    preset: Preset = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check and list.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Make all videos again, finished ones too.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Only queue; a service does the work.")] = False,
    outputs: Outputs = None,
    *,
    machine: dict[str, Any],
) -> None:
    """Make many videos, and a contact sheet of them.

    One Ctrl-C stops: `framepack serve`, or the same command again, resumes the jobs. Run again it makes what is new in
    the batch, retries what failed, and keeps what is finished.
    """
    from framepack.app.service.models_here import not_here

    own = typed(name for name in machine if name != "preserve")
    if detach and own:
        raise ValueError(f"leave out {', '.join(own)} with --detach: the service that does the work has its own")
    wanted = wanted_of(source, setting or [], grid or [], preset, outputs)
    options = machine_of(machine, ServiceOptions)
    models = options.models_dir
    missing = dict.fromkeys(filter(None, (not_here(request.model, models) for request in wanted.requests)))
    for note in missing if dry_run or detach else ():
        print(f"note: {note}", file=sys.stderr)
    if dry_run:
        print_batch(wanted, source, models)
        if others := [*typed(machine), *given(context, ("again", "detach"))]:
            print(f"note: {', '.join(others)} would have an effect without --dry-run, which only checks and lists")
        return
    config = pool_config(options.model_copy(update={"preserve": None}))  # it is the jobs' own
    folders = folders_of(outputs)
    if missing and not detach and not is_served(folders):  # a service that does the work may have it elsewhere
        raise ValueError(next(iter(missing)))
    store = open_store(folders)
    name, jobs = put_in_queue(store, folders, wanted, source.stem, left_free(options.preserve), again=again)
    if not detach:
        run_jobs(store, jobs, name, outputs, config, own)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The videos of a batch: requests, their labels, and the sizes of the pictures that were checked."""

    requests: "list[GenerationRequest]"
    labels: list[str]
    sizes: "dict[Picture, tuple[int, int]]"


def wanted_of(source: Path, setting: list[str], grid: list[str], preset: str | None, outputs: Path | None) -> Wanted:
    """What a source makes with --set, --grid and --preset; ValueError, with its row, for what cannot be."""
    from framepack.app.cli.request import presets_of
    from framepack.app.service.paths import check_files
    from framepack.jobs.batch import make_requests
    from framepack.jobs.batch_files import read_batch, unused
    from framepack.jobs.fields import field_names, parse_setting, set_field
    from framepack.jobs.grid import grid_fields, parse_grid
    from framepack.spec.request import GenerationRequest

    defaults: dict[str, object] = {} if preset is None else {"preset": preset}
    for text in setting:
        set_field(defaults, *parse_setting(text))
    choices = [parse_grid(text) for text in grid]
    varied = set[str]().union(*map(grid_fields, choices))
    if both := sorted(varied.intersection(field_names(defaults))):
        raise ValueError(f"{both[0]} is given for all and in --grid: keep one of the two")
    items = read_batch(source, defaults)
    if ignored := unused(defaults, items):
        print(f"note: {', '.join(ignored)} for all has no effect: each item of {source} has its own", file=sys.stderr)
    if replaced := sorted(name for name in varied if any(name in item.own_fields for item in items)):
        print(f"note: {', '.join(replaced)} of {source} gives way to --grid", file=sys.stderr)
    sizes: dict[Picture, tuple[int, int]] = {}

    def make(data: dict[str, Any]) -> GenerationRequest:
        request = GenerationRequest.model_validate(data)
        check_files(request, sizes)
        return request

    presets = presets_of(outputs)
    requests, labels = make_requests(items, choices, resolve=partial(presets.resolve, paths=True), make=make)
    if (same := len(requests) - len({request.model_dump_json() for request in requests})) > 0:
        print(f"note: {same} of {len(requests)} videos are the same as others: change a setting", file=sys.stderr)
    return Wanted(requests=list(requests), labels=list(labels), sizes=sizes)


def print_batch(wanted: Wanted, source: Path, models: Path | None) -> None:
    """Each video in a line, and what of it has no effect. ValueError for a file that is in the way."""
    from framepack.app.service.paths import check_files, check_output
    from framepack.spec.ignored import ignored_settings
    from framepack.spec.plan import delivery
    from framepack.spec.unknown import unknown_in

    for label, request in zip(wanted.labels, wanted.requests, strict=True):
        check_output(request)
        line = f"{request.model}, {delivery(request)}, seed {request.seed}, {request.prompt[:60]!r}"
        print(f"{label or source.name}: {line}")
        for note in (*ignored_settings(request), *unknown_in(request, models), *check_files(request, wanted.sizes)):
            print(f"{label}  note: {note}")


def put_in_queue(
    store: "JobStore", folders: "Folders", wanted: Wanted, stem: str, machine: dict[str, Any], *, again: bool
) -> "tuple[str, list[Job]]":
    """Queue what is new in the batch, and again what an earlier run left unfinished; its name and these jobs."""
    from framepack.app.service.paths import adopt, check_output
    from framepack.jobs.batch import batch_name
    from framepack.jobs.rerun import find_rerun

    adopted = [adopt(request, folders) for request in wanted.requests]
    rerun = None if again else find_rerun(store, stem, adopted)
    known = rerun.jobs if rerun else {}
    new = [place for place in range(len(adopted)) if place not in known]
    for place in new:
        check_output(adopted[place])
    name = rerun.name if rerun else batch_name(stem)
    if rerun:
        print(rerun_summary(rerun, len(new)))
    old = rerun.requeue(store, machine) if rerun else []
    some, titles = [adopted[place] for place in new], [wanted.labels[place] for place in new]
    jobs = store.submit(some, batch=name, labels=titles, machine=machine)
    if not rerun:
        print(f"queued {len(jobs)} jobs as batch {name}")
    return name, [*old, *jobs]


def is_served(folders: "Folders") -> bool:
    """Whether a service has the queue."""
    from framepack.files.lock import Busy, QueueLock

    try:
        QueueLock(folders.home / "service.lock", patience=0.0).close()
    except Busy:
        return True
    return False


def rerun_summary(rerun: "Rerun", new: int) -> str:
    """The jobs of a batch that is run again, in a line."""
    counts = {
        "finished": len(rerun.with_status("done")),
        "in progress": len(rerun.with_status("queued", "running", "paused")),
        "retried": len(rerun.with_status("failed", "cancelled")),
        "new": new,
    }
    numbers = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"batch {rerun.name} resumes: {numbers}; --again makes all its videos again"


def left_free(size: str | None) -> "dict[str, Any]":
    """A job's machine settings for GPU memory to leave free."""
    if size is None:
        return {}
    from framepack.app.machine import preserving

    return preserving(parse_bytes(size) / 1e9, gpu=True)


def run_jobs(
    store: "JobStore", jobs: "list[Job]", name: str, outputs: Path | None, config: "PoolConfig", own: list[str]
) -> None:
    """Run a batch's jobs here, or wait for the service that has the queue; then print the results.

    own: options that have no effect on a service that runs already.
    """
    from framepack.app.service.job_service import Service
    from framepack.app.service.sheets import make_sheet
    from framepack.files.lock import Busy

    folders, ids, served = folders_of(outputs), {job.id for job in jobs}, False
    waiting = set(ids)
    try:
        while waiting:
            try:
                service = Service(folders, config, patience=0.5)
            except Busy:
                if not served:
                    instead = f", with its own {', '.join(own)} instead of yours" if own else ""
                    print(f"a running service does the work{instead}; Ctrl-C only stops waiting for it")
                served = True
                wait_for(store, name, waiting, seconds=CHECK_INTERVAL)
                continue
            with service:
                if served:
                    print("that service has ended; the work continues here")
                wait_for(store, name, waiting)
    except KeyboardInterrupt:
        print(f"stopped; the same command, or `framepack serve`, resumes the unfinished jobs of {name}")
        raise typer.Exit(130) from None
    sheet = make_sheet(store, folders, name)
    if sheet:
        print(f"contact sheet: {sheet}")
    if any(job.status != "done" for job in store.jobs(batch=name, limit=-1) if job.id in ids):
        raise typer.Exit(1)


def wait_for(store: "JobStore", batch: str, waiting: set[str], seconds: float = math.inf) -> None:
    """Print each of the `waiting` jobs of a batch when it ends, is paused or is deleted, and remove it from the set.

    Prints once each reason why a job cannot start. seconds: how long to wait at most.
    """
    end, reasons = time.monotonic() + seconds, dict[str, str]()
    while waiting and time.monotonic() < end:
        time.sleep(0.3)
        now = {job.id: job for job in store.jobs(batch=batch, limit=-1)}
        for name in sorted(waiting):
            if name not in now:
                waiting.discard(name)
                print(f"{name} was deleted")
            elif now[name].status not in ("queued", "running") and now[name].waits_for is None:
                waiting.discard(name)
                print(line(now[name]), *now[name].outputs)
                for note in now[name].progress.notices:
                    print(f"{name}  note: {note}")
            elif now[name].reason and now[name].reason != reasons.get(name):
                reasons[name] = now[name].reason
                print(line(now[name]))
