"""Uploads: what is no picture or video is refused in a sentence, and the service stays."""

import io
import json
import os
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.app.service import uploads
from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.tidy import UNUSED_AFTER
from framepack.app.service.uploads import Incoming, NoRoom, TooLarge
from framepack.files.atomic import AtomicFile
from framepack.files.errors import MediaError
from framepack.jobs.pool import PoolConfig
from framepack.media.sheet import png_with
from framepack.media.video import VideoWriter


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    with Service(folders_at(folder / "outputs", reserve=0), PoolConfig(target="nothing:at_all", workers=[])) as service:
        yield service


def picture(kind: str = "PNG", size: tuple[int, int] = (32, 24), **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(
        out, kind, **options
    )
    return out.getvalue()


def video(folder: Path, metadata: str | None = None) -> bytes:
    file = folder / "v.mp4"
    with VideoWriter(file, fps=10, size=(32, 32), metadata=metadata) as writer:
        writer.write(np.zeros((8, 32, 32, 3), np.uint8))
    return file.read_bytes()


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


def send(client, data: bytes, name: str = "x.png"):
    return client.post("/api/uploads", files={"file": (name, data)})


def test_a_picture_is_kept_as_its_pixels_under_a_random_name(client, service):
    data = picture("JPEG", quality=90) + b"<script>alert(1)</script>"
    answer = send(client, data, "../../<img src=x>.html")
    (upload,) = answer.json()
    assert (answer.status_code, upload["kind"], upload["width"], upload["height"]) == (201, "picture", 32, 24)
    file = service.folders.uploads / upload["id"]
    assert file.read_bytes().startswith(b"\x89PNG")
    assert b"script" not in file.read_bytes()
    assert client.get(f"/api/uploads/{upload['id']}/picture").headers["content-type"] == "image/jpeg"


def test_the_same_pixels_come_out_as_went_in(client, service):
    data = picture()
    (upload,) = send(client, data).json()
    kept = np.asarray(Image.open(service.folders.uploads / upload["id"]))
    assert np.array_equal(kept, np.asarray(Image.open(io.BytesIO(data))))


def test_a_video_tells_the_settings_it_was_made_with_but_no_path(client, tmp_path):
    request = {"image": "/home/me/a.png", "seed": 5, "output": {"path": "/home/me/v.mp4"}}
    metadata = json.dumps({"framepack": "0.1.0", "request": request})
    (upload,) = send(client, video(tmp_path, metadata), "v.mp4").json()
    assert (upload["kind"], upload["width"]) == ("video", 32)
    assert upload["seconds"] == pytest.approx(0.8, abs=0.11)
    assert (upload["request"]["image"], upload["request"]["seed"]) == ("a.png", 5)
    assert "/home/me" not in str(upload)
    (plain,) = send(client, video(tmp_path), "v.mp4").json()
    assert plain["request"] is None


@pytest.mark.parametrize("kind", ["video", "picture"])
def test_what_framepack_made_is_made_again_by_the_request_its_upload_answers_with(client, service, tmp_path, kind):
    (mine,) = send(client, picture()).json()
    asked = {"image": mine["id"], "prompt": "night falls", "steps": 9, "output": {"crf": 20}}
    first = service.get(client.post("/api/jobs", json=asked).json()["id"]).request
    metadata = json.dumps({"framepack": "0.1.0", "request": first.model_dump(mode="json")})
    made = video(tmp_path, metadata) if kind == "video" else png_with(picture(), metadata)
    (upload,) = send(client, made, "made").json()
    again = client.post("/api/jobs", json={**upload["request"], "seed": 5})
    assert again.status_code == 201, again.text
    assert service.get(again.json()["id"]).request == first.model_copy(update={"seed": 5})
    (other,) = send(client, picture()).json()
    with_another = {**upload["request"], "image": other["id"]}
    assert client.post("/api/jobs", json=with_another).json()["request"]["image"] == other["id"]
    (service.folders.uploads / mine["id"]).unlink()
    gone = client.post("/api/jobs", json=upload["request"])
    assert (gone.status_code, "upload the file and give its id" in gone.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        picture()[:-40],
        picture()[:20],
        picture("JPEG")[:300],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"#!/bin/sh\nid",
        bomb(60000, 60000),
        bomb(20000, 3000),
        b"GIF89a" + bytes(20),
        b"PK\x03\x04" + bytes(100),
        b"\x00\x00\x00\x18ftypmp42" + bytes(100),
        b"\x1aE\xdf\xa3" + bytes(100),
    ],
    ids=range(13),
)
def test_what_cannot_be_decoded_is_refused_in_a_sentence(client, service, data):
    before = set(service.folders.uploads.iterdir())
    answer = send(client, data)
    assert 400 <= answer.status_code < 500
    assert str(service.folders.uploads) not in answer.json()["error"]
    assert len(answer.json()["error"]) > 10
    assert set(service.folders.uploads.iterdir()) == before


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "video"])
def test_mutations_never_break_the_service(client, tmp_path, kind):
    """A few of each format here; `benchmarks/upload_mutations.py` sends 300 of each."""
    data = video(tmp_path) if kind == "video" else picture(kind)
    chance = random.Random(kind)
    for _ in range(2):
        assert send(client, mutated(data, chance)).status_code in (201, 400)
    assert client.get("/api/health").status_code == 200


def mutated(data: bytes, chance: random.Random) -> bytes:
    bad = bytearray(data)
    for _ in range(chance.randint(1, 30)):
        bad[chance.randrange(len(bad))] = chance.randrange(256)
    return bytes(bad[: chance.randint(1, len(bad))]) if chance.random() < 0.3 else bytes(bad)


def test_the_limit_holds_before_the_disk_fills(client, service, monkeypatch):
    monkeypatch.setattr(uploads, "IMAGE_LIMIT", 10_000)
    answer = send(client, picture(size=(200, 200)))
    assert answer.status_code == 413
    assert "a picture may have" in answer.json()["error"]
    with Incoming(service.folders) as incoming:
        incoming.write(picture()[:100])
        with pytest.raises(TooLarge):
            incoming.write(bytes(20_000))
        assert incoming.file.stat().st_size <= 100


def test_a_video_may_be_larger_than_a_picture(monkeypatch, service, tmp_path):
    monkeypatch.setattr(uploads, "IMAGE_LIMIT", 100)
    with Incoming(service.folders) as incoming:
        incoming.write(video(tmp_path))
        assert incoming.accept().kind == "video"


def test_a_full_disk_refuses_uploads(client, service, monkeypatch):
    monkeypatch.setattr(service.folders, "reserve", 10**18)
    answer = send(client, picture())
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"--x\r\nno colon\r\n\r\n", "multipart/form-data; boundary=x"),
        (b"x", "multipart/form-data"),
        (b"x", "text/plain"),
        (
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + b"a" * 1_100_000,
            "multipart/form-data; boundary=x",
        ),
        (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 100, "multipart/form-data; boundary=x"),
    ],
    ids=range(7),
)
def test_a_form_that_is_none_is_refused(client, content, kind):
    answer = client.post("/api/uploads", content=content, headers={"content-type": kind})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]


def test_a_file_that_was_not_accepted_leaves_nothing(service):
    before = set(service.folders.uploads.iterdir())
    with Incoming(service.folders) as incoming:
        incoming.write(b"nothing")
        with pytest.raises(MediaError):
            incoming.accept()
    assert set(service.folders.uploads.iterdir()) == before


def test_files_that_were_on_their_way_when_a_service_was_killed_are_dropped_at_the_next_start(tmp_path):
    folders = folders_at(tmp_path, reserve=0)
    on_its_way = Incoming(folders)
    copying = AtomicFile(folders.uploads / "0123.png").temporary  # by a command, which may be at work
    old, fresh = AtomicFile(folders.outputs / "v.mp4").temporary, AtomicFile(folders.outputs / "v.mp4").temporary
    for file in (copying, old, fresh):
        file.touch()
    os.utime(old, (0, time.time() - UNUSED_AFTER - 1))
    with Service(folders, PoolConfig(target="nothing:at_all", workers=[])):
        there = [file.exists() for file in (on_its_way.file, old, copying, fresh)]
    assert there == [False, False, True, True]


def unused(service) -> int:
    """Bytes of uploads that no job uses."""
    used = service.folders.used()
    return sum(file.stat().st_size for file in service.folders.uploads.iterdir() if file not in used)


def test_uploads_that_no_job_uses_have_a_bound_together(client, service, monkeypatch):
    (used,) = send(client, picture()).json()
    assert client.post("/api/jobs", json={"image": used["id"]}).status_code == 201
    size = (service.folders.uploads / used["id"]).stat().st_size
    monkeypatch.setattr(uploads, "UNUSED_MOST", unused(service) + 3 * size // 2)
    with (service.folders.uploads / used["id"]).open("ab") as file:
        file.write(bytes(9 * size))  # what jobs use does not count
    answers = [send(client, picture()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 507, 507]
    assert "uploads that no job uses take" in answers[-1].json()["error"]
    assert len(answers[-1].json()["error"]) <= 300
    for upload in answers[0].json():
        (service.folders.uploads / upload["id"]).unlink()
    assert send(client, picture()).status_code == 201


def test_the_bound_holds_in_the_middle_of_a_large_upload(service, monkeypatch):
    monkeypatch.setattr(uploads, "UNUSED_MOST", unused(service) + 100_000)
    monkeypatch.setattr(uploads, "LOOK_EVERY", 1000)

    def write(incoming: Incoming) -> None:
        for _ in range(200):
            incoming.write(bytes(1000))

    with Incoming(service.folders) as incoming, pytest.raises(NoRoom, match="no job uses"):
        write(incoming)
    assert not incoming.file.exists()
