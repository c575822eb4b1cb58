"""What service and worker say to each other: one JSON object a line, told apart by `kind`. Never pickle.

Service to worker: job, command, quit. Worker to service: ready, beat, event, ended, broken.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from framepack.jobs.stream import AsyncStream, Command, Ended
from framepack.spec.events import Event
from framepack.spec.events_json import from_json, to_json
from framepack.spec.request import GenerationRequest

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a worker has to know of a job: the request, and the folders for the video and for unfinished work.

    `machine` goes to the maker as further arguments.
    """

    job: str
    request: GenerationRequest
    outputs: Path
    work: Path
    machine: Mapping[str, Any] = field(default_factory=dict)


class LineWriter:
    """Writes messages to a binary file; any thread may."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Write one line. OSError or ValueError when the other side is gone."""
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()


def of_item(job: str, item: Event | Ended) -> Message:
    """A stream's item as a message."""
    if isinstance(item, Ended):
        return {"kind": "ended", "job": job, **asdict(item)}
    return {"kind": "event", "job": job, "event": to_json(item)}


def deliver(message: Message, stream: AsyncStream) -> None:
    """Put a message made by `of_item` into the stream at the other end."""
    if message["kind"] == "event":
        stream.emit(from_json(message["event"]))
    else:
        stream.end(Ended(**{name: message[name] for name in ("how", "message", "traceback", "spent")}))


def of_errand(errand: Errand) -> Message:
    """A job for a worker."""
    means = {"outputs": str(errand.outputs), "work": str(errand.work), "machine": dict(errand.machine)}
    return {"kind": "job", "job": errand.job, "request": errand.request.model_dump(mode="json"), **means}


def errand_of(message: Message) -> Errand:
    """The job of a message made by `of_errand`."""
    request = GenerationRequest.model_validate(message["request"])
    folders = {"outputs": Path(message["outputs"]), "work": Path(message["work"])}
    return Errand(job=message["job"], request=request, machine=message["machine"], **folders)


def of_command(job: str, command: Command | None) -> Message:
    """A command for the maker of `job`; None takes the last one back."""
    return {"kind": "command", "job": job, "command": command}


def obey(message: Message, stream: AsyncStream) -> None:
    """Give a message made by `of_command` to the stream at the other end."""
    if message["command"] is None:
        stream.take_back()
    else:
        stream.send(Command(message["command"]))
