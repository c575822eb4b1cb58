"""`framepack finish` and `framepack convert`: a video that is there, with steps done to it or in another format."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.app.cli.request import with_fields
from framepack.app.machine import check_devices
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileOutput

if TYPE_CHECKING:
    from framepack.media.finishing import Progress

File = Annotated[Path, typer.Argument(help="A video, of FramePack or any other.", show_default=False)]


@with_fields(asked=FileFinish, output=FileOutput)
def finish(
    file: File,
    asked: dict[str, Any],
    output: dict[str, Any],
    device: Annotated[str, typer.Option(help="Where a network computes: auto, cpu, cuda ...")] = "auto",
) -> None:
    """Enlarge, clean, colour, cut or join FILE; its frames are decoded and encoded once. Ctrl-C leaves nothing.

    The new file is NAME-finished beside it, where --output does not say another.
    """
    from framepack.pipeline.finishing import finish_video, finished_path

    check_devices((device,))
    path, settings = output.get("path"), {name: value for name, value in output.items() if name != "path"}
    show(finish_video(file, asked, path, device=device, **settings), "finishing")
    print(finished_path(file, path, settings, "finished"))


@with_fields(output=FileOutput)
def convert(file: File, output: dict[str, Any]) -> None:
    """Write FILE in another format, rate or speed; settings, mark and sound go along. Ctrl-C leaves nothing.

    --output or --format says which; `finish` takes the same options, and changes what is in the frames too.
    """
    from framepack.pipeline.finishing import convert_video, finished_path

    path, settings = output.get("path"), {name: value for name, value in output.items() if name != "path"}
    show(convert_video(file, path, **settings), "converting")
    print(finished_path(file, path, settings, "converted"))


def show(work: "Iterable[Progress | str]", doing: str) -> None:
    """Do it, with a bar on standard error, and its notices."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=None)
        for said in work:
            if isinstance(said, str):
                console.print(f"note: {said}", highlight=False, markup=False, soft_wrap=True)
            else:
                shown.update(task, completed=said.frames, total=said.total)
