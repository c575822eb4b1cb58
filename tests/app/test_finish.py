"""Finishing over HTTP: a finished job's video with steps, a request with some, and files only of the service's own."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fake_generator import ask
from tones import tone

from framepack.media.marks import is_marked
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.sound import Sound, has_sound
from framepack.media.video import VideoWriter
from framepack.pipeline.finishing import finish

REQUEST = json.dumps({"framepack": "0.1.0", "request": {"image": "a.png", "seed": 7, "schema": 2}})


def film(file: Path, sound: Sound | None = None) -> Path:
    with VideoWriter(file, fps=10, size=(64, 48), metadata=REQUEST, sound=sound) as writer:
        for number in range(20):
            writer.write(np.full((48, 64, 3), 9 * number, np.uint8))
    return file


def small_network(file: Path) -> Path:
    from safetensors.torch import save_file

    from framepack.models.upscaler import RRDBNet

    save_file(RRDBNet(channels=8, growth=4, blocks=1).state_dict(), file)
    return file


def done(service, video: Path, status: str = "done") -> str:
    (job,) = service.store.submit([ask()])
    claimed = service.store.claims.take("w")
    service.store.claims.finish(job.id, claimed.claim, status, outputs=[video])
    return job.id


def test_it_is_what_python_makes_and_is_made_once(client, service, tmp_path):
    video = film(service.folders.outputs / "v.mkv")
    job, steps = done(service, video), {"enlarge": 1.5, "start": 0.5, "sharpen": 0.2}
    answer = client.post(f"/api/jobs/{job}/finish", params={"format": "mkv"}, json=steps)
    assert answer.status_code == 200, answer.text
    want = finish(video, tmp_path / "w.mkv", **steps)
    assert (np.stack(list(read_video(io.BytesIO(answer.content)))) == np.stack(list(read_video(want)))).all()
    assert read_metadata(io.BytesIO(answer.content)) == read_metadata(want)
    assert is_marked(io.BytesIO(answer.content))
    (kept,) = service.conversions.folder(job).iterdir()
    stamp = kept.stat().st_ino
    assert client.post(f"/api/jobs/{job}/finish", params={"format": "mkv"}, json=steps).content == answer.content
    assert kept.stat().st_ino == stamp
    other = client.post(f"/api/jobs/{job}/finish", json={"enlarge": 2})
    assert probe(io.BytesIO(other.content)).width == 128
    assert len(list(service.conversions.folder(job).iterdir())) == 2


def test_the_sound_goes_along(client, service, tmp_path):
    video = film(service.folders.outputs / "v.mp4", Sound(file=tone(tmp_path / "t.wav")))
    answer = client.post(f"/api/jobs/{done(service, video)}/finish", json={"start": 0.5})
    assert answer.status_code == 200, answer.text
    (tmp_path / "o.mp4").write_bytes(answer.content)
    assert has_sound(tmp_path / "o.mp4")
    assert probe(tmp_path / "o.mp4").frames == 15


def test_what_is_left_out_is_said_each_time(client, service, tmp_path):
    video = film(service.folders.outputs / "v.mp4", Sound(file=tone(tmp_path / "t.wav")))
    job = done(service, video)
    for _ in range(2):
        answer = client.post(f"/api/jobs/{job}/finish", params={"format": "gif"}, json={"deflicker": 1})
        assert answer.headers["x-notes"].split("; ") == [
            "deflicker 1 has no effect: brightness is evened out over 2 frames or more",
            "the sound of the file is left out, as gif has none",
        ]


@pytest.mark.proof
def test_a_network_of_the_service_enlarges_as_in_python(client, service, tmp_path):
    """Torch is loaded by the child that is confined afterwards."""
    network = small_network(service.folders.home / "finishing" / "n.safetensors")
    video = film(service.folders.outputs / "v.mkv")
    job, steps = done(service, video), {"enlarge": 3, "end": 0.3}
    asked = {"params": {"format": "mkv"}, "json": {**steps, "network": "n.safetensors"}}
    answer = client.post(f"/api/jobs/{job}/finish", **asked)
    assert answer.status_code == 200, answer.text
    want = finish(video, tmp_path / "w.mkv", network=network, **steps)
    assert (np.stack(list(read_video(io.BytesIO(answer.content)))) == np.stack(list(read_video(want)))).all()
    assert str(service.folders.home) not in str(read_metadata(io.BytesIO(answer.content)))
    assert client.post(f"/api/jobs/{job}/finish", **asked).content == answer.content
    assert len(list(service.conversions.folder(job).iterdir())) == 1
    network.write_bytes(b"another one, which is none")
    refused = client.post(f"/api/jobs/{job}/finish", **asked)
    assert (refused.status_code, "is no network that enlarges" in refused.json()["error"]) == (400, True)
    assert str(service.folders.home) not in refused.text


@pytest.mark.parametrize(
    ("steps", "status", "why"),
    [
        ({}, 400, "change nothing"),
        ({"lut": "a.cube"}, 400, "lut needs a file: send it to POST /api/finishings"),
        ({"network": "n.safetensors", "enlarge": 2}, 400, "no file 'n.safetensors' for finishing here"),
        ({"network": "../n.safetensors", "enlarge": 2}, 400, "no file '../n.safetensors' for finishing here"),
        ({"network": "n.pth", "enlarge": 2}, 422, "network is a .safetensors file"),
        ({"join": ["a.mp4"]}, 400, "join needs a file"),
        ({"enlarge": 9}, 422, "enlarge must be 1..4"),
        ({"enlarge": "2"}, 400, "enlarge is a number"),
        ({"start": 99}, 400, "nothing of it is left"),
        ({"blur": 1}, 422, "no setting called blur"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_leaves_nothing(client, service, steps, status, why):
    job = done(service, film(service.folders.outputs / "v.mkv"))
    answer = client.post(f"/api/jobs/{job}/finish", json=steps)
    assert (answer.status_code, why in answer.json()["error"]) == (status, True), answer.text
    folder = service.conversions.folder(job)
    assert not folder.exists() or not list(folder.iterdir())


def test_a_job_that_is_not_done_has_nothing_to_finish(client, service):
    (job,) = service.store.submit([ask()])
    assert client.post(f"/api/jobs/{job.id}/finish", json={"enlarge": 2}).status_code == 409


def test_a_request_over_http_names_files_of_the_service_only(client, service, tmp_path):
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    sent = {"file": ("a.png", (tmp_path / "a.png").read_bytes())}
    image = client.post("/api/uploads", files=sent).json()[0]["id"]
    for name in ("../queue.sqlite", str(tmp_path / "t.wav"), "none.wav", "queue.sqlite"):
        answer = client.post("/api/jobs", json={"image": image, "finish": {"audio": name}})
        assert answer.status_code == 400, answer.text
        assert "for finishing here" in answer.json()["error"]
    tone(service.folders.home / "finishing" / "t.wav")
    answer = client.post("/api/jobs", json={"image": image, "finish": {"audio": "t.wav", "enlarge": 2}})
    assert answer.status_code == 201, answer.text
    assert answer.json()["request"]["finish"]["audio"] == "t.wav"
    kept = service.get(answer.json()["id"]).request.finish
    assert (kept.audio, kept.enlarge) == (service.folders.home / "finishing" / "t.wav", 2)
