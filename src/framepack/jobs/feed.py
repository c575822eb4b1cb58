"""News of jobs for any number of listeners, each at its own pace. Knows no transport.

A slow listener never holds up a worker: of step events that follow each other it gets the last one.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framepack.jobs.job import Job
from framepack.spec.events import Event, StepDone

LIMIT = 1000
"""News a listener may be behind before the oldest are dropped."""


@dataclass(frozen=True, kw_only=True)
class News:
    """A job's state as it is now, with what happened to it, or None where only the state changed.

    `deleted`: there is no such job any more, and of `job` only the id counts.
    """

    job: Job
    event: Event | None = None
    deleted: bool = False


class Listener:
    """One listener's mailbox. Close it, or use it in a `with`. `wake` is called, on any thread, when news arrive."""

    def __init__(
        self, feed: "Feed", job: str | None, wake: Callable[[], None] | None = None, limit: int | None = LIMIT
    ) -> None:
        self._feed, self._wake = feed, wake
        self.job = job
        self._state: deque[News] = deque()
        self._news: deque[News] = deque(maxlen=limit)
        self._arrived = threading.Condition()

    def put(self, news: News) -> None:
        """Called by the feed."""
        with self._arrived:
            if self._news and replaces(news, self._news[-1]):
                self._news.pop()
            self._news.append(news)
            self._arrived.notify()
        if self._wake:
            self._wake()

    def begin_with(self, news: Sequence[News]) -> None:
        """Put the state so far, of however many jobs, before whatever arrived meanwhile."""
        with self._arrived:
            self._state.extend(news)

    def get(self, timeout: float | None = None) -> News | None:
        """The next news, None when `timeout` seconds passed without any."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._state or self._news, timeout)
            waiting = self._state or self._news
            return waiting.popleft() if waiting else None

    def close(self) -> None:
        """Hear no more."""
        self._feed.leave(self)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Feed:
    """Gives each piece of news to everyone who listens."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()

    def listen(
        self, job: str | None = None, wake: Callable[[], None] | None = None, limit: int | None = LIMIT
    ) -> Listener:
        """Hear of one job, or of all. limit: news it may be behind; None for one that always takes them at once."""
        listener = Listener(self, job, wake, limit)
        with self._lock:
            self._listeners += (listener,)
        return listener

    def leave(self, listener: Listener) -> None:
        """Called by Listener.close."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def publish(self, news: News) -> None:
        """Tell everyone."""
        for listener in self._listeners:
            if listener.job in (None, news.job.id):
                listener.put(news)


def replaces(new: News, old: News) -> bool:
    """Whether nobody needs `old` once `new` is there."""
    if new.job.id != old.job.id or old.deleted or not passing(new):
        return False
    return isinstance(old.event, StepDone) or (old.event is None and new.event is None)


def passing(news: News) -> bool:
    """Whether the news is only how far a job is."""
    return news.event is None or isinstance(news.event, StepDone)
