"""The job service with the real pipeline in a real worker process, on a tiny random checkpoint."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.app.api.views import job_view
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.job import ENDED, Job
from framepack.jobs.pool import PoolConfig
from framepack.media.metadata import read_metadata
from framepack.spec.request import GenerationRequest

TARGET = "framepack.app.service.worker_target:make_generator"
LOOK = {"colour", "contrast", "sharpness", "distance"}
STEPS = 40
"""so many that a section takes longer than a signal to the worker, on any machine"""


@pytest.fixture
def service(tmp_path: Path, tiny_models_dir: Path):
    settings = {"models_dir": str(tiny_models_dir), "device": "cpu", "threads": 1, "offline": True}
    folders = folders_at(tmp_path / "outputs", reserve=0)
    folders.clear = lambda job: None
    with Service(folders, PoolConfig(target=TARGET, workers=[settings])) as service:
        yield service


@pytest.fixture
def request_(tmp_path: Path) -> GenerationRequest:
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(picture)
    return GenerationRequest.model_validate(
        {
            "image": picture,
            "prompt": "a boat",
            "model": "framepack",
            "seconds": 1.2,
            "window": 3,
            "steps": STEPS,
            "width": 64,
            "height": 64,
            "output": {"format": "mkv"},
        }
    )


def latents(service: Service, job: Job) -> list[bytes]:
    return [file.read_bytes() for file in sorted(service.folders.work(job.id).rglob("section-*.safetensors"))]


def test_a_killed_job_ends_with_the_latents_of_an_undisturbed_one(service, request_, wait):
    request_ = request_.model_copy(update={"guard": 1.0})  # which holds the third section to the first two
    calm, shaken = service.submit([request_, request_])
    calm = wait(service, calm)
    assert (calm.status, calm.reason) == ("done", "")
    assert calm.progress.first_look is not None
    assert job_view(calm, service.folders).model_dump(mode="json")["progress"]["look"].keys() == LOOK
    assert service.video(calm.id).suffix == ".mkv"
    assert read_metadata(calm.outputs[0])["request"]["prompt"] == "a boat"
    chance = random.Random(1)
    wait(service, shaken, lambda now: now.progress.section >= 1)
    time.sleep(chance.uniform(0, 0.3))
    os.kill(service.pool.slots[0].worker.pid, signal.SIGKILL)
    shaken = wait(service, shaken)
    assert (shaken.status, shaken.reason) == ("done", "")
    assert shaken.attempts >= 2
    assert len(latents(service, calm)) == 3
    assert latents(service, shaken) == latents(service, calm)


def test_pause_resume_and_cancel_with_the_real_pipeline(service, request_, wait):
    (job,) = service.submit([request_])
    job = wait(service, job, lambda now: now.status in (*ENDED, "running"))
    service.pause(job.id)
    job = wait(service, job, lambda now: now.status == "paused")
    assert 1 <= job.progress.section < 3
    assert service.video(job.id).name.endswith(".part.mkv")
    service.resume(job.id)
    wait(service, job, lambda now: now.status == "running" and service.preview(now.id) and now.progress.step)
    service.cancel(job.id)
    job = wait(service, job)
    assert job.status == "cancelled"
    assert service.video(job.id) is not None
    service.retry(job.id)
    assert wait(service, job).status == "done"
    assert not list(service.folders.outputs.glob("*.part.*"))
