"""AsyncStream: events out, commands in, between what makes a video and what watches it.

The same object stands at either end of a thread or of a process; `wire` carries it across a pipe as JSON lines.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from framepack.spec.events import Event


class Command(StrEnum):
    """What a maker can be told. The first two hold at the next event, the others once a section is finished."""

    CANCEL = "cancel"
    RELEASE = "release"
    """Give the job back unharmed, because the service closes."""
    STOP = "stop"
    """End here and keep what is finished."""
    PAUSE = "pause"
    """Hold here and go on another time."""


AT_ONCE = (Command.CANCEL, Command.RELEASE)
STRENGTH = {None: 0, Command.PAUSE: 1, Command.STOP: 2, Command.RELEASE: 3, Command.CANCEL: 4}

Ending = Literal[
    "finished", "failed", "cancelled", "stopped", "paused", "released", "disk full", "broken", "died", "lost"
]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last item of every stream: how it ended, in a sentence, with the traceback where there is one.

    "broken": the worker itself cannot work (its target does not load); "died": its process is gone;
    "lost": the job was taken from it.
    """

    how: Ending
    message: str = ""
    traceback: str = ""
    spent: bool = False
    """The worker's process cannot do another job: its GPU context is lost."""


class AsyncStream:
    """One job's stream. Any thread may call anything; events keep their order.

    `on_command` hears each new wish, None when one was taken back. `on_item` gets the items in place of a watcher, on
    the maker's own thread: what the maker has said is then out, even if it dies the moment after.
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

    # The maker's side

    def emit(self, event: Event) -> None:
        """Say something."""
        self._put(event)

    def end(self, ended: Ended) -> None:
        """Say how it ended. Only the first ending counts."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._put(ended)

    @property
    def command(self) -> Command | None:
        """What was asked for, None so far."""
        return self._command

    def must_end(self, *, section_finished: bool) -> bool:
        """Whether to end now, after an event that did or did not finish a section."""
        command = self._command
        return command is not None and (section_finished or command in AT_ONCE)

    # The watcher's side

    def send(self, command: Command) -> None:
        """Ask for an end. A stronger wish replaces a weaker one, never the other way round."""
        with self._lock:
            if STRENGTH[command] <= STRENGTH[self._command]:
                return
            self._command = command
        if self._on_command:
            self._on_command(command)

    def take_back(self) -> None:
        """Forget a wish to pause or stop that has not been granted yet."""
        with self._lock:
            if self._command is None or self._command in AT_ONCE:
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
