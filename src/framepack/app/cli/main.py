"""The command line. Parses, shows, and turns errors into one sentence; torch loads only when a command needs it."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack import __version__
from framepack.app.cli.batch import batch
from framepack.app.cli.check import check_files
from framepack.app.cli.editors import export
from framepack.app.cli.files import extract, inspect
from framepack.app.cli.finish import convert, finish
from framepack.app.cli.jobs import jobs_app
from framepack.app.cli.machine import machine_of
from framepack.app.cli.presets import presets_app
from framepack.app.cli.request import EDITS, NOT_PLANNED, PLAN, Preset, given, request_of, with_fields
from framepack.app.cli.run import run
from framepack.app.cli.service import serve
from framepack.app.cli.sign import sign
from framepack.app.cli.stills import still, storyboard
from framepack.app.cli.train import evaluate, train_app
from framepack.spec.machine import MachineOptions
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS, Task

if TYPE_CHECKING:
    from framepack.weights.sources import ModelSource

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
models_app = typer.Typer(no_args_is_help=True, help="List, download and check models.")
app.add_typer(models_app, name="models")
app.command()(serve)
app.command()(batch)
app.command(epilog=EDITS)(still)
app.command(epilog=EDITS)(storyboard)
app.command()(extract)
app.command()(inspect)
app.command()(export)
app.command()(finish)
app.command()(convert)
app.command()(sign)
app.add_typer(jobs_app, name="jobs")
app.add_typer(presets_app, name="presets")
app.add_typer(train_app, name="train")
app.command("eval")(evaluate)

ModelsDir = Annotated[
    Path | None,
    typer.Option("--models-dir", help="Folder with the public repositories' layout. [env: FRAMEPACK_MODELS_DIR]"),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the transformer's repository on the hub.")]


OF_TASKS = ("task", "target", "strength")
"""Fields without an option in most of the tasks' commands."""


@app.callback()
def framepack() -> None:
    """Turn a picture and a sentence into a long, coherent video."""


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


Work = Annotated[Path | None, typer.Option(help="Keep the work in this folder. The same command resumes it.")]
Like = Annotated[
    Path | None,
    typer.Option(help="A FramePack video whose settings are used where no option and no --preset sets them."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Says of each section what it looks like, so that drift is seen.")
]


@app.command("plan", help=PLAN, epilog=EDITS)
@app.command(epilog=EDITS)
@with_fields(asked=GenerationRequest, machine=MachineOptions)
def generate(
    context: typer.Context,
    asked: dict[str, Any],
    machine: dict[str, Any],
    work: Work = None,
    like: Like = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            "--from-timeline",
            help="An editing program's timeline (.otio, .otioz, .xml, .fcpxml): markers are keyframes.",
        ),
    ] = None,
    preset: Preset = None,
    verbose: Verbose = False,
) -> None:
    """Make a video from IMAGE."""
    make(context, asked, machine, work, like, preset, timeline=timeline, verbose=verbose)


def add_command(task: Task, help_text: str, own: Collection[str] = (), **arguments: str) -> None:
    """A command of a task's own. own: fields that it has and others have not. arguments: what its files are called."""

    @app.command(TASKS[task].command, help=help_text, epilog=EDITS)
    @with_fields({*OF_TASKS} - {*own}, arguments, asked=GenerationRequest, machine=MachineOptions)
    def command(
        context: typer.Context,
        asked: dict[str, Any],
        machine: dict[str, Any],
        work: Work = None,
        like: Like = None,
        preset: Preset = None,
        verbose: Verbose = False,
    ) -> None:
        make(context, {"task": task, **asked}, machine, work, like, preset, verbose=verbose)


COUNTED = "--seconds and all times count the new part."
add_command("extend", f"Make what follows the video CLIP, which stays before it. {COUNTED}", image="CLIP")
add_command("lead_in", f"Make what led to the video CLIP, which stays behind it. {COUNTED}", image="CLIP")
add_command(
    "bridge", f"Make what lies between A and B, videos or pictures. {COUNTED}", ["target"], image="A", target="B"
)
add_command("loop", "Make a video of IMAGE that ends where it starts.")
add_command(
    "restyle",
    "Make the video CLIP anew from a prompt; --strength says how far it leaves it.",
    ["strength"],
    image="CLIP",
)


def make(
    context: typer.Context,
    asked: dict[str, Any],
    machine: dict[str, Any],
    work: Path | None,
    like: Path | None,
    preset: str | None,
    *,
    timeline: Path | None = None,
    verbose: bool = False,
) -> None:
    """The video of a command's options, or its plan."""
    planned = context.info_name == "plan"
    if (
        "image" not in asked
        and like is timeline is None
        and not (planned and asked.get("width") and asked.get("height"))
    ):
        either = ", or --width and --height" if planned else ""
        what = "video to work on" if TASKS[asked.get("task", "image")].clips else "picture to start from"
        raise typer.BadParameter(f"name the {what}{either}.")
    # a plan's limit describes a GPU where there is none
    options = machine_of(machine, MachineOptions, pretended=planned and "vram_limit" in machine)
    request = request_of(asked, like, preset, timeline)
    if planned:
        from framepack.app.cli.plan import run as show_plan

        raise typer.Exit(show_plan(request, options, given(context, NOT_PLANNED)))
    check_files(request, work, options)
    try:
        from framepack.app.cli.generate import run
    except KeyboardInterrupt:
        print("framepack: stopped, nothing was made yet", file=sys.stderr)
        raise typer.Exit(130) from None

    raise typer.Exit(run(request, work, options, verbose=verbose))


@models_app.command("list")
def models_list(models_dir: ModelsDir = None) -> None:
    """What each model needs, and what of it is here."""
    from framepack.app.cli.models import list_command

    list_command(source(models_dir))


@models_app.command("download")
def models_download(
    model: Annotated[str, typer.Argument(help="framepack or framepack-f1.")],
    models_dir: ModelsDir = None,
    revision: Revision = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Fetch a model from the hub; a download that broke off goes on."""
    from framepack.app.cli.models import download_command

    download_command(model, source(models_dir, revision), confirm=not yes)


@models_app.command("verify")
def models_verify(
    model: Annotated[str, typer.Argument(help="The model to check.")],
    models_dir: ModelsDir = None,
    revision: Revision = None,
) -> None:
    """Read every file of a model: against its checksum, or, where none is known, for what looks damaged."""
    from framepack.app.cli.models import verify_command

    raise typer.Exit(verify_command(model, source(models_dir, revision)))


@app.command()
def doctor(models_dir: ModelsDir = None) -> None:
    """Show what this machine can run."""
    from framepack.app.cli.models import doctor_command
    from framepack.app.settings import Settings

    doctor_command(Settings.from_environment().outputs, source(models_dir))


def source(models_dir: Path | None, revision: str | None = None) -> "ModelSource":
    """Where to look for models: the option, else the environment."""
    from framepack.app.settings import Settings
    from framepack.weights.sources import ModelSource

    return ModelSource(models_dir=models_dir or Settings.from_environment().models_dir, revision=revision)


def main() -> None:
    """Entry point."""
    run(typer.main.get_command(app))
