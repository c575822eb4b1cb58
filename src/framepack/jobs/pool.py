"""A pool of workers that run the queue's jobs in order; a thread supervises each, and replaces it when it crashes.

The application passes in what depends on it: the target a worker loads, the progress tracker, the folders. Knows the
queue, never a model.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from framepack.jobs.attempt import Attempt, ProgressTracker
from framepack.jobs.claims import IN_PROCESS
from framepack.jobs.feed import Feed
from framepack.jobs.folders import Folders
from framepack.jobs.job import MAX_CRASHES, Job, Status
from framepack.jobs.outcome import record_outcome
from framepack.jobs.run import failure
from framepack.jobs.store import JobStore
from framepack.jobs.stream import AsyncStream, Command, Ended
from framepack.jobs.worker import ProcessWorker, ThreadWorker, Worker
from framepack.spec.request import GenerationRequest

POLL_INTERVAL = 0.5
"""Seconds between polls of the queue, to which another process may have added."""
WITH_WORK: tuple[Status, ...] = ("queued", "paused", "failed", "cancelled", "done")
"""Jobs whose work may be needed yet: to go on from it, or for other takes of a finished video."""
BACKOFF = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds to wait after a worker could not start, by the number of failures in a row."""


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """The import path of the factory that each worker calls, and the settings each is given: one worker for each."""

    target: str
    workers: Sequence[Mapping[str, Any]] = ({},)
    in_process: bool = False


@dataclass
class Slot:
    """A place for one worker: its state, as health reports it, and what it works on."""

    name: str
    settings: Mapping[str, Any]
    worker: Worker | None = None
    error: str = ""
    """Why no job can run here, empty while one can."""
    last_crash: str = ""
    """How the last worker that crashed did so."""
    failures: int = 0
    """Workers in a row that failed to start."""
    restarts: int = 0
    attempt: Attempt | None = field(default=None, repr=False)
    stream: AsyncStream | None = field(default=None, repr=False)

    @property
    def problem(self) -> str:
        """The error, or the warning about missing heartbeats."""
        attempt, worker = self.attempt, self.worker
        return attempt.warning if attempt and worker and worker.channel.ready else self.error

    @property
    def state(self) -> str:
        """In a word or two."""
        return "in trouble" if self.problem else "working" if self.attempt else "idle"


class Pool:
    """Runs from `start` to `close`. Needs the lock on the queue, `files.lock`.

    keep: file descriptors that worker processes inherit, such as that lock.
    """

    def __init__(
        self,
        store: JobStore,
        feed: Feed,
        folders: Folders,
        config: PoolConfig,
        tracker: Callable[[GenerationRequest], ProgressTracker],
        keep: tuple[int, ...] = (),
    ) -> None:
        self._store, self._feed, self._folders, self._config, self._tracker = store, feed, folders, config, tracker
        self._keep = keep
        self._closing = threading.Event()
        self._woken = threading.Condition()
        kind = IN_PROCESS if config.in_process else "process"
        self.slots = [Slot(f"{kind}-{index}", settings) for index, settings in enumerate(config.workers)]
        self._threads = [threading.Thread(target=self._supervise, args=(slot,), name=slot.name) for slot in self.slots]

    def start(self) -> None:
        """Return to the queue what an earlier service left running, and start the workers."""
        self._store.claims.recover()
        if not self._store.notices:  # a job that could not be read may need its work yet
            self._folders.sweep({job.id for job in self._store.jobs(status=WITH_WORK, limit=-1)})
        for thread in self._threads:
            thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Return running jobs to the queue and stop the workers, by force after `timeout` seconds."""
        self._closing.set()
        self.wake()
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

    def wake(self) -> None:
        """Let idle workers poll the queue now."""
        with self._woken:
            self._woken.notify_all()

    def attempt_of(self, job: str) -> Attempt | None:
        """The attempt at `job` that runs now, with progress newer than the queue's."""
        return next((s.attempt for s in self.slots if s.attempt and s.attempt.job.id == job), None)

    def kill(self, job: str) -> None:
        """Kill the worker of a job, if it does not respond; the job's control request then takes effect."""
        for slot in self.slots:
            if slot.worker and slot.attempt and slot.attempt.job.id == job:
                slot.worker.close(0.0)

    def _supervise(self, slot: Slot) -> None:
        while not self._closing.is_set():
            try:
                self._run_next(slot)
            except (sqlite3.Error, OSError) as error:
                slot.error = f"the queue cannot be used: {error}"
                self._wait(POLL_INTERVAL)
            except Exception as error:
                logging.getLogger("framepack").exception("%s continues after an error", slot.name)
                slot.error = f"{type(error).__name__}: {error}"
                self._wait(BACKOFF[-1])
        if slot.worker:
            slot.worker.close()

    def _run_next(self, slot: Slot) -> None:
        if slot.worker and not slot.worker.alive():
            self._stop_worker(slot)
        job = self._next_job(slot)
        if job:
            self._attempt(slot, job)
        else:
            if not slot.failures:
                slot.error = ""
            self._wait(POLL_INTERVAL)

    def _next_job(self, slot: Slot) -> Job | None:
        if self._folders.full():
            return None
        self._store.resume_waiting_for_space()
        return self._store.claims.take(slot.name)

    def _attempt(self, slot: Slot, job: Job) -> None:
        try:
            worker = slot.worker = slot.worker or self._spawn(slot)
        except (OSError, RuntimeError) as error:  # the system gives no process, no thread, no file
            ended, ready = Ended(how="broken", message=f"the worker cannot start: {error}"), False
        else:
            job, ended = self._follow(slot, worker, job)
            ready = worker.channel.ready
        if ready or ended.how in ("crashed", "broken"):
            slot.failures = 0 if ready else slot.failures + 1
        ended = self._assess_crash(slot, ended, ready)
        slot.attempt = slot.stream = None
        if slot.worker and (
            ended.how in ("crashed", "broken", "lost") or ended.must_restart or not slot.worker.alive()
        ):
            self._stop_worker(slot)
        slot.error = ended.message if ended.how == "broken" else ""
        self._record_outcome(slot, job, ended)
        if slot.failures:
            self._wait(BACKOFF[min(slot.failures, len(BACKOFF)) - 1])

    def _follow(self, slot: Slot, worker: Worker, job: Job) -> tuple[Job, Ended]:
        """Run the job on the worker: its state at the end, and how it ended."""
        attempt = None
        try:
            attempt = Attempt(job, worker, self._tracker(job.request), self._store.claims, self._feed)
            slot.stream = worker.submit(self._folders.task(job))
            slot.attempt = attempt
            if self._closing.is_set():
                slot.stream.send(Command.RELEASE)
            ended = attempt.follow(slot.stream)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not stay without a worker
            if slot.stream:  # nobody reads it any more
                slot.stream.send(Command.RELEASE)
                self._stop_worker(slot)
            ended = failure(error, AsyncStream(), self._folders.outputs)
        return attempt.job if attempt else job, ended

    def _assess_crash(self, slot: Slot, ended: Ended, ready: bool) -> Ended:
        """How the attempt ended for the job, where its worker crashed.

        A crash while the worker starts counts for the job, which may be what crashes it. After three in a row it is
        certainly not the job: then the worker is broken, and the job waits until one can start.
        """
        if ended.how != "crashed":
            return ended
        if self._closing.is_set():
            return Ended(how="released")
        slot.last_crash = f"the worker {ended.message}"
        if ready:
            return ended
        if slot.failures <= MAX_CRASHES:
            return replace(ended, message=f"{ended.message} while it started")
        return replace(ended, how="broken", message=f"the worker cannot start: it {ended.message}")

    def _record_outcome(self, slot: Slot, job: Job, ended: Ended) -> None:
        error_before = slot.error
        while True:
            try:
                record_outcome(self._store.claims, self._folders, job, ended)
            except (sqlite3.Error, OSError) as error:
                if self._closing.is_set():
                    return
                slot.error = f"the result of job {job.id} cannot be saved: {error}"
                self._wait(1.0)
            else:
                slot.error = error_before
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
        with self._woken:
            if not self._closing.is_set():
                self._woken.wait(seconds)
