"""`framepack finish`: steps on the frames of a video that is there."""

from pathlib import Path
from typing import Annotated, Any

import typer

from framepack.app.cli.request import with_fields
from framepack.spec.finish import FileFinish


@with_fields(asked=FileFinish)
def finish(
    file: Annotated[Path, typer.Argument(help="A video, of FramePack or any other.", show_default=False)],
    asked: dict[str, Any],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The new file. By default NAME-finished beside the video.")
    ] = None,
    crf: Annotated[int, typer.Option(help="Compression of mp4 and webm, as in generate.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    device: Annotated[str, typer.Option(help="Where a network computes: auto, cpu, cuda ...")] = "auto",
) -> None:
    """Enlarge, clean, colour, cut or join FILE; its frames are decoded and encoded once. Ctrl-C leaves nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from framepack.pipeline.finishing import default_output, finish_video

    console = Console(stderr=True)
    columns = (TextColumn("finishing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=None)
        for said in finish_video(file, asked, output, crf=crf, overwrite=overwrite, device=device):
            if isinstance(said, str):
                console.print(f"note: {said}", highlight=False, markup=False, soft_wrap=True)
            else:
                shown.update(task, completed=said.frames, total=said.total)
    print(output or default_output(file))
