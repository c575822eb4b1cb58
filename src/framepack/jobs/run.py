"""Runs one job: passes a generator's events to a stream, follows the stream's commands, reports how it ended.

Knows nothing of processes or the queue. A run is cancelled by closing the generator.
"""

import errno
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from framepack.jobs.stream import AsyncStream, Command, Ended, Ending
from framepack.spec.events import Cancelled, Event, Failed, Finished, SectionDone
from framepack.spec.request import GenerationRequest

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
ENDINGS: dict[Command | None, Ending] = {
    Command.CANCEL: "cancelled",
    Command.STOP: "stopped",
    Command.PAUSE: "paused",
    Command.RELEASE: "released",
}


class Generate(Protocol):
    """Makes the video of a request and yields events; called again it resumes from `work`.

    machine: how this job may use the machine, see `Job`.
    """

    def __call__(self, request: GenerationRequest, *, outputs: Path, work: Path, **machine: Any) -> Iterator[Event]: ...


Factory = Callable[..., Generate]


def run(
    generate: Generate, request: GenerationRequest, *, outputs: Path, work: Path, stream: AsyncStream, **machine: Any
) -> None:
    """Make the video. However it ends, errors included, is put into the stream; nothing is raised."""
    try:
        stream.end(follow(generate(request, outputs=outputs, work=work, **machine), stream))
    except Exception as error:  # noqa: BLE001 - the one place where a job's errors end
        stream.end(failure(error, stream, outputs))


def follow(events: Iterator[Event], stream: AsyncStream) -> Ended:
    """Pass on events until they end or a command takes effect."""
    latest: SectionDone | None = None
    for event in events:
        if isinstance(event, SectionDone):
            latest = event
        finished = isinstance(event, Finished)
        if not finished and stream.should_end(section_finished=between_sections(event)):
            stream.emit(event)
            if isinstance(events, Generator):
                events.close()
            if stream.command in (Command.CANCEL, Command.STOP):
                stream.emit(Cancelled(file=latest and latest.file, frames=latest.frames if latest else 0))
            return Ended(how=ENDINGS[stream.command])
        stream.emit(event)
        if finished:
            return Ended(how="finished")
        if isinstance(event, Failed):
            return Ended(how="failed", message=event.message, traceback=event.traceback)
        if isinstance(event, Cancelled):
            return Ended(how="cancelled")
    return Ended(
        how="failed", message="the events ended before the video was finished; this is a bug, please report it"
    )


def between_sections(event: Event) -> bool:
    """Whether a section is finished and not the last one: only then is there something to stop or pause."""
    return isinstance(event, SectionDone) and event.section + 1 < event.sections


def failure(error: Exception, stream: AsyncStream, outputs: Path) -> Ended:
    """How a run ended that raised `error`: a full disk waits for space, anything else fails with its traceback.

    After a CUDA error other than a refused allocation every later call fails too, until the process restarts.
    """
    trace = "".join(traceback.format_exception(error))
    if disk_is_full(error):
        return Ended(how="disk full", message=f"the disk of {outputs} is full", traceback=trace)
    message = str(error).strip() or type(error).__name__
    stream.emit(Failed(message=message, traceback=trace))
    return Ended(how="failed", message=message, traceback=trace, must_restart="CUDA error" in message)


def disk_is_full(error: BaseException | None) -> bool:
    """Whether the error or its cause is the system's "no space left" or "quota exceeded"."""
    while error is not None:
        if getattr(error, "errno", None) in DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
