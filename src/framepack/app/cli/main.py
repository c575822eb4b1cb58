"""The command line. Parses, shows, and turns errors into one sentence; torch loads only when a command needs it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack import __version__
from framepack.app.cli.batch import batch
from framepack.app.cli.files import extract, inspect
from framepack.app.cli.jobs import jobs_app
from framepack.app.cli.presets import presets_app
from framepack.app.cli.request import EDITS, NOT_PLANNED, PLAN, request_of, with_request
from framepack.app.cli.run import run
from framepack.app.cli.service import (
    Attention,
    Dtype,
    Offline,
    Preserve,
    Preset,
    RamLimit,
    VramLimit,
    checked_limits,
    given,
    serve,
)
from framepack.app.cli.train import evaluate, train_app
from framepack.spec.request import GenerationRequest

if TYPE_CHECKING:
    from framepack.weights.sources import ModelSource

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
models_app = typer.Typer(no_args_is_help=True, help="List, download and check models.")
app.add_typer(models_app, name="models")
app.command()(serve)
app.command()(batch)
app.command()(extract)
app.command()(inspect)
app.add_typer(jobs_app, name="jobs")
app.add_typer(presets_app, name="presets")
app.add_typer(train_app, name="train")
app.command("eval")(evaluate)

ModelsDir = Annotated[
    Path | None,
    typer.Option("--models-dir", help="Folder with the public repositories' layout. [env: FRAMEPACK_MODELS_DIR]"),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the transformer's repository on the hub.")]


@app.callback()
def framepack() -> None:
    """Turn a picture and a sentence into a long, coherent video."""


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command("plan", help=PLAN, epilog=EDITS)
@app.command(epilog=EDITS)
@with_request(GenerationRequest)
def generate(
    context: typer.Context,
    asked: dict[str, Any],
    dtype: Dtype = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    attention: Attention = "auto",
    vram_limit: VramLimit = None,
    ram_limit: RamLimit = None,
    preserve: Preserve = None,
    vae_tiling: Annotated[
        str, typer.Option(help="VAE tiles, which leave faint seams: never, allow (where nothing else fits) or always.")
    ] = "never",
    work: Annotated[
        Path | None, typer.Option(help="Keep the work in this folder; the same command goes on from there.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="A FramePack video whose settings hold where no option, and no --preset, says otherwise."),
    ] = None,
    preset: Preset = None,
    models_dir: ModelsDir = None,
    revision: Revision = None,
    offline: Offline = False,
) -> None:
    """Make a video from IMAGE."""
    from framepack.spec.attention import require_attention

    planned = context.info_name == "plan"
    if "image" not in asked and like is None and not (planned and asked.get("width") and asked.get("height")):
        either = ", or --width and --height" if planned else ""
        raise typer.BadParameter(f"name the picture to start from{either}.")
    limits = {"vram_limit": vram_limit, "ram_limit": ram_limit, "preserve": preserve}
    if not (planned and vram_limit):  # a plan's limit describes a GPU where there is none
        checked_limits([device], **limits)
    require_attention(attention)
    request = request_of(asked, like, preset)
    where = {"dtype": dtype, "device": device, "models_dir": models_dir, "revision": revision, "offline": offline}
    machine = {**where, **limits, "attention": attention, "vae_tiling": vae_tiling}
    if planned:
        from framepack.app.cli.plan import run as tell

        raise typer.Exit(tell(request, machine, given(context, NOT_PLANNED)))
    check_files(request, work, models_dir, revision)
    try:
        from framepack.app.cli.generate import run
    except KeyboardInterrupt:
        print("framepack: stopped, nothing was made yet", file=sys.stderr)
        raise typer.Exit(130) from None

    raise typer.Exit(run(request, work, machine))


def check_files(request: GenerationRequest, work: Path | None, models_dir: Path | None, revision: str | None) -> None:
    """ValueError for a file that is missing, wrong or in the way: told at once, as torch takes seconds to load."""
    from framepack.app.service.models_here import not_here
    from framepack.app.settings import Settings
    from framepack.files.atomic import require_new
    from framepack.media.edit import edited
    from framepack.media.image import load_image
    from framepack.media.source import open_source

    if missing := not_here(request.model, models_dir or Settings.from_environment().models_dir, revision):
        raise ValueError(missing)
    for picture in request.pictures.values():
        edited(load_image(picture.file), picture)
    for wanted in request.loras:
        with open_source(wanted.file):
            pass
    output = request.output
    if output.path is not None and not output.overwrite and (work is None or not work.exists()):
        require_new(output.path)


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
    """Tell what this machine can run."""
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
