"""`framepack train` and `framepack eval`: options only; what they do loads when it is asked for."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, TypedDict

import typer
from typer.core import TyperGroup

from framepack.app.cli.request import given

ModelsDir = Annotated[
    Path | None,
    typer.Option("--models-dir", help="Folder with the public repositories' layout. [env: FRAMEPACK_MODELS_DIR]"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]


class RecipeUnlessNamed(TyperGroup):
    """`train RECIPE` is `train recipe RECIPE`."""

    def parse_args(self, ctx, args):  # noqa: ANN001, ANN201  (click's own types)
        """Put the command's name before a recipe."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["recipe", *args]
        return super().parse_args(ctx, args)


train_app = typer.Typer(
    cls=RecipeUnlessNamed, no_args_is_help=True, help="Train a small model, or a LoRA of any model."
)


PART_OPTIONS = {"motion": ("following", "controls", "sizes"), "sections": ("drift",), "drift_images": ("drift",)}
"""Options of `eval` that only some parts use."""


Models = Annotated[list[str] | None, typer.Option(help="mini, mini-f1, framepack or framepack-f1; repeatable.")]
Images = Annotated[int | None, typer.Option(min=0, help="Held-out procedural pictures; 4, with --control 1.")]
Photos = Annotated[
    int | None, typer.Option(min=0, help="Photos from scikit-image and scikit-learn; 4, with --control 1.")
]
Motions = Annotated[list[str] | None, typer.Option(help="A motion to ask for, such as 'pan left'; repeatable.")]
Sections = Annotated[
    int | None, typer.Option(min=2, help="Length of the videos that drift is measured on; 6, with --control 50.")
]
Parts = Annotated[
    list[str] | None,
    typer.Option(help="following, sprites, keyframes, drift, codec, controls, sizes, words or unknown; repeatable."),
]
Only = Annotated[
    str | None,
    typer.Option(
        help="With --control: nag, reference, prompts, keyframes, extend, lead-in, bridge, loop, restyle, mask, "
        "takes, stills or guard, with commas between."
    ),
]


class Where(TypedDict):
    """The machine's part of `eval`."""

    device: str
    dtype: str
    models_dir: Path | None


def evaluate(
    context: typer.Context,
    model: Models = None,
    images: Images = None,
    photos: Photos = None,
    motion: Motions = None,
    part: Parts = None,
    control: Annotated[
        bool, typer.Option("--control", help="What the controls do (docs/control.md), in place of the parts.")
    ] = False,
    only: Only = None,
    width: Annotated[int, typer.Option(help="Pixels, a multiple of 16.")] = 160,
    height: Annotated[int, typer.Option(help="Pixels, a multiple of 16.")] = 160,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps a section.")] = 2,
    sampler: Annotated[str, typer.Option(help="unipc, unipc-bh2, dpm++2m or euler.")] = "unipc",
    sections: Sections = None,
    drift_images: Annotated[int, typer.Option(min=0, help="Pictures of each kind that drift is measured on.")] = 2,
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.")] = 7,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for JSON, sheets and plots.")] = Path(
        "evaluation"
    ),
    device: Device = "auto",
    dtype: Dtype = "auto",
    models_dir: ModelsDir = None,
) -> None:
    """Measure prompt following, keyframes, sharpness, drift and what the controls do."""
    from framepack.app.cli.control import control_command
    from framepack.app.cli.evaluate import evaluate_command
    from framepack.training.evaluate.results import Settings

    defaults = Settings(procedural=1, photos=1, sections=50) if control else Settings()
    settings = Settings(
        models=tuple(model or defaults.models),
        procedural=defaults.procedural if images is None else images,
        photos=defaults.photos if photos is None else photos,
        motions=tuple(motion or defaults.motions),
        steered=tuple(motion or defaults.steered),
        parts=tuple(part or defaults.parts),
        size=(width, height),
        steps=steps,
        sampler=sampler,
        sections=sections or defaults.sections,
        drift_scenes=drift_images,
        seed=seed,
    )
    where: Where = {"device": device, "dtype": dtype, "models_dir": models_dir}
    if control:
        say_unused(context, dict.fromkeys(("part", "sampler", "drift_images"), "with --control"))
        control_command(settings, tuple(only.split(",")) if only else (), output, **where)
        return
    say_unused(context, {"only": "without --control"})
    say_unused(
        context,
        {
            name: f"without --part {' or '.join(parts)}"
            for name, parts in PART_OPTIONS.items()
            if not set(parts) & set(settings.parts)
        },
    )
    evaluate_command(settings, output, **where)


def say_unused(context: typer.Context, options: dict[str, str]) -> None:
    """A note for each option that was given, of those that have no effect in a case, said for each."""
    for option in given(context, tuple(options)):
        print(f"note: {option} has no effect {options[option[2:].replace('-', '_')]}", file=sys.stderr)


@train_app.command("lora")
def lora(
    data: Annotated[Path, typer.Option(help="Folder of videos or pictures, with a .txt caption beside each.")],
    model: Annotated[str, typer.Option(help="mini, mini-f1, framepack or framepack-f1.")] = "mini",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the LoRA; the same one goes on from its last save.")
    ] = Path("lora"),
    rank: Annotated[int, typer.Option(help="Size of the adapters.")] = 16,
    alpha: Annotated[float | None, typer.Option(help="Their scale is alpha / rank; the rank by default.")] = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 2e-4,
    steps: Annotated[int, typer.Option(help="Steps in all, a section of each clip of the batch.")] = 1000,
    window: Annotated[int, typer.Option(help="Latents a section; 9 is what the models were trained with.")] = 9,
    resolution: Annotated[int | None, typer.Option(help="Side of the square with the clips' area.")] = None,
    sections: Annotated[int, typer.Option(min=1, help="Longest clip, in sections of 1.2 seconds.")] = 3,
    save_every: Annotated[int, typer.Option(help="Steps between saves.")] = 100,
    sample_every: Annotated[int, typer.Option(min=0, help="Steps between sample videos; 0 for one at the end.")] = 0,
    batch: Annotated[int, typer.Option(help="Clips of one size a step shows.")] = 1,
    caption_dropout: Annotated[float, typer.Option(help="Share of captions left out.")] = 0.1,
    base: Annotated[
        str, typer.Option(help="The frozen weights: whole, int8 (half the memory), offloaded or int8-offloaded.")
    ] = "whole",
    seed: Annotated[int, typer.Option(help="The same seed gives the same LoRA.")] = 31337,
    device: Device = "auto",
    dtype: Dtype = "auto",
    models_dir: ModelsDir = None,
) -> None:
    """Fine-tune a model on your own videos or pictures: a LoRA that `generate --lora` loads."""
    if not find_spec("peft"):
        raise ValueError("training a LoRA needs the package peft: pip install 'framepack[train]'")
    from framepack.app.cli.lora import lora_command
    from framepack.training.lora.trainer import LoraRecipe

    recipe = LoraRecipe(
        rank=rank,
        alpha=float(rank) if alpha is None else alpha,
        rate=rate,
        steps=steps,
        window=window,
        resolution=resolution,
        sections=sections,
        save_every=save_every,
        seed=seed,
        batch=batch,
        caption_dropout=caption_dropout,
        base=base,
    )
    lora_command(
        model,
        data,
        output,
        recipe,
        sample_every=sample_every,
        device=device,
        dtype=dtype,
        models_dir=models_dir,
    )


@train_app.command("recipe")
def recipe(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="A .toml file, or mini.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the run; the same one goes on from its last save.")
    ] = Path("run"),
    minutes: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long; go on later.")] = None,
    sample_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Minutes between sample videos, 0 for none; else the recipe's.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Begin a new run with the model in this --models-dir folder; 'mini' is the bundled one."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw pictures.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the model's blocks: CUDA only, the first steps take minutes.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Train a small model, from nothing or from another: VAE, transformer, encoders. `train RECIPE` for short."""
    from framepack.app.cli.recipe import recipe_command

    recipe_command(
        name,
        output,
        minutes=minutes,
        sample_minutes=sample_minutes,
        start=start,
        workers=workers,
        compiled=compiled,
        device=device,
    )
