"""The promise: whatever is killed, no job is lost and none is done twice."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fake_generator import TARGET, ask, expected

from framepack.jobs.job import ENDED, MAX_CRASHES
from framepack.jobs.store import JobStore

SERVICE = """
import sys, time
from pathlib import Path
from framepack.app.service.job_service import Service
from framepack.app.service.job_service import folders_at
from framepack.jobs.pool import PoolConfig
config = PoolConfig(target=sys.argv[2], workers=[{}] * int(sys.argv[3]))
with Service(folders_at(Path(sys.argv[1]), reserve=0), config, patience=120):
    print("ready", flush=True)
    time.sleep(3000)
"""


def ledger(store: JobStore) -> None:
    """Let the queue itself write down each time a job becomes done."""
    connection = sqlite3.connect(store._database.file)
    connection.execute("CREATE TABLE ledger (job TEXT)")
    connection.execute(
        "CREATE TRIGGER done AFTER UPDATE ON job WHEN NEW.status = 'done' AND OLD.status != 'done' "
        "BEGIN INSERT INTO ledger VALUES (NEW.id); END"
    )
    connection.commit()
    connection.close()


def entries(store: JobStore) -> Counter:
    return Counter(row[0] for row in store._database.rows("SELECT job FROM ledger"))


def victims(bench) -> list[int]:
    """Workers at jobs that may lose one more without failing."""
    slots = [(slot.worker, slot.attempt) for slot in bench.pool.slots]
    busy = [(worker, attempt.job.id) for worker, attempt in slots if worker and attempt and attempt.started]
    return [worker.pid for worker, job in busy if bench.store.get(job).crash_count + 1 < MAX_CRASHES]


@pytest.mark.proof
@pytest.mark.timeout(1500)
def test_200_jobs_with_4_workers_and_20_kills_lose_nothing_and_do_nothing_twice(bench):
    pool = bench(workers=4)
    ledger(pool.store)
    requests = [ask(seed=seed, sections=3, steps=2, pause=0.02) for seed in range(200)]
    jobs = pool.store.submit(requests)
    chance = random.Random(2)
    for kill in range(20):
        pool.wait(lambda kill=kill: pool.store.counts().get("done", 0) >= 5 * kill, 300)
        time.sleep(chance.uniform(0.0, 0.3))
        pool.wait(lambda: bool(victims(pool)), 300)
        os.kill(chance.choice(victims(pool) or pool.pids()), signal.SIGKILL)
    done = pool.ended(*jobs, seconds=900)
    assert Counter(job.status for job in done) == {"done": 200}
    assert entries(pool.store) == Counter({job.id: 1 for job in jobs})
    for job, request in zip(done, requests, strict=True):
        assert job.outputs[0].read_bytes() == expected(request)
    assert len(list(pool.folders.outputs.glob("*.mp4"))) == 200
    assert sum(job.attempts for job in done) > 200


@pytest.mark.timeout(1500)
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_kill_9_of_the_service_itself_at_random_moments_loses_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    outputs = tmp_path / "outputs"
    store = JobStore(outputs / ".framepack" / "queue.sqlite")
    ledger(store)
    picture = tmp_path / "x.png"
    picture.write_bytes(b"x")
    requests = [ask(seed=seed, sections=8, steps=4, pause=0.02) for seed in range(6)]
    jobs = store.submit(requests)
    chance = random.Random(3)
    command = [sys.executable, "-c", SERVICE, str(outputs), TARGET, "2"]
    for last in (False, False, False, True):
        service = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert service.stdout.readline() == b"ready\n"
        began = {job.id: store.get(job.id).attempts for job in jobs}
        until = time.monotonic() + 300
        while not all(store.get(job.id).status in ENDED for job in jobs):
            assert time.monotonic() < until
            time.sleep(0.1)
            if not last and any(store.get(name).attempts > before for name, before in began.items()):
                time.sleep(chance.uniform(0.0, 1.5))
                break
        service.send_signal(signal.SIGTERM if last else signal.SIGKILL)
        service.wait()
        service.stdout.close()
    for job, request in zip(jobs, requests, strict=True):
        ended = store.get(job.id)
        assert (ended.status, ended.crash_count) == ("done", 0)
        assert ended.outputs[0].read_bytes() == expected(request)
    assert entries(store) == Counter({job.id: 1 for job in jobs})
    store.close()
