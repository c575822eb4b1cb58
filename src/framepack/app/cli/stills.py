"""`framepack still` and `framepack storyboard`: single frames, before a long run."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.app.cli.batch import is_served, run_jobs
from framepack.app.cli.check import check_files
from framepack.app.cli.jobs import Outputs, folders_of, open_store
from framepack.app.cli.machine import machine_of, pool_config, typed
from framepack.app.cli.request import Preset, request_of, with_fields
from framepack.spec.finish import Finish
from framepack.spec.machine import MachineOptions, ServiceOptions
from framepack.spec.output import Compression, Timing
from framepack.spec.request import GenerationRequest

if TYPE_CHECKING:
    from framepack.jobs.job import Job
    from framepack.spec.storyboard import Panel

OF_FILES = tuple(f"output.{name}" for name in (*Compression.model_fields, *Timing.model_fields, "fps", "live"))
"""Fields that say how a video's file is written."""
STEPS = tuple(f"finish.{name}" for name in Finish.model_fields)
TASKED = ("task", "target", "strength", "seconds", "length", "frames", "end_frame", "prompts", "blend", "guard")
OF_VIDEOS = (*TASKED, *OF_FILES, *STEPS)
"""Fields that a still has no use for."""
OWN = ("--approve", "--outputs")
"""Options of `storyboard` that `generate` has not."""


@with_fields(without=OF_VIDEOS, asked=GenerationRequest, machine=MachineOptions)
def still(
    asked: dict[str, Any],
    machine: dict[str, Any],
    index: Annotated[
        int | None,
        typer.Option(help="How far from IMAGE it lies, in latents of four frames: 1 changes little. [default: 9]"),
    ] = None,
    at: Annotated[float | None, typer.Option(help="The same in seconds of a video.")] = None,
    whole: Annotated[
        bool, typer.Option("--context/--no-context", help="Leave a video's other sections as empty places.")
    ] = True,
    preset: Preset = None,
) -> None:
    """Make one frame from IMAGE, a PNG."""
    if "image" not in asked:
        raise typer.BadParameter("name the picture to start from.")
    options = machine_of(machine, MachineOptions)
    asked = {**asked, "still": {"index": index, "at": at, "context": whole}}
    asked["output"] = {**asked.get("output", {}), "format": "png"}
    request = request_of(asked, None, preset)
    check_files(request, None, options)
    from framepack.app.cli.generate import run

    raise typer.Exit(run(request, None, options))


@with_fields(without=OF_FILES, asked=GenerationRequest, machine=ServiceOptions)
def storyboard(
    asked: dict[str, Any],
    machine: dict[str, Any],
    approve: Annotated[
        str, typer.Option(help="Which pictures the printed command has as keyframes, such as 1,3; all by itself.")
    ] = "",
    preset: Preset = None,
    outputs: Outputs = None,
) -> None:
    """Make a picture for each border between the sections of a video, and a contact sheet with their times.

    The same options as `generate`. Prints the command that makes the video through these pictures. Run again, pictures
    that are there are not made again.
    """
    from framepack.app.cli.batch import Wanted, put_in_queue
    from framepack.app.service.models_here import not_here
    from framepack.spec.storyboard import storyboard as panels_of

    if "image" not in asked:
        raise typer.BadParameter("name the picture to start from.")
    options = machine_of(machine, ServiceOptions)
    request = request_of(asked, None, preset)
    panels = panels_of(request)
    wanted = chosen(approve, len(panels))
    check_files(request, Path(), options)
    folders = folders_of(outputs)
    if (missing := not_here(request.model, options.models_dir)) and not is_served(folders):
        raise ValueError(missing)
    batch = Wanted(requests=[one.request for one in panels], labels=[one.label for one in panels], sizes={})
    store = open_store(folders)
    name, jobs = put_in_queue(store, folders, batch, f"storyboard {request.image.file.stem}", {}, again=False)
    if jobs:
        run_jobs(store, jobs, name, outputs, pool_config(options), typed(machine))
    done = store.jobs(batch=name, limit=-1)
    print(command(sys.argv[2:], request.model, [pair for i, pair in enumerate(paired(panels, done), 1) if i in wanted]))


def chosen(approve: str, count: int) -> set[int]:
    """The numbers in --approve, from 1; all where it is empty. Raises ValueError for what is none of them."""
    numbers = {text.strip() for text in approve.split(",") if text.strip()}
    if wrong := sorted(text for text in numbers if not (text.isascii() and text.isdigit() and 1 <= int(text) <= count)):
        raise ValueError(f"--approve takes numbers 1..{count} of the pictures, such as 1,{count}, got {wrong[0]!r}")
    return set(map(int, numbers)) or set(range(1, count + 1))


def paired(panels: "list[Panel]", jobs: "list[Job]") -> list[tuple[float, Path]]:
    """The time and the file of each panel, by the labels of its jobs."""
    files = {job.label: job.outputs[0] for job in jobs if job.status == "done" and job.outputs}
    return [(panel.second, files[panel.label]) for panel in panels if panel.label in files]


def command(typed_arguments: list[str], model: str, keyframes: list[tuple[float, Path]]) -> str:
    """The command that makes the video through the pictures, of the arguments that `storyboard` had."""
    kept: list[str] = []
    skipped = False
    for argument in typed_arguments:
        own = argument.partition("=")[0] in OWN
        if not own and not skipped:
            kept.append(argument)
        skipped = own and "=" not in argument
    named = [] if any(one.partition("=")[0] == "--model" for one in kept) else ["--model", model]
    frames = [part for second, file in keyframes for part in ("--frame", f"{file}@{second:g}")]
    return shlex.join(["framepack", "generate", *kept, *named, *frames])
