"""Takes of a job's video, with the real pipeline in a real worker process on a tiny random checkpoint."""

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

from framepack.app.api.application import make_app
from framepack.app.api.guard import Access
from framepack.app.cli.main import app
from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.takes import Wanted, tree_lines
from framepack.jobs.job import Job
from framepack.jobs.pool import PoolConfig
from framepack.jobs.store import JobStore
from framepack.media.metadata import read_metadata
from framepack.media.read import read_video
from framepack.spec.request import GenerationRequest

TARGET = "framepack.app.service.worker_target:make_generator"


@pytest.fixture
def service(tmp_path: Path, tiny_models_dir: Path):
    settings = {"models_dir": str(tiny_models_dir), "device": "cpu", "threads": 1, "offline": True}
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target=TARGET, workers=[settings])) as service:
        yield service


@pytest.fixture
def request_(tmp_path: Path) -> GenerationRequest:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "picture.png")
    return GenerationRequest.model_validate(
        {
            "image": tmp_path / "picture.png",
            "model": "framepack",
            "seconds": 1.6,
            "window": 3,
            "steps": 30,
            "width": 64,
            "height": 64,
            "output": {"format": "mkv"},
        }
    )


def sections(service: Service, job: Job) -> dict[str, tuple[int, bytes]]:
    """Inode and bytes of each section that a job keeps."""
    files = sorted(service.folders.work(job.id).rglob("section-*.safetensors"))
    return {file.name: (file.stat().st_ino, file.read_bytes()) for file in files}


def frames(job: Job) -> np.ndarray:
    return np.stack(list(read_video(job.outputs[0])))


def test_takes_over_http_and_on_the_command_line(service, request_, wait, tmp_path):
    (first,) = service.submit([request_])
    first = wait(service, first)
    assert (first.status, first.reason) == ("done", "")
    assert len(sections(service, first)) == 4
    work = service.folders.work_of(first.id, first.request_json)
    wait(service, first, lambda _: not list(work.glob("settled*")))  # their frames can be decoded again
    runner, shared = CliRunner(), ["--outputs", str(service.folders.outputs)]
    with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
        for body, said in (
            ({}, "name either section"),
            ({"section": 1, "from_section": 2}, "name either section"),
            ({"section": 9}, "section must be 1..4"),
            ({"section": 1, "speed": 2}, "speed"),
        ):
            answer = client.post(f"/api/jobs/{first.id}/redo", json=body)
            assert answer.status_code in (400, 422), body
            assert said in answer.json()["error"]
        asked = client.post(f"/api/jobs/{first.id}/redo", json={"section": 2, "prompt": "a boat", "seed": 5})
        assert asked.status_code == 201, asked.text
        second = wait(service, service.get(asked.json()["id"]))
        assert (second.status, second.reason) == ("done", "")
        assert client.post(f"/api/jobs/{first.id}/redo", json={"section": 1}).status_code == 201
        refused = client.post(
            "/api/jobs", json={**asked.json()["request"], "image": Path(first.request.image.file).name}
        )
        assert "a take is made of the sections of another one" in refused.json()["error"]
        tree = client.get(f"/api/jobs/{second.id}/takes").json()
    assert [(node["take"], node["parent"], node["sections"]) for node in tree] == [
        (1, None, [1, 1, 1, 1]),
        (2, 1, [1, 2, 1, 1]),
        (3, 1, [3, 1, 1, 1]),
    ]
    assert second.label == "take 2: section 2, 'a boat'"
    said = runner.invoke(app, ["jobs", "redo", second.id[:8], "--from-section", "2", *shared])
    assert said.exit_code == 0, said.output
    fourth = wait(service, service.get(said.output.split()[0]))
    assert fourth.status == "done", fourth.reason
    metadata = read_metadata(fourth.outputs[0])
    assert metadata
    assert [one["take"] for one in metadata["request"]["redo"]] == [2, 4]
    listed = runner.invoke(app, ["jobs", "takes", first.id, *shared]).output
    assert re.findall(r"take \d(?=  )", listed) == ["take 1", "take 2", "take 4", "take 3"]
    assert "[4 4 1 1]" in listed
    one, two, other = sections(service, first), sections(service, second), sections(service, fourth)
    assert [one[name] == two[name] for name in sorted(one)] == [True, True, False, True]
    assert [two[name] == other[name] for name in sorted(one)] == [True, True, False, False]
    third = next(job for job in service.store.takes(first.id) if "take 3" in job.label)
    wait(service, third)
    for gone in (first, second):
        service.delete(gone.id)
    assert sections(service, fourth) == other
    rows = tree_lines(service.takes(fourth.id))
    assert rows[0] == "sections 1: 0..0.4 s, 2: 0.4..0.8 s, 3: 0.8..1.2 s, 4: 1.2..1.6 s"
    assert [("deleted" in row) for row in rows[1:]] == [True, True, False, False]
    cleaned = runner.invoke(app, ["jobs", "clean", fourth.id, *shared])
    assert cleaned.exit_code == 0, cleaned.output
    assert fourth.outputs[0].exists()
    refused = runner.invoke(app, ["jobs", "redo", fourth.id, "--section", "1", *shared])
    assert "make the video again, then redo" in str(refused.exception)
    assert wait(service, service.redo(third.id, Wanted(section=4))).status == "done", "the last one is whole"


@pytest.mark.proof
def test_a_killed_redo_ends_with_the_bits_of_an_undisturbed_one(service, request_, wait):
    (first,) = service.submit([request_])
    first = wait(service, first)
    calm = wait(service, service.redo(first.id, Wanted(section=3, seed=9)))
    shaken = service.redo(first.id, Wanted(section=3, seed=9))
    wait(service, shaken, lambda now: now.status == "running" and now.progress.step >= 3)
    os.kill(service.pool.slots[0].worker.pid, signal.SIGKILL)
    shaken = wait(service, shaken)
    assert (shaken.status, shaken.reason) == ("done", "")
    assert shaken.attempts >= 2
    assert [data for _, data in sections(service, calm).values()] == [d for _, d in sections(service, shaken).values()]
    assert np.array_equal(frames(calm), frames(shaken))
    assert (frames(first) != frames(calm)).any()
    assert service.preview(shaken.id) is None
    assert calm.outputs != first.outputs


def test_a_job_that_is_not_done_and_an_edit_of_a_take_are_refused(service, request_, wait, tmp_path):
    (first,) = service.submit([request_])
    with pytest.raises(ValueError, match="only a done job can be redone"):
        service.redo(first.id, Wanted(section=1))
    wait(service, first)
    service.pool.close()
    take = service.redo(first.id, Wanted(section=1))
    with pytest.raises(ValueError, match="is a take, which cannot be edited"):
        service.edit(take.id, request_)


def test_sections_of_finished_jobs_stay_up_to_a_size_the_newest_first(tmp_path: Path):
    folders = folders_at(tmp_path / "outputs", reserve=0)
    store = JobStore(folders.queue)
    (tmp_path / "a.png").touch()
    jobs = []
    for number in range(3):
        (job,) = store.submit([GenerationRequest(image=tmp_path / "a.png", seed=number)])
        jobs.append(Job(**{**vars(job), "status": "done", "finished": float(number)}))
        work = folders.work_of(job.id, job.request_json)
        work.mkdir(parents=True)
        (work / "section-0000.safetensors").write_bytes(bytes(1000))
        (work / "settled-0000.mkv").write_bytes(bytes(10**6))
    assert folders.limit(jobs, 10**9) == []
    assert not list(folders.home.rglob("settled*")), "frames can be decoded again"
    size = sum(file.stat().st_size for file in folders.work(jobs[0].id).rglob("*"))
    assert folders.limit(jobs, 2 * size) == [jobs[0].id]
    linked = folders.work_of(jobs[1].id, jobs[1].request_json) / "section-0000.safetensors"
    linked.unlink()
    os.link(folders.work_of(jobs[2].id, jobs[2].request_json) / "section-0000.safetensors", linked)
    assert folders.limit(jobs, 2 * size - 1000) == [], "what is shared counts once"
    assert folders.limit(jobs, 0) == [jobs[2].id, jobs[1].id]
    store.close()
