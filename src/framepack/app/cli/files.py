"""`framepack extract` and `framepack inspect`: what can be had from a video that is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from framepack.media.frames import Which

File = Annotated[Path, typer.Argument(help="A video, of FramePack or any other.", show_default=False)]


def extract(
    file: File,
    at: Annotated[float | None, typer.Option(help="The frame on screen at this second.")] = None,
    first: Annotated[bool, typer.Option("--first", help="The first frame.")] = False,
    last: Annotated[bool, typer.Option("--last", help="The last frame.")] = False,
    number: Annotated[int | None, typer.Option(help="The frame of this number; the first is 0.")] = None,
    every: Annotated[int | None, typer.Option(help="Every Nth frame, into a folder; 1 is every frame.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .png or a folder. By default next to the video.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing pictures.")] = False,
) -> None:
    """Save frames of FILE as PNG, exactly as they are decoded."""
    from framepack.media.frames import extract_frames

    named: list[Which] = [end for end, asked in (("first", first), ("last", last)) if asked]  # type: ignore[misc]
    named += [] if number is None else [number]
    if len(named) + (at is not None) + (every is not None) != 1:
        raise ValueError("say which frames with one of --at, --first, --last, --number and --every")
    which = named[0] if named else None
    files = extract_frames(file, output, at=at, which=which, every=every, overwrite=overwrite)
    print(files[0] if every is None else files[0].parent)


def inspect(
    file: Annotated[Path, typer.Argument(help="A video or picture.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what is inside FILE: its size, frames and codec, the settings it was made with, and the mark."""
    import json
    from dataclasses import asdict

    from framepack.media.inspection import inspect_file, lines_of

    found = inspect_file(file)
    if as_json:
        print(json.dumps({"file": str(file), **asdict(found)}, indent=2))
    else:
        print(*lines_of(found, str(file)), sep="\n")
