"""A queue with workers that run the fake."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_generator import TARGET

from framepack.app.service.tracker import Tracker
from framepack.jobs.attempt import Attempt
from framepack.jobs.feed import Feed
from framepack.jobs.folders import Folders
from framepack.jobs.job import ENDED, MAX_CRASHES, Job
from framepack.jobs.pool import Pool, PoolConfig
from framepack.jobs.store import JobStore


@dataclass
class Bench:
    """A pool and all it works on."""

    store: JobStore
    feed: Feed
    folders: Folders
    pool: Pool
    first_seen: dict[int, int] = field(default_factory=dict)

    def wait(self, until: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, [(j.id, j.status, j.reason) for j in self.store.jobs()]
            time.sleep(0.01)

    def ended(self, *jobs: Job, seconds: float = 60.0) -> list[Job]:
        self.wait(lambda: all(self.store.get(job.id).status in ENDED for job in jobs), seconds)
        return [self.store.get(job.id) for job in jobs]

    def step(self, job: Job) -> int:
        attempt = self.pool.attempt_of(job.id)
        return attempt.job.progress.step if attempt else 0

    def attempt(self) -> Attempt | None:
        """The first worker's."""
        return self.pool.slots[0].attempt

    def steps_made(self) -> int:
        """By the first worker's attempt, since it was first looked at."""
        attempt = self.attempt()
        if attempt is None or not attempt.started:
            return 0
        now = attempt.job.progress
        made = now.section * now.steps + now.step
        return made - self.first_seen.setdefault(id(attempt), made)

    def would_survive(self) -> bool:
        """Whether the first worker's job may lose one more worker."""
        attempt = self.attempt()
        return attempt is not None and self.store.get(attempt.job.id).crash_count + 1 < MAX_CRASHES

    def pids(self) -> list[int]:
        return [slot.worker.pid for slot in self.pool.slots if slot.worker]

    def busy_pids(self) -> list[int]:
        slots = [(slot.worker, slot.attempt) for slot in self.pool.slots]
        return [worker.pid for worker, attempt in slots if worker and attempt and attempt.started and worker.alive()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Call it to start a pool."""
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    made: list[Bench] = []

    def start(workers: int = 1, *, in_process: bool = False, settings: dict | None = None, **folders) -> Bench:
        where = Folders(tmp_path / "outputs", tmp_path / "home", **{"reserve": 0, **folders})
        store, feed = JobStore(where.queue, owner=True), Feed()
        config = PoolConfig(target=TARGET, workers=[settings or {}] * workers, in_process=in_process)
        pool = Pool(store, feed, where, config, Tracker)
        pool.start()
        made.append(Bench(store, feed, where, pool))
        return made[-1]

    yield start
    for each in made:
        each.pool.close()
        each.store.close()
