"""Publishes every change of the queue, whichever process made it, by looking at its revision.

A running job's heartbeat alone is no news.
"""

from dataclasses import replace

from framepack.jobs.feed import Feed, News
from framepack.jobs.job import Job
from framepack.jobs.repeat import Repeat
from framepack.jobs.store import JobStore

EVERY = 0.25
"""Seconds between looks."""


class Watch:
    """Runs from construction to `close`."""

    def __init__(self, store: JobStore, feed: Feed) -> None:
        self._store, self._feed = store, feed
        self._seen = store.revision()
        self._told: dict[str, Job] = {}
        self._looking = Repeat(self._look, EVERY, "watch")

    def close(self) -> None:
        """Stop looking."""
        self._looking.close()

    def _look(self) -> None:
        if self._store.revision() != self._seen:
            self._tell()

    def _tell(self) -> None:
        """What has changed up to the revision there is now; what changes meanwhile is told the next time."""
        now = self._store.revision()
        if now < self._seen:  # another file has taken the place of the queue's
            self._seen = 0
        news: list[tuple[int, Job | str]] = [(job.revision, job) for job in self._store.changed_since(self._seen)]
        news += self._store.gone_since(self._seen)
        for revision, what in sorted(news, key=lambda one: one[0]):
            if revision <= now:
                self._tell_one(what)
        self._store.counts()
        self._seen = now

    def _tell_one(self, job: Job | str) -> None:
        if isinstance(job, str):
            self._told.pop(job, None)
            self._feed.publish(News(job=Job.deleted(job), deleted=True))
        else:
            alike = replace(job, heartbeat=None, ran=0.0, revision=0)
            if self._told.get(job.id) != alike:
                self._feed.publish(News(job=job))
            self._told[job.id] = alike
            if job.status != "running":
                del self._told[job.id]
