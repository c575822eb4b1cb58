"""Publishes every change of the queue, whichever process made it, by polling its revision.

A running job's heartbeat alone is not published.
"""

from dataclasses import replace

from framepack.jobs.feed import Feed, JobUpdate
from framepack.jobs.job import Job
from framepack.jobs.periodic import Periodic
from framepack.jobs.store import JobStore

INTERVAL = 0.25
"""Seconds between polls."""


class QueuePoller:
    """Polls from construction to `close`."""

    def __init__(self, store: JobStore, feed: Feed) -> None:
        self._store, self._feed = store, feed
        self._seen = store.revision()
        self._published: dict[str, Job] = {}
        """Running jobs as they were published last, without what every heartbeat changes."""
        self._polling = Periodic(self._poll, INTERVAL, "queue poller")

    def close(self) -> None:
        """Stop polling."""
        self._polling.close()

    def _poll(self) -> None:
        """Publish what has changed up to the current revision; changes made meanwhile are for the next poll."""
        now = self._store.revision()
        if now == self._seen:
            return
        if now < self._seen:  # another file has taken the place of the queue's
            self._seen = 0
        changes: list[tuple[int, Job | str]] = [(job.revision, job) for job in self._store.changed_since(self._seen)]
        changes += self._store.deleted_since(self._seen)
        for revision, job in sorted(changes, key=lambda change: change[0]):
            if revision <= now:
                self._publish(job)
        self._store.counts()
        self._seen = now

    def _publish(self, job: Job | str) -> None:
        """`job`: its id where it was deleted."""
        if isinstance(job, str):
            self._published.pop(job, None)
            self._feed.publish(JobUpdate(job=Job.deleted(job), deleted=True))
        else:
            state = replace(job, heartbeat=None, ran=0.0, revision=0)
            if self._published.pop(job.id, None) != state:
                self._feed.publish(JobUpdate(job=job))
            if job.status == "running":
                self._published[job.id] = state
