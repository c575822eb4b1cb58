"""`framepack generate`: runs one request in the terminal. Ctrl-C stops within a step and keeps what is finished."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from framepack.app.cli.display import Display, clock
from framepack.app.settings import Settings
from framepack.media.clips import lasting
from framepack.pipeline.load import load
from framepack.spec.events import Finished, SectionDone
from framepack.spec.machine import MachineOptions
from framepack.spec.plan import delivery
from framepack.spec.request import GenerationRequest

INTERRUPTED = 130
"""Exit code of a process that Ctrl-C ended, by the shells' custom."""


def run(request: GenerationRequest, work: Path | None, machine: MachineOptions, *, verbose: bool = False) -> int:
    """Make the video, showing progress; return the exit code. verbose: with what each section looks like."""
    settings = Settings.from_environment()
    console = Console(stderr=True)
    so_far: SectionDone | None = None
    try:
        console.print(delivery(lasting(request)), style="dim", highlight=False, soft_wrap=True)
        with Display(console, request, verbose=verbose) as display:
            framepack = load(request.model, **dict(machine))
            for event in framepack.generate(request, outputs=settings.outputs, work=work):
                display.show(event)
                if isinstance(event, SectionDone):
                    so_far = event
                if isinstance(event, Finished):
                    made = "1 frame" if event.frames == 1 else f"{event.frames} frames"
                    console.print(f"[green]done[/] {made} in {clock(event.seconds)}", highlight=False)
                    print(event.file)
    except KeyboardInterrupt:
        kept = f"{so_far.frames} frames are in {so_far.file}" if so_far else "no section was finished yet"
        console.print(f"[yellow]stopped[/]: {escape(kept)}", highlight=False, soft_wrap=True)
        then = (
            f"run the same command with --work {escape(str(work))} to continue from there"
            if work
            else "the same command starts from the beginning: use --work FOLDER for runs that can be resumed"
        )
        console.print(then, highlight=False, soft_wrap=True)
        return INTERRUPTED
    return 0
