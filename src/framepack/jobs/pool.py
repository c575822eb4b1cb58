"""Workers that take jobs off the queue in order, one supervising thread each, and are replaced when they die.

Handed everything that depends on the application: the target a worker loads, how progress is estimated, the folders.
Knows the queue, never a model.
"""

import logging
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
from framepack.jobs.job import DEATHS_ALLOWED, Job, Status
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
class PoolConfig:
    """The import path of the factory that each worker calls, and the settings each is given: one worker for each."""

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
    """Why no work can be done here, empty while all is well."""
    last_death: str = ""
    """How the last worker that died did so."""
    failures: int = 0
    """Workers in a row that were gone before they were ready for any job."""
    restarts: int = 0
    attempt: Attempt | None = field(default=None, repr=False)
    stream: AsyncStream | None = field(default=None, repr=False)

    @property
    def trouble_now(self) -> str:
        """What keeps it from working this moment, its worker's silence too."""
        attempt, worker = self.attempt, self.worker
        return attempt.trouble if attempt and worker and worker.line.ready else self.trouble

    @property
    def state(self) -> str:
        """In a word or two."""
        return "in trouble" if self.trouble_now else "working" if self.attempt else "idle"


class Pool:
    """Runs from `start` to `close`. Needs the queue to itself: see `lock`."""

    def __init__(
        self,
        store: JobStore,
        feed: Feed,
        folders: Folders,
        config: PoolConfig,
        track: Callable[[GenerationRequest], Tracks],
        keep: tuple[int, ...] = (),
    ) -> None:
        self._store, self._feed, self._folders, self._config, self._track = store, feed, folders, config, track
        self._keep = keep
        self._closing = threading.Event()
        self._work_arrived = threading.Condition()
        kind = IN_PROCESS if config.in_process else "process"
        self.slots = [Slot(f"{kind}-{index}", settings) for index, settings in enumerate(config.workers)]
        self._threads = [threading.Thread(target=self._attend, args=(slot,), name=slot.name) for slot in self.slots]

    def start(self) -> None:
        """Take back what an earlier service left, and begin."""
        self._store.claims.recover()
        if not self._store.said:  # work of jobs that could not be read may be wanted yet
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
                self._work(slot)
            except (sqlite3.Error, OSError) as error:
                slot.trouble = f"the queue cannot be used: {error}"
                self._wait(IDLE)
            except Exception as error:
                logging.getLogger("framepack").exception("%s goes on after", slot.name)
                slot.trouble = f"{type(error).__name__}: {error}"
                self._wait(BACKOFF[-1])
        if slot.worker:
            slot.worker.close()

    def _work(self, slot: Slot) -> None:
        if slot.worker and not slot.worker.alive():
            self._stop_worker(slot)
        job = self._next_job(slot)
        if job:
            self._attempt(slot, job)
        else:
            if not slot.failures:
                slot.trouble = ""
            self._wait(IDLE)

    def _next_job(self, slot: Slot) -> Job | None:
        if self._folders.full():
            return None
        self._store.room_again()
        return self._store.claims.take(slot.name)

    def _attempt(self, slot: Slot, job: Job) -> None:
        try:
            worker = slot.worker = slot.worker or self._spawn(slot)
        except (OSError, RuntimeError) as error:  # the system gives no process, no thread, no file
            ended, ready = Ended(how="broken", message=f"the worker cannot start: {error}"), False
        else:
            job, ended = self._follow(slot, worker, job)
            ready = worker.line.ready
        if ready or ended.how in ("died", "broken"):
            slot.failures = 0 if ready else slot.failures + 1
        ended = self._judged(slot, ended, ready)
        slot.attempt = slot.stream = None
        if slot.worker and (ended.how in ("died", "broken", "lost") or ended.spent or not slot.worker.alive()):
            self._stop_worker(slot)
        slot.trouble = ended.message if ended.how == "broken" else ""
        self._settle(slot, job, ended)
        if slot.failures:
            self._wait(BACKOFF[min(slot.failures, len(BACKOFF)) - 1])

    def _follow(self, slot: Slot, worker: Worker, job: Job) -> tuple[Job, Ended]:
        """The job's state and how it ended, when the worker is through with it."""
        attempt = None
        try:
            attempt = Attempt(job, worker, self._track(job.request), self._store.claims, self._feed)
            errand = self._folders.errand(job)
            slot.stream = worker.begin(errand)
            slot.attempt = attempt
            if self._closing.is_set():
                slot.stream.send(Command.RELEASE)
            ended = attempt.follow(slot.stream)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not stay without a worker
            if slot.stream:  # nobody listens to this one any more
                slot.stream.send(Command.RELEASE)
                self._stop_worker(slot)
            ended = failure(error, AsyncStream(), self._folders.outputs)
        return attempt.job if attempt else job, ended

    def _judged(self, slot: Slot, ended: Ended, ready: bool) -> Ended:
        """What a worker's death means for its job.

        One that could not even start has not seen the job; after three such in a row it is certainly not the job's
        fault, which then waits until a worker can start. Before, it counts: something may be wrong with just this job.
        """
        if ended.how != "died":
            return ended
        if self._closing.is_set():
            return Ended(how="released")
        slot.last_death = f"the worker {ended.message}"
        if ready:
            return ended
        if slot.failures <= DEATHS_ALLOWED:
            return replace(ended, message=f"{ended.message} while it started")
        return replace(ended, how="broken", message=f"the worker cannot start, it {ended.message}")

    def _settle(self, slot: Slot, job: Job, ended: Ended) -> None:
        trouble = slot.trouble
        while True:
            try:
                settle(self._store.claims, self._folders, job, ended)
            except (sqlite3.Error, OSError) as error:
                if self._closing.is_set():
                    return
                slot.trouble = f"the end of job {job.id} cannot be written down: {error}"
                self._wait(1.0)
            else:
                slot.trouble = trouble
                return

    def _spawn(self, slot: Slot) -> Worker:
        settings = dict(slot.settings)
        if self._config.in_process:
            return ThreadWorker(self._config.target, settings)
        log = self._folders.log(slot.name)
        return ProcessWorker(self._config.target, settings, log=log, keep=self._keep)

    def _stop_worker(self, slot: Slot) -> None:
        if slot.worker:
            slot.worker.close(0.0)
            slot.worker = None
            slot.restarts += 1

    def _wait(self, seconds: float) -> None:
        with self._work_arrived:
            if not self._closing.is_set():
                self._work_arrived.wait(seconds)
