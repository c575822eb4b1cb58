"""`framepack export`: a video as a timeline for an editing program."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from framepack.app.cli.jobs import Outputs


def export(
    video: Annotated[str, typer.Argument(help="A video, or the id of a job.", metavar="FILE|JOB", show_default=False)],
    to: Annotated[str, typer.Option(metavar="<otio|otioz|edl|fcp7|fcpxml>", help="The timeline's format.")] = "otio",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file or folder. By default next to the video.")
    ] = None,
    media: Annotated[
        str | None, typer.Option(help="Convert the video to this format for the editing program, such as mkv.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    outputs: Outputs = None,
) -> None:
    """Write a timeline of a video for an editing program: sections as clips, keyframes and prompts as markers."""
    from framepack.pipeline.timelines import export_timeline

    file = video_of(video, outputs)
    print(export_timeline(file, to, output, media=media, overwrite=overwrite, said=note))


def note(text: str) -> None:
    """What is to be noticed, on standard error."""
    print(f"note: {text}", file=sys.stderr)


def video_of(named: str, outputs: Path | None) -> Path:
    """The file of that name, or the video of the job with that id. ValueError where there is neither."""
    from framepack.app.cli.jobs import folders_of, queue
    from framepack.files.names import from_home

    file = Path(from_home(named))
    if file.exists() or file.suffix or not folders_of(outputs).queue.is_file():
        return file
    with queue(outputs) as store:
        job = store.find(named)
    if not job.outputs or not job.outputs[0].is_file():
        from framepack.app.service.playable import why_none

        raise ValueError(why_none(job, folders_of(outputs).outputs))
    return job.outputs[0]
