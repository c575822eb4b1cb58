"""`framepack presets ...`: named settings, the same that the page and the HTTP API have."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from framepack.app.cli.jobs import Outputs
from framepack.app.cli.request import presets_of, with_fields
from framepack.spec.parts import OF_ONE_FILE, OF_ONE_MACHINE, OF_ONE_VIDEO
from framepack.spec.request import GenerationRequest

presets_app = typer.Typer(
    no_args_is_help=True,
    help="Presets, which are settings without pictures, prompts and seed: list, save, exchange.",
)
LEFT_OUT = (
    *OF_ONE_VIDEO,
    *(f"output.{name}" for name in OF_ONE_FILE),
    *(f"finish.{name}" for name in OF_ONE_MACHINE),
)
"""Fields that no preset has."""
Name = Annotated[str, typer.Argument(help="The preset's name.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace presets of the same names.")]


@presets_app.command("list")
def list_presets(outputs: Outputs = None) -> None:
    """List them; a star marks the one that a new page begins with."""
    presets = presets_of(outputs)
    starred, damaged = presets.startup(), presets.damaged()
    for name in presets.names():
        print(f"{'*' if name == starred else ' '} {name}{'  (damaged)' if name in damaged else ''}")
    for sentence in damaged.values():
        print(f"framepack: {sentence}", file=sys.stderr)
    if not presets.names():
        print("no presets")


@presets_app.command()
def show(name: Name, outputs: Outputs = None) -> None:
    """The settings of one, as JSON."""
    print(json.dumps(presets_of(outputs).load(name), indent=1, ensure_ascii=False))


@presets_app.command("save")
@with_fields(LEFT_OUT, asked=GenerationRequest)
def save(
    name: Name,
    asked: dict[str, Any],
    outputs: Outputs = None,
    preset: Annotated[str | None, typer.Option(help="A preset for the settings that no option sets.")] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="A FramePack video or picture, used likewise. Not together with --preset."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Keep settings under a name: those of the options, which are those of `generate`."""
    from framepack.pipeline.preset_settings import applied
    from framepack.spec.ignored import ignored_settings

    if preset and like:
        raise ValueError("give --preset or --like, not both: a preset sets every field")
    presets = presets_of(outputs)
    before: dict[str, Any] = presets.load(preset) if preset is not None else settings_like(like) if like else {}
    request = GenerationRequest.model_validate({**applied(before, asked), "image": "-"})
    with telling_overwrite():
        print(f"saved as {presets.save(name, request, replace=overwrite)}")
    for note in ignored_settings(request):
        print(f"note: {note}", file=sys.stderr)


def settings_like(file: Path) -> dict[str, Any]:
    """The settings that a video or picture of FramePack was made with, as far as a preset keeps them."""
    from framepack.media.marks import request_in
    from framepack.media.metadata import read_metadata
    from framepack.pipeline.preset_settings import settings_of

    found = request_in(read_metadata(file) or {})
    if found is None:
        raise ValueError(f"{file} carries no FramePack settings: name a video that FramePack made")
    return settings_of(GenerationRequest.stored(found))


@presets_app.command()
def delete(name: Name, outputs: Outputs = None) -> None:
    """Forget one."""
    presets_of(outputs).delete(name)
    print(f"{name} is deleted")


@presets_app.command()
def rename(
    name: Name,
    new: Annotated[str, typer.Argument(help="Its new name.", show_default=False)],
    outputs: Outputs = None,
) -> None:
    """Give one another name that is free."""
    presets = presets_of(outputs)
    print(f"{name} is now called {(named := presets.rename(name, new))}")
    if sentence := presets.damaged().get(named):
        print(f"framepack: {sentence}", file=sys.stderr)


@presets_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A .json file for all presets; - prints it.", show_default=False)],
    outputs: Outputs = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it is there.")] = False,
) -> None:
    """Write all presets into one file, which `import` takes, here or elsewhere."""
    from framepack.files.atomic import atomic_write

    printed = str(file) == "-"
    if not printed and file.exists() and not overwrite:
        raise ValueError(f"{file} is there already: give another name, or use --overwrite to replace it")
    presets = presets_of(outputs)
    damaged = presets.damaged()
    for sentence in damaged.values():
        print(f"framepack: left out: {sentence}", file=sys.stderr)
    text = json.dumps(found := presets.exported(), indent=1, ensure_ascii=False)
    if printed:
        print(text)
    else:
        with atomic_write(file) as temporary:
            temporary.write_text(text, "utf-8")
        print(f"{len(found)} preset{'s' * (len(found) != 1)} in {file}")
    if damaged:
        raise typer.Exit(1)


@presets_app.command("import")
def take_in(
    file: Annotated[Path, typer.Argument(help="A file that `export` or the page has written.", show_default=False)],
    outputs: Outputs = None,
    overwrite: Overwrite = False,
) -> None:
    """Take in the presets of a file, all or none."""
    from framepack.files.text import text_of_file
    from framepack.pipeline.presets import EXPORT_MOST

    with telling_overwrite():
        taken = presets_of(outputs).take_in(text_of_file(file, EXPORT_MOST), replace=overwrite)
    print(f"imported {', '.join(taken.names)}")
    if taken.left_out:
        print(f"note: {', '.join(taken.left_out)} left out: a preset has none", file=sys.stderr)


@contextmanager
def telling_overwrite() -> Iterator[None]:
    """Says which option replaces what is there."""
    from framepack.pipeline.presets import PresetExists

    try:
        yield
    except PresetExists as error:
        raise ValueError(f"{error} --overwrite replaces what is there.") from error
