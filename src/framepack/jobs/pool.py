"""Workers that take jobs off the queue in order, one supervising thread each, and are replaced when they die.

Handed everything that depends on the application: the target a worker loads, how progress is estimated, the folders.
Knows the queue, never a model.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from framepack.jobs.attempt import Attempt, Tracks
from framepack.jobs.claims import IN_PROCESS
from framepack.jobs.feed import Feed
from framepack.jobs.folders import Folders
from framepack.jobs.job import Job, Status
from framepack.jobs.run import failure
from framepack.jobs.settle import settle
from framepack.jobs.store import JobStore
from framepack.jobs.stream import AsyncStream, Command, Ended
from framepack.jobs.worker import ProcessWorker, ThreadWorker, Worker
from framepack.spec.request import GenerationRequest

IDLE = 0.5
"""Seconds between looks at the queue, which another process may have added to."""
WITH_WORK: tuple[Status, ...] = ("queued", "paused", "failed", "cancelled")
"""What may still go on from its unfinished work."""
BACKOFF = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds to wait after a worker could not start, by how often in a row."""


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who works: the import path of the factory, and for each worker the settings it is called with."""

    target: str
    workers: Sequence[Mapping[str, Any]] = ({},)
    in_process: bool = False


@dataclass
class Slot:
    """One worker's place: what the health page shows of it."""

    name: str
    settings: Mapping[str, Any]
    worker: Worker | None = None
    trouble: str = ""
    """Why the last worker could not start, empty while all is well."""
    failures: int = 0
    restarts: int = 0
    attempt: Attempt | None = field(default=None, repr=False)
    stream: AsyncStream | None = field(default=None, repr=False)


class Pool:
    """Runs from `start` to `close`. Needs the queue to itself: see `lock`."""

    def __init__(
        self,
        store: JobStore,
        feed: Feed,
        folders: Folders,
        crew: Crew,
        track: Callable[[GenerationRequest], Tracks],
        keep: tuple[int, ...] = (),
    ) -> None:
        self._store, self._feed, self._folders, self._crew, self._track = store, feed, folders, crew, track
        self._keep = keep
        self._closing = threading.Event()
        self._work_arrived = threading.Condition()
        kind = IN_PROCESS if crew.in_process else "process"
        self.slots = [Slot(f"{kind}-{index}", settings) for index, settings in enumerate(crew.workers)]
        self._threads = [threading.Thread(target=self._attend, args=(slot,), name=slot.name) for slot in self.slots]

    def start(self) -> None:
        """Take back what an earlier service left, and begin."""
        self._store.claims.recover()
        self._folders.sweep({job.id for job in self._store.jobs(status=WITH_WORK, limit=-1)})
        for thread in self._threads:
            thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Give running jobs back to the queue and end the workers, by force after `timeout` seconds."""
        self._closing.set()
        self.nudge()
        for slot in self.slots:
            if slot.stream:
                slot.stream.send(Command.RELEASE)
        until = time.monotonic() + timeout
        for slot, thread in zip(self.slots, self._threads, strict=True):
            thread.join(max(0.0, until - time.monotonic()))
            worker = slot.worker
            if thread.is_alive() and worker:
                worker.close(0.0)
            thread.join(timeout)

    def nudge(self) -> None:
        """There may be work."""
        with self._work_arrived:
            self._work_arrived.notify_all()

    def attempt_at(self, job: str) -> Attempt | None:
        """The attempt that runs now at `job`, with progress newer than the queue's."""
        return next((s.attempt for s in self.slots if s.attempt and s.attempt.job.id == job), None)

    def kill(self, job: str) -> None:
        """End the worker of a job that does not listen; the wish that was said before is then granted."""
        for slot in self.slots:
            if slot.worker and slot.attempt and slot.attempt.job.id == job:
                slot.worker.close(0.0)

    def _attend(self, slot: Slot) -> None:
        while not self._closing.is_set():
            try:
                if slot.worker and not slot.worker.alive():
                    self._dismiss(slot)
                job = self._next_job(slot)
            except sqlite3.OperationalError as error:
                slot.trouble, job = f"the queue cannot be read: {error}", None
            if job:
                self._attempt(slot, job)
            else:
                self._wait(IDLE)
        if slot.worker:
            slot.worker.close()

    def _next_job(self, slot: Slot) -> Job | None:
        if self._folders.full():
            return None
        self._store.room_again()
        return self._store.claims.take(slot.name)

    def _attempt(self, slot: Slot, job: Job) -> None:
        try:
            worker = slot.worker = slot.worker or self._hire(slot)
            attempt = Attempt(job, worker.line, self._track(job.request), self._store.claims, self._feed)
            slot.stream = worker.begin(self._folders.errand(job))
            slot.attempt = attempt
            if self._closing.is_set():
                slot.stream.send(Command.RELEASE)
            ended = attempt.follow(slot.stream, worker.alive)
            job = attempt.job
            if ended.how == "died" and self._closing.is_set():
                ended = Ended(how="released")
            elif ended.how == "died" and not attempt.began:
                ended = replace(ended, how="broken", message=f"the worker {ended.message} while it started")
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not stay without a worker
            ended = failure(error, AsyncStream(), self._folders.outputs)
        slot.attempt = slot.stream = None
        if slot.worker and (ended.how in ("died", "broken", "lost") or ended.spent or not slot.worker.alive()):
            self._dismiss(slot)
        self._settle(job, ended)
        slot.trouble = ended.message if ended.how == "broken" else ""
        slot.failures = slot.failures + 1 if ended.how == "broken" else 0
        if slot.failures:
            self._wait(BACKOFF[min(slot.failures, len(BACKOFF)) - 1])

    def _settle(self, job: Job, ended: Ended) -> None:
        while True:
            try:
                return settle(self._store.claims, self._folders, job, ended)
            except sqlite3.OperationalError:
                if self._closing.is_set():
                    return None
                self._wait(1.0)

    def _hire(self, slot: Slot) -> Worker:
        settings = dict(slot.settings)
        if self._crew.in_process:
            return ThreadWorker(self._crew.target, settings)
        log = self._folders.log(slot.name)
        return ProcessWorker(self._crew.target, settings, log=log, keep=self._keep)

    def _dismiss(self, slot: Slot) -> None:
        if slot.worker:
            slot.worker.close(0.0)
            slot.worker = None
            slot.restarts += 1

    def _wait(self, seconds: float) -> None:
        with self._work_arrived:
            if not self._closing.is_set():
                self._work_arrived.wait(seconds)
