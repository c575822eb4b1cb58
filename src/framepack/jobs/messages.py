"""Messages between the service and a worker: one JSON object a line, of the kind that `kind` names. Never pickle.

Service to worker: job, command, quit. Worker to service: ready, heartbeat, event, ended, broken.
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
class Task:
    """What a worker needs of a job: the request, and the folders for the video and for unfinished work.

    `machine`: further arguments of the generate function.
    """

    job: str
    request: GenerationRequest
    outputs: Path
    work: Path
    machine: Mapping[str, Any] = field(default_factory=dict)


class MessageWriter:
    """Writes messages to a binary file; any thread may."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Write one line. OSError or ValueError when the other side has closed."""
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()


def task_message(task: Task) -> Message:
    """A task for a worker."""
    arguments = {"outputs": str(task.outputs), "work": str(task.work), "machine": dict(task.machine)}
    return {"kind": "job", "job": task.job, "request": task.request.model_dump(mode="json"), **arguments}


def task_of(message: Message) -> Task:
    """The task in a message made by `task_message`."""
    request = GenerationRequest.model_validate(message["request"])
    folders = {"outputs": Path(message["outputs"]), "work": Path(message["work"])}
    return Task(job=message["job"], request=request, machine=message["machine"], **folders)


def item_message(job: str, item: Event | Ended) -> Message:
    """An item of the job's stream."""
    if isinstance(item, Ended):
        return {"kind": "ended", "job": job, **asdict(item)}
    return {"kind": "event", "job": job, "event": to_json(item)}


def apply_item(message: Message, stream: AsyncStream) -> None:
    """Put the item of a message made by `item_message` into the stream on the other side."""
    if message["kind"] == "event":
        stream.emit(from_json(message["event"]))
    else:
        stream.end(Ended(**{name: message[name] for name in ("how", "message", "traceback", "must_restart")}))


def command_message(job: str, command: Command | None) -> Message:
    """A command for the worker that runs `job`; None clears the last one."""
    return {"kind": "command", "job": job, "command": command}


def apply_command(message: Message, stream: AsyncStream) -> None:
    """Give the command of a message made by `command_message` to the stream on the other side."""
    if message["command"] is None:
        stream.clear_command()
    else:
        stream.send(Command(message["command"]))
