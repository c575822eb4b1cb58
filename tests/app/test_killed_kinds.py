"""kill -9 in every kind of job, in a real worker on a tiny checkpoint: it ends with the bits of an undisturbed one."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.job import Job
from framepack.jobs.pool import PoolConfig
from framepack.media.read import read_video
from framepack.media.video import VideoWriter
from framepack.spec.request import GenerationRequest

TARGET = "framepack.app.service.worker_target:make_generator"
SIDE, SOURCE = 32, 40
STEPS = 30
"""So many that a section takes longer than a signal to the worker."""
KINDS = {
    "image, inverted": {"model": "framepack"},
    "image, forward": {"model": "framepack-f1"},
    "mask": {"model": "framepack", "motion_mask": "mask.png"},
    "timed prompts and a keyframe": {
        "model": "mini",
        "prompt": "pan left [0.4s: zoom in]",
        "frames": [{"image": "other.png", "second": 0.6, "strength": 0.5}],
        "length": "exact",
    },
    "extend": {"model": "mini-f1", "task": "extend", "image": "clip.mkv"},
    "lead_in": {"model": "framepack", "task": "lead_in", "image": "clip.mkv"},
    "bridge": {"model": "framepack", "task": "bridge", "image": "clip.mkv", "target": "clip.mkv"},
    "loop": {"model": "framepack", "task": "loop"},
    "restyle": {"model": "framepack-f1", "task": "restyle", "image": "clip.mkv", "strength": 0.6},
    "finish": {"model": "framepack-f1", "finish": {"enlarge": 2, "grain": 0.2, "deflicker": 5}},
    "still": {"model": "framepack", "still": {"index": 3}, "output": {"format": "png"}},
}
"""Fields of a request of each kind; files are those of `files`."""


@pytest.fixture
def service(tmp_path: Path, tiny_models_dir: Path):
    settings = {"models_dir": str(tiny_models_dir), "device": "cpu", "threads": 1, "offline": True}
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target=TARGET, workers=[settings])) as service:
        yield service


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of pictures, a mask and a clip."""
    random = np.random.default_rng(0)
    for name in ("picture", "other"):
        Image.fromarray(random.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(tmp_path / f"{name}.png")
    white = np.zeros((SIDE, SIDE, 3), np.uint8)
    white[:, : SIDE // 2] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    ramp = random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    with VideoWriter(tmp_path / "clip.mkv", size=(SIDE, SIDE)) as writer:
        writer.write(np.stack([np.roll(ramp, number, axis=1) for number in range(SOURCE)]))
    return tmp_path


def request_of(files: Path, fields: dict) -> GenerationRequest:
    usual = {"image": "picture.png", "prompt": "a boat", "seconds": 0.8, "window": 3, "steps": STEPS}
    size = {"width": SIDE, "height": SIDE, "length": "sections", "output": {"format": "mkv"}}
    said = usual | size | fields
    for name in ("image", "target", "motion_mask"):
        said |= {name: files / said[name]} if name in said else {}
    said["frames"] = [frame | {"image": files / frame["image"]} for frame in said.get("frames", [])]
    return GenerationRequest.model_validate(said)


def latents(service: Service, job: Job) -> dict[str, bytes]:
    """Of every section's file."""
    files = sorted(service.folders.work(job.id).rglob("section-*.safetensors"))
    return {file.name: file.read_bytes() for file in files}


def frames(job: Job) -> np.ndarray:
    """Of its file, a picture's one."""
    return np.stack(list(read_video(job.outputs[0])))


def kill(service: Service, job: Job, wait: Callable[..., Job], until: Callable[[Job], object]) -> Job:
    """Kill the worker once `until` holds of the job, then wait for the job's end."""
    wait(service, job, until)
    os.kill(service.pool.slots[0].worker.pid, signal.SIGKILL)
    ended = wait(service, job)
    assert (ended.status, ended.reason) == ("done", "")
    assert ended.attempts >= 2
    return ended


def in_the_middle(sections: int) -> Callable[[Job], object]:
    """Some steps into the second section, or the only one."""
    return lambda now: now.progress.section >= min(sections - 1, 1) and now.progress.step >= 3


@pytest.mark.proof
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_killed_job_of_every_kind_ends_with_the_bits_of_an_undisturbed_one(service, files, wait, kind: str) -> None:
    request = request_of(files, KINDS[kind])
    (calm,) = service.submit([request])
    calm = wait(service, calm)
    assert (calm.status, calm.reason) == ("done", "")
    (shaken,) = service.submit([request])
    shaken = kill(service, shaken, wait, in_the_middle(len(latents(service, calm))))
    assert latents(service, calm)
    assert latents(service, shaken) == latents(service, calm)
    assert np.array_equal(frames(shaken), frames(calm))


@pytest.mark.proof
def test_a_killed_storyboard_has_the_panels_of_an_undisturbed_one(service, files, wait) -> None:
    request = request_of(files, KINDS["image, inverted"])
    calm = [frames(wait(service, job)) for job in service.storyboard(request)]
    jobs = service.storyboard(request)
    assert len(jobs) == len(calm) >= 2
    shaken = [kill(service, job, wait, lambda now: now.progress.step >= 3) for job in jobs[:2]]
    shaken += [wait(service, job) for job in jobs[2:]]
    for job, expected in zip(shaken, calm, strict=True):
        assert np.array_equal(frames(job), expected)
