"""Publishes updates of jobs to any number of listeners, each at its own pace. Knows no transport.

A slow listener never blocks a worker: of step events in a row it gets the last one.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framepack.jobs.job import Job
from framepack.spec.events import Event, StepDone

LIMIT = 1000
"""Updates a listener may be behind before the oldest are dropped."""


@dataclass(frozen=True, kw_only=True)
class JobUpdate:
    """A job's state now, with the event that changed it, or None where only the state changed.

    deleted: the job was deleted, and of `job` only the id is valid.
    """

    job: Job
    event: Event | None = None
    deleted: bool = False


class Listener:
    """A queue of updates. Close it, or use it in a `with`. `wake` is called, on any thread, when an update arrives."""

    def __init__(
        self, feed: "Feed", job: str | None, wake: Callable[[], None] | None = None, limit: int | None = LIMIT
    ) -> None:
        self._feed, self._wake = feed, wake
        self.job = job
        self._first: deque[JobUpdate] = deque()
        self._updates: deque[JobUpdate] = deque(maxlen=limit)
        self._arrived = threading.Condition()

    def put(self, update: JobUpdate) -> None:
        """Called by the feed."""
        with self._arrived:
            if self._updates and replaces(update, self._updates[-1]):
                self._updates.pop()
            self._updates.append(update)
            self._arrived.notify()
        if self._wake:
            self._wake()

    def begin_with(self, updates: Sequence[JobUpdate]) -> None:
        """Put the present state, of however many jobs, before what has arrived meanwhile."""
        with self._arrived:
            self._first.extend(updates)

    def get(self, timeout: float | None = None) -> JobUpdate | None:
        """The next update, None when `timeout` seconds passed without one."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._first or self._updates, timeout)
            waiting = self._first or self._updates
            return waiting.popleft() if waiting else None

    def close(self) -> None:
        """Get no more updates."""
        self._feed.unsubscribe(self)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Feed:
    """Passes each update to every listener."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()

    def listen(
        self, job: str | None = None, wake: Callable[[], None] | None = None, limit: int | None = LIMIT
    ) -> Listener:
        """Listen to one job, or to all. limit: updates it may be behind, None where it takes them at once."""
        listener = Listener(self, job, wake, limit)
        with self._lock:
            self._listeners += (listener,)
        return listener

    def unsubscribe(self, listener: Listener) -> None:
        """Called by Listener.close."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def publish(self, update: JobUpdate) -> None:
        """Pass an update to every listener of its job."""
        for listener in self._listeners:
            if listener.job in (None, update.job.id):
                listener.put(update)


def replaces(new: JobUpdate, old: JobUpdate) -> bool:
    """Whether `new` makes `old` superfluous."""
    if new.job.id != old.job.id or old.deleted or not is_progress(new):
        return False
    return isinstance(old.event, StepDone) or (old.event is None and new.event is None)


def is_progress(update: JobUpdate) -> bool:
    """Whether the update is only of the job's progress."""
    return update.event is None or isinstance(update.event, StepDone)
