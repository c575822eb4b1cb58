"""The terminal's progress display: one bar for the whole job with stage, section, step and time left."""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from framepack.app.clock import clock
from framepack.app.service.tracker import Tracker
from framepack.spec.events import Event, Look, Notice, SectionDone
from framepack.spec.request import GenerationRequest


class TimeLeft(ProgressColumn):
    """Goes on while nothing is said, as a long step or decoding would else stand still."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker

    def render(self, task: Task) -> Text:
        """See ProgressColumn."""
        left = self.tracker.seconds_left
        return Text(f"about {clock(left)} left" if left is not None else "", style="dim")


class Display:
    """A context manager around a run; feed it the run's events."""

    def __init__(self, console: Console, request: GenerationRequest, *, verbose: bool = False) -> None:
        """verbose: say of each section what it looks like."""
        self.console = console
        self.verbose = verbose
        self.first: Look | None = None
        """Of the first section that was shown."""
        self.tracker = Tracker(request)
        self.progress = Progress(
            TextColumn("{task.fields[stage]}", style="bold"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[where]}", style="cyan"),
            TimeElapsedColumn(),
            TimeLeft(self.tracker),
            console=console,
            transient=True,
        )
        self.task: TaskID = self.progress.add_task("", total=1.0, stage="starting", where="")

    def __enter__(self) -> "Display":
        self.progress.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.progress.stop()

    def show(self, event: Event) -> None:
        """Update the bar; what must stay on screen is printed above it."""
        tracker = self.tracker
        tracker.update(event)
        self.progress.update(
            self.task,
            completed=tracker.fraction,
            stage=tracker.stage,
            where=where(tracker),
        )
        if isinstance(event, Notice):
            self.console.print(f"[yellow]note:[/] {escape(event.message)}", highlight=False)
        if isinstance(event, SectionDone) and event.file and event.section + 1 < event.sections:
            self.console.print(
                f"{event.frames} frames so far: {escape(str(event.file))}", highlight=False, soft_wrap=True
            )
        if isinstance(event, SectionDone) and event.look and self.verbose:
            self.first = self.first or event.look
            shown = f"section {event.section + 1}/{event.sections}: {drift(event.look, self.first)}"
            self.console.print(shown, style="dim", highlight=False, soft_wrap=True)


def drift(look: Look, first: Look) -> str:
    """What a section looks like, and how far that is from the first one, in a line."""
    colour = "/".join(f"{level:.0f}" for level in look.colour)
    moved = "/".join(f"{level - before:+.0f}" for level, before in zip(look.colour, first.colour, strict=True))
    far = "" if look.distance is None else f", {look.distance:.0f} from the start picture"
    contrast, sharpness = (
        f"{name} {now:.1f} ({now / max(before, 1e-6) - 1:+.0%})"
        for name, now, before in (
            ("contrast", look.contrast, first.contrast),
            ("sharpness", look.sharpness, first.sharpness),
        )
    )
    return f"colour {colour} ({moved}), {contrast}, {sharpness}{far}"


def where(tracker: Tracker) -> str:
    """Section and step, while there are any to come."""
    if not tracker.sections or tracker.section == tracker.sections:
        return ""
    return f"section {tracker.section + 1}/{tracker.sections}, step {tracker.step}/{tracker.steps}"
