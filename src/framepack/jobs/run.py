"""Runs one job: turns a generator of events into a stream, obeys its commands and says how it ended.

Knows nothing of processes or the queue. Closing the generator is how a run is cancelled.
"""

import errno
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from framepack.jobs.stream import AsyncStream, Command, Ended, Ending
from framepack.spec.events import Cancelled, Event, Failed, Finished, SectionDone
from framepack.spec.request import GenerationRequest

FULL = (errno.ENOSPC, errno.EDQUOT)
ENDINGS: dict[Command | None, Ending] = {
    Command.CANCEL: "cancelled",
    Command.STOP: "stopped",
    Command.PAUSE: "paused",
    Command.RELEASE: "released",
}


class Generate(Protocol):
    """What a worker is handed: makes the video of a request, saying events; called again it goes on from `work`.

    `machine` is what its jobs may say of the machine; most say nothing.
    """

    def __call__(self, request: GenerationRequest, *, outputs: Path, work: Path, **machine: Any) -> Iterator[Event]: ...


Factory = Callable[..., Generate]


def run(
    generate: Generate, request: GenerationRequest, *, outputs: Path, work: Path, stream: AsyncStream, **machine: Any
) -> None:
    """Make the video. Every end, errors included, is said on the stream; nothing is raised."""
    try:
        stream.end(follow(generate(request, outputs=outputs, work=work, **machine), stream))
    except Exception as error:  # noqa: BLE001 - the one place where a job's errors end
        stream.end(failure(error, stream, outputs))


def follow(events: Iterator[Event], stream: AsyncStream) -> Ended:
    """Pass events on until they end or a command asks for it."""
    so_far: SectionDone | None = None
    for event in events:
        if isinstance(event, SectionDone):
            so_far = event
        finished = isinstance(event, Finished)
        if not finished and stream.must_end(section_finished=between_sections(event)):
            stream.emit(event)
            if isinstance(events, Generator):
                events.close()
            if stream.command in (Command.CANCEL, Command.STOP):
                stream.emit(Cancelled(file=so_far and so_far.file, frames=so_far.frames if so_far else 0))
            return Ended(how=ENDINGS[stream.command])
        stream.emit(event)
        if finished:
            return Ended(how="finished")
        if isinstance(event, Failed):
            return Ended(how="failed", message=event.message, traceback=event.traceback)
        if isinstance(event, Cancelled):
            return Ended(how="cancelled")
    return Ended(how="failed", message="the video ended without being finished; this is a defect, please report it")


def between_sections(event: Event) -> bool:
    """Whether a section is finished, kept, and not the last one: only then is there something to stop or pause."""
    return isinstance(event, SectionDone) and event.section + 1 < event.sections


def failure(error: Exception, stream: AsyncStream, outputs: Path) -> Ended:
    """What an error means: no space waits for space, anything else fails with one sentence and its traceback.

    After an error of CUDA's other than a refused allocation every later call fails too, until the process ends.
    """
    story = "".join(traceback.format_exception(error))
    if disk_is_full(error):
        return Ended(how="disk full", message=f"the disk of {outputs} is full", traceback=story)
    message = str(error).strip() or type(error).__name__
    stream.emit(Failed(message=message, traceback=story))
    return Ended(how="failed", message=message, traceback=story, spent="CUDA error" in message)


def disk_is_full(error: BaseException | None) -> bool:
    """Whether the error or what caused it is the system's "no space left" or "quota exceeded"."""
    while error is not None:
        if getattr(error, "errno", None) in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
