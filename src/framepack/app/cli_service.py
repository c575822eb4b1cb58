"""`framepack serve` and `framepack batch`: commands that work on the queue, or leave it to the service that does."""

import math
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from framepack.app.cli_jobs import Outputs, folders_of, line, open_store

if TYPE_CHECKING:
    from framepack.jobs.job import Job
    from framepack.jobs.pool import Crew
    from framepack.jobs.rerun import Rerun
    from framepack.jobs.store import JobStore

Device = Annotated[list[str] | None, typer.Option("--device", help="auto, cpu, cuda:0 ...; one worker each.")]
ModelsDir = Annotated[Path | None, typer.Option("--models-dir", help="Folder with the models.")]
InProcess = Annotated[bool, typer.Option("--in-process", help="Work in a thread: simpler, but a crash ends it all.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network.")]
Preset = Annotated[
    str | None, typer.Option(help="Name of a preset; its settings hold where nothing else says otherwise.")
]
Preserve = Annotated[str | None, typer.Option(help="GPU memory to leave free for the work itself, such as 6GB.")]
Attention = Annotated[
    Literal["auto", "sdpa", "sdpa-chunked", "flash-attn", "sage", "xformers"],
    typer.Option(help="What computes attention; the last three where installed."),
]
VaeTiling = Annotated[
    Literal["never", "allow", "always"],
    typer.Option("--vae-tiling", help="VAE tiles, which leave faint seams; allow: where nothing else fits."),
]
VRAM_LIMIT = (
    "Use no more GPU memory than this, such as 6GB. Without a GPU: `plan` is for one of this size; work passes its "
    "weights through so much RAM as if it were one, which saves nothing and is for tests."
)
RAM_LIMIT = "Use no more RAM for weights; others stay on disk."
LIMITS = ("vram_limit", "ram_limit")
OF_WORKERS = ("device", "models_dir", "dtype", "attention", "vae_tiling", "offline", "in_process", *LIMITS)
"""Options of `batch` that mean nothing where another service does the work."""
LOOK_AGAIN = 3.0
"""Seconds between looks whether the service that does a batch's work has ended."""
TARGET = "framepack.app.worker_target:make_generator"


def crew_of(
    device: list[str] | None, models_dir: Path | None, *, in_process: bool, limits: "dict[str, str]", **common: object
) -> "Crew":
    """One worker for each device. `limits` are sizes by the name of their option, `common` other settings."""
    from framepack.app.settings import Settings
    from framepack.jobs.pool import Crew

    models = models_dir or Settings.from_environment().models_dir
    if models is not None and not models.is_dir():
        raise ValueError(f"{models} is not a folder: --models-dir must name one that holds models")
    common |= {"models_dir": str(models.absolute()) if models else None, **limits}
    workers = [{**common, "device": name} for name in device or ["auto"]]
    return Crew(target=TARGET, workers=workers, in_process=in_process)


def checked_limits(device: list[str] | None, **limits: str | None) -> "dict[str, str]":
    """The limits that were given; ValueError for what is no size, or can mean nothing here."""
    given = {name: size for name, size in limits.items() if size}
    if not given:
        return {}
    from framepack.app.machine import has_gpu
    from framepack.memory.budget import parse_bytes

    for size in given.values():
        parse_bytes(size)
    if "preserve" in given and not has_gpu(device or ["auto"]):
        raise ValueError("there is no GPU here, so there is no GPU memory to leave free: leave out --preserve")
    return given


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; other than this machine's own needs --auth.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535)] = 7860,
    auth: Annotated[str | None, typer.Option(help="USER:PASSWORD, or @FILE that has it.")] = None,
    i_know: Annotated[bool, typer.Option("--i-know", help="Let everyone in who can reach the address.")] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="A further name the service is reached by.")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Without: only the HTTP API.")] = True,
    outputs: Outputs = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    dtype: Dtype = "auto",
    vram_limit: Annotated[str | None, typer.Option(help=VRAM_LIMIT)] = None,
    ram_limit: Annotated[str | None, typer.Option(help=RAM_LIMIT)] = None,
    preserve: Preserve = None,
    attention: Attention = "auto",
    vae_tiling: VaeTiling = "never",
    offline: Offline = False,
    in_process: InProcess = False,
) -> None:
    """Run the job service with its page and HTTP API until Ctrl-C. Running jobs go on from there the next time."""
    try:
        from framepack.app.server import Address, access_of, run_server
    except ModuleNotFoundError as error:
        raise ValueError(f"serving needs {error.name}: pip install 'framepack[server]'") from error
    address = Address(host=host, port=port, auth=auth, i_know=i_know, allow_host=tuple(allow_host or ()))
    access_of(address)
    if i_know and (auth or address.local):
        print("note: --i-know has no effect: only those who may are let in anyway")
    limits = checked_limits(device, vram_limit=vram_limit, ram_limit=ram_limit, preserve=preserve)
    common = {"dtype": dtype, "offline": offline, "attention": attention, "vae_tiling": vae_tiling}
    crew = crew_of(device, models_dir, in_process=in_process, limits=limits, **common)
    run_server(folders_of(outputs), crew, address, print, page=page)


def batch(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A folder of pictures, a .txt of prompts, a .jsonl or a .csv.")],
    setting: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE for all, such as steps=20.")] = None,
    grid: Annotated[list[str] | None, typer.Option(help="NAME=V,V,... or NAME=1..4: all combinations.")] = None,
    preset: Preset = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check and list.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Make everything anew, whatever is there already.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Only queue; a service does the work.")] = False,
    outputs: Outputs = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    dtype: Dtype = "auto",
    vram_limit: Annotated[str | None, typer.Option(help=VRAM_LIMIT)] = None,
    ram_limit: Annotated[str | None, typer.Option(help=RAM_LIMIT)] = None,
    preserve: Preserve = None,
    attention: Attention = "auto",
    vae_tiling: VaeTiling = "never",
    offline: Offline = False,
    in_process: InProcess = False,
) -> None:
    """Make many videos, and a contact sheet of them.

    One Ctrl-C stops: `framepack serve`, or the same command again, goes on with the jobs. Run once more it makes what
    is new in the batch, tries again what failed, and leaves what it has made.
    """
    from framepack.app.cli_request import presets_of
    from framepack.app.paths import adopt, check_files, check_output
    from framepack.app.settings import Settings
    from framepack.jobs.batch import (
        batch_name,
        leaves,
        make_requests,
        parse_grid,
        parse_setting,
        put,
        settings_of_grid,
    )
    from framepack.jobs.batch_files import read_batch, unused
    from framepack.jobs.rerun import find_rerun
    from framepack.spec.picture import Picture
    from framepack.spec.plan import delivery
    from framepack.spec.request import GenerationRequest
    from framepack.spec.unheeded import unheeded
    from framepack.spec.unknown import unknown_in

    own = given(context, OF_WORKERS)
    if detach and own:
        raise ValueError(f"leave out {', '.join(own)} with --detach: the service that does the work has its own")
    defaults: dict[str, object] = {} if preset is None else {"preset": preset}
    for text in setting or []:
        put(defaults, *parse_setting(text))
    choices = [parse_grid(text) for text in grid or []]
    varied = set[str]().union(*map(settings_of_grid, choices))
    if both := sorted(varied.intersection(leaves(defaults))):
        raise ValueError(f"{both[0]} is given for all and in --grid: keep one of the two")
    items = read_batch(source, defaults)
    if ignored := unused(defaults, items):
        print(f"note: {', '.join(ignored)} for all has no effect: each item of {source} has its own", file=sys.stderr)
    if replaced := sorted(name for name in varied if any(name in item.own for item in items)):
        print(f"note: {', '.join(replaced)} of {source} gives way to --grid", file=sys.stderr)
    looked: set[Picture] = set()

    def make(data: dict[str, Any]) -> GenerationRequest:
        request = GenerationRequest.model_validate(data)
        check_files(request, looked)
        return request

    presets = presets_of(outputs)
    requests, labels = make_requests(items, choices, resolve=partial(presets.resolve, paths=True), make=make)
    if (same := len(requests) - len({request.model_dump_json() for request in requests})) > 0:
        print(f"note: {same} of {len(requests)} videos are the same as others: change a setting", file=sys.stderr)
    if dry_run:
        models = models_dir or Settings.from_environment().models_dir
        for label, request in zip(labels, requests, strict=True):
            check_output(request)
            told = f"{request.model}, {delivery(request)}, seed {request.seed}, {request.prompt[:60]!r}"
            print(f"{label or source.name}: {told}")
            for note in (*unheeded(request), *unknown_in(request, models)):
                print(f"{label}  note: {note}")
        if others := given(context, (*OF_WORKERS, "preserve", "again", "detach")):
            print(f"note: {', '.join(others)} would be heeded without --dry-run, which only checks and lists")
        return
    limits = checked_limits(device, vram_limit=vram_limit, ram_limit=ram_limit)
    machine = left_free(checked_limits(device, preserve=preserve).get("preserve"))
    folders = folders_of(outputs)
    store = open_store(folders)
    adopted = [adopt(request, folders) for request in requests]
    rerun = None if again else find_rerun(store, source.stem, adopted)
    known = rerun.jobs if rerun else {}
    new = [place for place in range(len(adopted)) if place not in known]
    for place in new:
        check_output(adopted[place])
    name = rerun.name if rerun else batch_name(source.stem)
    if rerun:
        print(going_on(rerun, len(new)))
    old = rerun.take_up(store, machine) if rerun else []
    some, titles = [adopted[place] for place in new], [labels[place] for place in new]
    jobs = store.submit(some, batch=name, labels=titles, machine=machine)
    if not rerun:
        print(f"queued {len(jobs)} jobs as batch {name}")
    if not detach:
        common = {"dtype": dtype, "offline": offline, "attention": attention, "vae_tiling": vae_tiling}
        crew = crew_of(device, models_dir, in_process=in_process, limits=limits, **common)
        work_off(store, [*old, *jobs], name, outputs, crew, own)


def going_on(rerun: "Rerun", new: int) -> str:
    """What becomes of a batch that is run once more, in a line."""
    counts = {
        "made already": len(rerun.having("done")),
        "under way": len(rerun.having("queued", "running", "paused")),
        "tried again": len(rerun.having("failed", "cancelled")),
        "new": new,
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"batch {rerun.name} goes on: {said}; with --again everything is made anew"


def left_free(size: str | None) -> "dict[str, Any]":
    """What a job is told of the GPU memory to leave free."""
    if size is None:
        return {}
    from framepack.app.machine import preserving
    from framepack.memory.budget import parse_bytes

    return preserving(parse_bytes(size) / 1e9, gpu=True)


def given(context: typer.Context, names: tuple[str, ...]) -> list[str]:
    """The options of these names that someone gave, as they are typed."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [f"--{name.replace('_', '-')}" for name, source in sources.items() if source and source.name != "DEFAULT"]


def work_off(
    store: "JobStore", jobs: "list[Job]", name: str, outputs: Path | None, crew: "Crew", own: list[str]
) -> None:
    """Do a batch's jobs here, or watch the service that has the queue do them; then show what came of them.

    own: options that a service that runs does not heed.
    """
    from framepack.app.service import Service
    from framepack.app.sheets import make_sheet
    from framepack.jobs.lock import Busy

    folders, asked, told = folders_of(outputs), {job.id for job in jobs}, False
    waiting = set(asked)
    try:
        while waiting:
            try:
                working = Service(folders, crew, patience=0.5)
            except Busy:
                if not told:
                    instead = f", with its own {', '.join(own)} instead of yours" if own else ""
                    print(f"a service is running and does the work{instead}; Ctrl-C only ends this watching")
                told = True
                watch(store, name, waiting, seconds=LOOK_AGAIN)
                continue
            with working:
                if told:
                    print("that service has ended; the work goes on here")
                watch(store, name, waiting)
    except KeyboardInterrupt:
        print(f"stopped; the same command, or `framepack serve`, goes on with the unfinished jobs of {name}")
        raise typer.Exit(130) from None
    sheet = make_sheet(store, folders, name)
    if sheet:
        print(f"contact sheet: {sheet}")
    if any(job.status != "done" for job in store.jobs(batch=name, limit=-1) if job.id in asked):
        raise typer.Exit(1)


def watch(store: "JobStore", batch: str, waiting: set[str], seconds: float = math.inf) -> None:
    """Print each of the `waiting` jobs of a batch as it ends, is held, or is deleted by someone, and take it out.

    A job that cannot begin is told once for each reason. seconds: after so long the rest is left waiting.
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
                for said in now[name].progress.notices:
                    print(f"{name}  note: {said}")
            elif now[name].reason and now[name].reason != reasons.get(name):
                reasons[name] = now[name].reason
                print(line(now[name]))
