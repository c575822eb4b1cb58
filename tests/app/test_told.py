"""What HTTP says of jobs and mistakes: in sentences with a way out, and never with a folder of this machine."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_generator import ask

from framepack.app.api.guard import FOR_FILES
from framepack.app.api.views import update_view
from framepack.app.cli import generate
from framepack.app.service.paths import without_folders
from framepack.jobs.feed import JobUpdate
from framepack.jobs.job import Job, Progress
from framepack.media.video import VideoWriter
from framepack.spec.events import Failed
from framepack.spec.machine import MachineOptions
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


def film(file: Path, frames: int = 10) -> Path:
    with VideoWriter(file, fps=30, size=(64, 64)) as writer:
        for number in range(frames):
            writer.write(np.full((64, 64, 3), 9 * number % 256, np.uint8))
    return file


def ended(service, status: str, request: GenerationRequest | None = None, **fields: object) -> Job:
    (job,) = service.store.submit([request or ask()])
    claimed = service.store.claims.take("w")
    service.store.claims.finish(job.id, claimed.claim, status, **fields)
    return service.get(job.id)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("'{home}/uploads/ab.png' is a picture", "'ab.png' is a picture"),
        ("{home}/work/ab/cd: section-0001.json is missing", "cd: section-0001.json is missing"),
        ("'{home}/finishings/ab/files/1/my film.mp4' is 96x64", "'my film.mp4' is 96x64"),
        ("the disk of {outputs} is full", "the disk of outputs is full"),
        ("there is a file {outputs}/a b.mp4 already", "there is a file a b.mp4 already"),
        ('File "{program}/framepack/jobs/run.py", line 1', 'File "run.py", line 1'),
        ("fetch {user}/.cache/hub/model.safetensors", "fetch model.safetensors"),
        ("see {outputs}-other/x and /api/jobs and 1/2", "see {outputs}-other/x and /api/jobs and 1/2"),
    ],
)
def test_files_are_called_by_their_bare_names(service, said, shown):
    import framepack

    places = {"program": Path(framepack.__file__).parents[1], "user": Path.home()}
    places |= {"home": service.folders.home, "outputs": service.folders.outputs}
    shown = shown.format(**places)
    assert without_folders(said.format(**places), service.folders) == shown
    assert without_folders({"a": [said.format(**places), 1]}, service.folders) == {"a": [shown, 1]}


def test_a_job_that_failed_says_no_folder_also_of_its_own_files(client, service, tmp_path):
    elsewhere = tmp_path / "films"
    request = ask().model_copy(update={"output": ask().output.model_copy(update={"path": elsewhere / "a.mp4"})})
    reason = f"'{service.folders.uploads}/ab.png' is a picture; {elsewhere}/a.mp4 is there, the disk of {elsewhere}"
    notices = (f"{elsewhere}/b.png is cut off",)
    traceback = f'File "{elsewhere}/x.py", line 1, in {service.folders.home}/work/ab'
    job = ended(service, "failed", request, reason=reason, traceback=traceback, progress=Progress(notices=notices))
    shown = client.get(f"/api/jobs/{job.id}").json()
    assert shown["reason"] == "'ab.png' is a picture; a.mp4 is there, the disk of films"
    assert shown["progress"]["notices"] == ["b.png is cut off"]
    assert shown["traceback"] == 'File "x.py", line 1, in ab'
    event = Failed(message=reason, traceback=traceback)
    for answer in (
        shown,
        client.get("/api/jobs").json(),
        update_view(JobUpdate(job=job, event=event), service.folders),
    ):
        assert str(tmp_path) not in json.dumps(answer)
    for route in ("video", "timeline", "frames/0", "inspect"):
        answer = client.get(f"/api/jobs/{job.id}/{route}")
        assert answer.status_code == 404
        assert f"job {job.id} failed before there was anything to play ('ab.png' is a" in answer.json()["error"]


def test_a_job_without_a_video_here_says_why(client, service, tmp_path):
    there, gone = film(tmp_path / "there.mp4"), service.folders.outputs / "gone.mp4"
    (waiting,) = service.store.submit([ask()])
    waiting = service.store.pause(waiting.id)
    jobs = {
        "lies where its output.path says": ended(service, "done", outputs=[there]),
        "was moved or deleted": ended(service, "done", outputs=[gone]),
        "was cancelled before": ended(service, "cancelled"),
        "nothing to play yet": waiting,
    }
    for why, job in jobs.items():
        answer = client.get(f"/api/jobs/{job.id}/video")
        assert (answer.status_code, why in answer.json()["error"]) == (404, True), answer.text
        answer = client.post(f"/api/jobs/{job.id}/finish", json={"grain": 0.1}).json()["error"]
        assert (why if job.status == "done" else f"is {job.status}") in answer


def test_a_still_is_not_redone_and_has_no_timeline(client, service):
    request = GenerationRequest.model_validate({"image": "x.png", "still": {"index": 4}})
    picture = service.folders.outputs / "s.png"
    picture.write_bytes(b"a picture")
    job = ended(service, "done", request, outputs=[picture]).id
    answer = client.post(f"/api/jobs/{job}/redo", json={"section": 1})
    assert answer.json() == {
        "error": f"job {job} is a still: nothing in it can be redone; make another one with another seed"
    }
    assert f"job {job} is a still" in client.get(f"/api/jobs/{job}/timeline").json()["error"]


def test_a_redo_without_its_sections_names_the_job_and_no_folder(client, service):
    picture = service.folders.uploads / "x.png"
    job = ended(service, "done", ask().model_copy(update={"image": Picture(file=picture)})).id
    answer = client.post(f"/api/jobs/{job}/redo", json={"from_section": 2})
    assert answer.json()["error"] == f"x.png, of which job {job} is made, is not there any more: put it back"
    picture.write_bytes(b"a picture")
    answer = client.post(f"/api/jobs/{job}/redo", json={"from_section": 2})
    assert f"job {job}'s sections are not there any more (section-" in answer.json()["error"]
    assert str(service.folders.home) not in answer.text


def test_frames_of_a_task_with_a_source_are_known_when_it_is_done(client, service):
    data = {"image": "x.mp4", "model": "framepack-f1", "task": "extend", "seconds": 1.0}
    request = GenerationRequest.model_validate(data)
    (waiting,) = service.store.submit([request])
    assert client.get(f"/api/jobs/{waiting.id}").json()["frames"] is None
    service.store.cancel(waiting.id)
    done = ended(service, "done", request, progress=Progress(frames=39))
    assert client.get(f"/api/jobs/{done.id}").json()["frames"] == 39
    loop = GenerationRequest.model_validate({"image": "x.png", "task": "loop", "seconds": 2.0})
    (job,) = service.store.submit([loop])
    assert client.get(f"/api/jobs/{job.id}").json()["frames"] == loop.delivered_frames


def test_the_command_line_says_the_length_of_the_video_that_is_restyled(tmp_path, capsys, monkeypatch):
    def begun(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "load", begun)
    request = GenerationRequest(image=film(tmp_path / "a.mkv", 30), model="framepack-f1", task="restyle", seconds=100)
    assert generate.run(request, None, MachineOptions()) == generate.INTERRUPTED
    assert "1 s · 30 frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("/jobs?limit=x", "limit must be a whole number, got 'x'"),
        ("/jobs?limit=-3", "limit must be 1 or more, got '-3'"),
        ("/jobs/JOB/frames/x", "which must be a whole number, or one of first, last, got 'x'"),
        ("/jobs/JOB/frames", "at is missing: say which it is"),
        ("/jobs/JOB/timeline?to=avi", "to must be one of otio, otioz, edl, fcp7, fcpxml, got 'avi'"),
        ("/jobs/JOB/video?fps=25", "fps 25.0 needs a format: name that too, such as format=mp4"),
    ],
)
def test_a_mistake_in_an_address_is_a_sentence_of_ours(client, service, address, says):
    job = ended(service, "done", outputs=[film(service.folders.outputs / "v.mp4")]).id
    assert client.get(f"/api{address.replace('JOB', job)}").json() == {"error": says}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"only": 1}, "there is no setting called only: leave it out"),
        ({"section": "x"}, "section must be a whole number, got 'x'"),
        ({"section": 1, "seed": -1}, "seed must be 0 or more, got -1"),
        ([1], "the body must be an object with names and values, got a list of 1"),
    ],
)
def test_a_mistake_in_a_small_body_is_one_too(client, body, says):
    assert client.post("/api/jobs/x/redo", json=body).json() == {"error": says}


def test_a_setting_that_a_conversion_does_not_use_is_said(client, service):
    job = ended(service, "done", outputs=[film(service.folders.outputs / "v.mp4")]).id
    note = "crf 20 has no effect: gif is not compressed by it"
    assert client.post(f"/api/jobs/{job}/convert?format=gif&crf=20").json()["notes"] == [note]
    assert client.get(f"/api/jobs/{job}/video?format=gif&crf=20").headers["x-notes"] == note
    assert "x-notes" not in client.get(f"/api/jobs/{job}/video?format=gif").headers
    sent = client.post("/api/finishings", json={"file": "v.mp4", "format": "gif", "crf": 20})
    assert sent.json()["notices"] == [note]


def test_forms_may_be_large_wherever_files_are_taken(client):
    taking = {
        path
        for path, of in client.get("/api/openapi.json").json()["paths"].items()
        if "multipart/form-data" in of.get("post", {}).get("requestBody", {}).get("content", {})
    }
    assert taking == set(FOR_FILES)
