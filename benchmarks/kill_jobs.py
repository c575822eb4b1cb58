"""kill -9 at random moments of small jobs with a real model: does every job end, with the same latents?

    python benchmarks/kill_jobs.py [--kills 20] [--jobs 24] [--model mini]

Makes one job undisturbed, then the same one again and again while the worker is killed at random moments, twice in a
job, as a third crash within a section would fail it; compares every section's latents byte by byte.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from PIL import Image

from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.attempt import Attempt
from framepack.jobs.job import ENDED, MAX_CRASHES, Job
from framepack.jobs.pool import PoolConfig
from framepack.jobs.worker import ProcessWorker
from framepack.spec.request import GenerationRequest

TARGET = "framepack.app.service.worker_target:make_generator"


def latents(service: Service, job: Job) -> list[str]:
    """Digests of all sections' files."""
    files = sorted(service.folders.work(job.id).rglob("section-*.safetensors"))
    return [sha256(file.read_bytes()).hexdigest()[:8] for file in files]


def wait(service: Service, job: Job) -> Job:
    """Until the job has ended."""
    while (now := service.get(job.id)).status not in ENDED:
        time.sleep(0.1)
    return now


def kill_at_random(service: Service, jobs: list[Job], kills: int) -> int:
    """Kill the worker up to `kills` times, each after a random number of steps of an attempt; return how often."""
    chance, done, last = random.Random(0), 0, None
    while done < kills and any(service.get(job.id).status not in ENDED for job in jobs):
        slot, steps = service.pool.slots[0], chance.randrange(0, 11)
        while (attempt := slot.attempt) is None or not attempt.started or attempt is last:
            time.sleep(0.01)
        first = made(attempt)
        while slot.attempt is attempt and made(attempt) - first < steps:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.3))
        spared = attempt.job.attempts > MAX_CRASHES - 1
        if slot.attempt is attempt and isinstance(slot.worker, ProcessWorker) and not spared:
            os.kill(slot.worker.pid, signal.SIGKILL)
            done, stage = done + 1, attempt.job.progress
            print(f"  kill {done:2} of {attempt.job.id}: section {stage.section}, step {stage.step}, {stage.stage}")
        last = attempt
    return done


def made(attempt: Attempt) -> int:
    """Steps the job has behind it."""
    now = attempt.job.progress
    return now.section * now.steps + now.step


def main() -> int:
    """Print what became of each job; exit code 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = folders_at(Path(name) / "outputs")
        folders.clear = lambda job: None
        picture = Path(name) / "picture.png"
        Image.linear_gradient("L").convert("RGB").save(picture)
        small = {"model": options.model, "seconds": 1.2, "window": 3, "steps": 4}
        request = GenerationRequest(image=picture, prompt="the camera pans left", **small)
        with Service(folders, PoolConfig(target=TARGET, workers=[{"device": "auto"}])) as service:
            (calm,) = service.submit([request])
            calm = wait(service, calm)
            print(f"undisturbed: {calm.status}, {calm.ran:.0f} s, sections {latents(service, calm)}")
            jobs = service.submit([request] * options.jobs)
            kills = kill_at_random(service, jobs, options.kills)
            good = kills == options.kills
            for job in jobs:
                ended = wait(service, job)
                same = latents(service, ended) == latents(service, calm)
                good &= same and ended.status == "done"
                print(f"{ended.id} {ended.status}, {ended.attempts} attempts, identical: {same} {ended.reason}")
    print(f"{kills} kills, all well: {good}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
