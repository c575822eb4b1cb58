"""The command line. Parses, shows, and turns errors into one sentence; torch loads only when a command needs it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framepack import __version__
from framepack.app.cli.batch import batch
from framepack.app.cli.files import extract, inspect
from framepack.app.cli.jobs import jobs_app
from framepack.app.cli.presets import presets_app, save
from framepack.app.cli.request import EDITS, NOT_PLANNED, PLAN, request_of, sharing_options
from framepack.app.cli.run import run
from framepack.app.cli.service import VRAM_LIMIT, Preset, checked_limits, given, serve
from framepack.app.cli.train import evaluate, train_app

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
def generate(
    context: typer.Context,
    image: Annotated[
        str | None,
        typer.Argument(help="The picture to start from: FILE or FILE[EDITS], see the end.", show_default=False),
    ] = None,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What should happen.")] = "",
    negative: Annotated[str, typer.Option(help="What should not; used where --cfg is not 1.")] = "",
    model: Annotated[
        str | None,
        typer.Option(help="mini, mini-f1, framepack or framepack-f1. Without: mini; mini-f1 if longer or with --then."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", "-s", help="Length of the video, see --length. mini: 2.4, else 5.")
    ] = None,
    length: Annotated[
        str | None,
        typer.Option(help="exact: --seconds to the frame; sections: whole ones. mini: exact, else sections."),
    ] = None,
    motion: Annotated[
        float, typer.Option(help="-1..1: less or more movement than the model makes by itself. Tried on mini only.")
    ] = 0.0,
    consistency: Annotated[
        float, typer.Option(help="0..2: how strongly the start picture holds; 1 is neutral. Tried on mini only.")
    ] = 1.0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps a section. mini: 2, else 25.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same video.")] = 31337,
    guidance: Annotated[float, typer.Option(help="Distilled guidance scale.")] = 10.0,
    cfg: Annotated[float, typer.Option(help="Classifier-free guidance; other than 1 doubles the time.")] = 1.0,
    cfg_rescale: Annotated[float, typer.Option(help="Draws cfg's contrast back, 0..1.")] = 0.0,
    window: Annotated[int, typer.Option(help="Latents a section, 1..33; the models were trained with 9.")] = 9,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 16; together with --height.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 16.")] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Side of the square with the video's area. mini: 160, else 640.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="unipc, unipc-bh2, dpm++2m or euler.")] = "unipc",
    shift: Annotated[
        float | None,
        typer.Option(
            help="How far the steps lean towards noise; by the size if not given. Few-step LoRAs want 15..17."
        ),
    ] = None,
    cache: Annotated[str, typer.Option(help="none, teacache or first-block: faster, slightly different.")] = "none",
    cache_threshold: Annotated[
        float | None, typer.Option(help="How much change the cache lets pass; its own default where not given.")
    ] = None,
    frame: Annotated[
        list[str] | None, typer.Option(help="FILE@SECONDS[:STRENGTH], a picture on the way; repeatable.")
    ] = None,
    end_frame: Annotated[str | None, typer.Option(help="FILE[:STRENGTH], the picture to end on.")] = None,
    then: Annotated[list[str] | None, typer.Option(help="SECONDS:TEXT, another prompt from there on.")] = None,
    lora: Annotated[
        list[str] | None, typer.Option(help="FILE[:STRENGTH], a LoRA's .safetensors, strength -4..4; repeatable.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File ending in .mp4, .mkv (lossless), .webm, .gif, .webp or .zip (PNGs)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it is there already.")] = False,
    crf: Annotated[int, typer.Option(help="Compression of mp4, webm and webp, 1..51, smaller is better.")] = 16,
    fps: Annotated[float, typer.Option(help="Frames a second of the file.")] = 30.0,
    mark: Annotated[bool, typer.Option("--mark/--no-mark", help="Say in the file that AI made it.")] = True,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    attention: Annotated[
        str, typer.Option(help="auto, sdpa, sdpa-chunked, or flash-attn, sage, xformers where installed.")
    ] = "auto",
    vram_limit: Annotated[str | None, typer.Option(help=VRAM_LIMIT)] = None,
    ram_limit: Annotated[
        str | None, typer.Option(help="Use no more RAM for weights; the rest is read from disk.")
    ] = None,
    preserve: Annotated[str | None, typer.Option(help="GPU memory to leave free for the work itself.")] = None,
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
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the network.")] = False,
) -> None:
    """Make a video from IMAGE."""
    from framepack.app.service.models_here import not_here
    from framepack.app.settings import Settings
    from framepack.files.atomic import require_new
    from framepack.media.edit import edited
    from framepack.media.image import load_image
    from framepack.media.source import open_source
    from framepack.spec.attention import require_attention

    planned = context.info_name == "plan"  # what the other options say, `request_of` reads: it knows which were given
    if image is None and like is None and not (planned and width and height):
        either = ", or --width and --height" if planned else ""
        raise typer.BadParameter(f"name the picture to start from{either}.")
    if not (planned and vram_limit):  # a plan's limit describes a GPU where there is none
        checked_limits([device], vram_limit=vram_limit, ram_limit=ram_limit, preserve=preserve)
    require_attention(attention)
    request = request_of(context)
    machine = {
        "dtype": dtype,
        "device": device,
        "models_dir": models_dir,
        "revision": revision,
        "offline": offline,
        "attention": attention,
        "vram_limit": vram_limit,
        "ram_limit": ram_limit,
        "preserve": preserve,
        "vae_tiling": vae_tiling,
    }
    if planned:
        from framepack.app.cli.plan import run as tell

        raise typer.Exit(tell(request, machine, given(context, NOT_PLANNED)))
    if missing := not_here(request.model, models_dir or Settings.from_environment().models_dir, revision):
        raise ValueError(missing)
    for picture in request.pictures.values():
        edited(load_image(picture.file), picture)  # a wrong one is told at once: torch takes seconds to load
    for wanted in request.loras:
        with open_source(wanted.file):
            pass
    if output is not None and not overwrite and (work is None or not work.exists()):
        require_new(output)
    try:
        from framepack.app.cli.generate import run
    except KeyboardInterrupt:
        print("framepack: stopped, nothing was made yet", file=sys.stderr)
        raise typer.Exit(130) from None

    raise typer.Exit(run(request, work, machine))


presets_app.command("save")(sharing_options(generate)(save))


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
