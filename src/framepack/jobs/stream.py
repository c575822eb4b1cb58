"""AsyncStream: events out, commands in, between the producer of a video and its consumer.

The same class serves a thread and both sides of a process; `messages` carries its items over a pipe as JSON lines.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from framepack.spec.events import Event


class Command(StrEnum):
    """Commands to a producer. The first two take effect at the next event, the others once a section is finished."""

    CANCEL = "cancel"
    RELEASE = "release"
    """Return the job to the queue, because the service closes."""
    STOP = "stop"
    """End and keep what is finished."""
    PAUSE = "pause"
    """End for now; the job resumes later."""


IMMEDIATE = (Command.CANCEL, Command.RELEASE)
PRIORITY = {None: 0, Command.PAUSE: 1, Command.STOP: 2, Command.RELEASE: 3, Command.CANCEL: 4}

Ending = Literal[
    "finished", "failed", "cancelled", "stopped", "paused", "released", "disk full", "broken", "crashed", "lost"
]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last item of every stream: how it ended, in a sentence, with the traceback where there is one.

    "broken": the worker cannot start, such as where its target does not load; "crashed": its process has exited;
    "lost": the job is no longer this attempt's.
    """

    how: Ending
    message: str = ""
    traceback: str = ""
    must_restart: bool = False
    """The worker's process cannot run another task: its GPU context is lost."""


class AsyncStream:
    """One job's stream. Any thread may call anything; events keep their order.

    on_command: called with each new command, with None when it was cleared. on_item: gets the items in place of a
    consumer, on the producer's thread, so that they are sent even if the process crashes the moment after.
    """

    def __init__(
        self,
        on_command: Callable[[Command | None], None] | None = None,
        on_item: Callable[[Event | Ended], None] | None = None,
    ) -> None:
        self._items: queue.SimpleQueue[Event | Ended] = queue.SimpleQueue()
        self._put = on_item or self._items.put
        self._command: Command | None = None
        self._lock = threading.Lock()
        self._on_command = on_command
        self._ended = False

    # The producer's side

    def emit(self, event: Event) -> None:
        """Put an event into the stream."""
        self._put(event)

    def end(self, ended: Ended) -> None:
        """Put the last item into the stream. Only the first one counts."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._put(ended)

    @property
    def command(self) -> Command | None:
        """The command in effect, None where there is none."""
        return self._command

    def should_end(self, *, section_finished: bool) -> bool:
        """Whether the command takes effect now, after an event that did or did not finish a section."""
        command = self._command
        return command is not None and (section_finished or command in IMMEDIATE)

    # The consumer's side

    def send(self, command: Command) -> None:
        """Give a command. It replaces one of lower priority, never one of higher."""
        with self._lock:
            if PRIORITY[command] <= PRIORITY[self._command]:
                return
            self._command = command
        if self._on_command:
            self._on_command(command)

    def clear_command(self) -> None:
        """Clear a command to pause or stop that has not taken effect yet."""
        with self._lock:
            if self._command is None or self._command in IMMEDIATE:
                return
            self._command = None
        if self._on_command:
            self._on_command(None)

    def get(self, timeout: float | None = None) -> Event | Ended | None:
        """The next item, None when `timeout` seconds passed without one."""
        try:
            return self._items.get(timeout=timeout)
        except queue.Empty:
            return None

    def __iter__(self) -> Iterator[Event | Ended]:
        """All items; the last one is Ended."""
        while True:
            item = self._items.get()
            yield item
            if isinstance(item, Ended):
                return
