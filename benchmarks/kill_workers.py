"""Kills and stops workers at random moments, before their first event too: is a job lost, done twice, or in the way?

    python benchmarks/kill_workers.py [--kills 100] [--jobs 120] [--hung 6] [--save FILE]

Works with the fake generator of the tests, four workers, and a ledger that the queue itself keeps of jobs that become
done. A quarter of the kills are SIGSTOP, ended after `--hung` seconds here and not after 60, so that a run takes
minutes. A job that has lost two workers is spared, as a third crash would fail it.
"""

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "jobs"))
from fake_generator import TARGET, ask, expected

from framepack.app.service.job_service import Service, folders_at
from framepack.jobs import liveness
from framepack.jobs.job import ENDED, MAX_CRASHES
from framepack.jobs.pool import PoolConfig, Slot
from framepack.jobs.worker import ProcessWorker
from framepack.spec.picture import Picture

TESTS = sys.path[0]
MOMENTS = ("while it started", "before its first event", "after its first event")
LEDGER = """CREATE TABLE ledger (job TEXT);
CREATE TRIGGER done AFTER UPDATE ON job WHEN NEW.status = 'done' AND OLD.status != 'done'
BEGIN INSERT INTO ledger VALUES (NEW.id); END;"""


def moment(slot: Slot) -> str:
    """What the slot's worker is at."""
    ready, attempt = slot.worker is not None and slot.worker.channel.ready, slot.attempt
    return MOMENTS[ready + bool(ready and attempt and attempt.started)]


def strike(service: Service, chance: random.Random, number: int) -> str | None:
    """Kill or stop a worker whose job may lose one more; says when it was, None where none is at that moment now."""
    slot = chance.choice(service.pool.slots)
    if moment(slot) == MOMENTS[-1] and chance.random() < 0.8:  # most of the time is spent there
        return None
    worker, attempt = slot.worker, slot.attempt
    if not isinstance(worker, ProcessWorker) or attempt is None or not worker.alive():
        return None
    if service.store.get(attempt.job.id).crash_count + 1 >= MAX_CRASHES:
        return None
    how, when = (signal.SIGSTOP, "stopped") if number % 4 == 3 else (signal.SIGKILL, "killed"), moment(slot)
    os.kill(worker.pid, how[0])
    return f"{how[1]} {when}"


def main() -> int:
    """Print the counts; exit code 1 where a job was lost, done twice, or is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=120)
    parser.add_argument("--hung", type=float, default=6.0)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    liveness.HUNG_AFTER, liveness.WARN_AFTER = options.hung, options.hung / 4
    os.environ["PYTHONPATH"] = os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")])
    chance, struck = random.Random(0), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folders = folders_at(Path(name) / "outputs", reserve=0)
        picture = Path(name) / "x.png"
        picture.write_bytes(b"x")
        requests = [ask(seed=seed, sections=4, steps=4, begin=0.3, pause=0.05) for seed in range(options.jobs)]
        requests = [request.model_copy(update={"image": Picture(file=picture)}) for request in requests]
        with Service(folders, PoolConfig(target=TARGET, workers=[{}] * 4)) as service:
            with closing(sqlite3.connect(folders.queue, timeout=30)) as connection:
                connection.executescript(LEDGER)
            jobs, until = service.submit(requests), time.monotonic() + 1800
            while any(service.get(job.id).status not in ENDED for job in jobs) and time.monotonic() < until:
                time.sleep(chance.uniform(0.0, 0.1))
                if struck.total() < options.kills and (said := strike(service, chance, struck.total())):
                    struck[said] += 1
            ended = [service.get(job.id) for job in jobs]
            with closing(sqlite3.connect(folders.queue)) as connection:
                ledger = Counter(row[0] for row in connection.execute("SELECT job FROM ledger"))
        states = Counter(job.status for job in ended)
        alike = sum(
            job.status == "done" and job.outputs[0].read_bytes() == expected(request)
            for job, request in zip(ended, requests, strict=True)
        )
    twice = sum(count > 1 for count in ledger.values())
    lines = ["| | |", "|---|---|", *(f"| {said} | {count} |" for said, count in sorted(struck.items()))]
    lines += [f"| jobs | {options.jobs}: {dict(states)} |", f"| done twice | {twice} |"]
    lines += [f"| the same bytes as undisturbed | {alike} |", f"| attempts | {sum(job.attempts for job in ended)} |"]
    print("\n".join(lines))
    if options.save:
        options.save.write_text("\n".join(lines) + "\n")
    return 0 if states == {"done": options.jobs} and not twice and alike == options.jobs else 1


if __name__ == "__main__":
    sys.exit(main())
