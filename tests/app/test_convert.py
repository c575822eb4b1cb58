"""A job's video in other formats: real frames through the real child."""

import io
import os
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from exiftool import says_made_by_ai
from tones import tone

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from fake_generator import ask

from framepack.app.api.files import send_file
from framepack.app.service import convert
from framepack.app.service.convert import Conversions, Limits
from framepack.app.service.job_service import Service
from framepack.app.service.notices import said_in
from framepack.files.child import start
from framepack.files.errors import MediaError
from framepack.files.landlock import version
from framepack.jobs.folders import Folders
from framepack.jobs.job import Job
from framepack.media.finishing import write_anew
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.sound import Sound
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS
from framepack.spec.output import FileCoding


def film(file: Path, frames: int = 10) -> Path:
    with VideoWriter(file, fps=10, size=(48, 32), metadata='{"request": {"seed": 7}}') as writer:
        for shade in np.linspace(0, 255, frames).astype(np.uint8):
            writer.write(np.full((32, 48, 3), shade))
    return file


def done(service: Service, suffix: str = ".mp4", status: str = "done") -> Job:
    """A job that ended with a video."""
    (job,) = service.store.submit([ask()])
    claimed = service.store.claims.take("w")
    video = film(service.folders.outputs / f"v{suffix}")
    if status == "running":
        service.store.claims.heartbeat(job.id, claimed.claim, job.progress, [video])
        return service.get(job.id)
    return service.store.claims.finish(job.id, claimed.claim, status, outputs=[video])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_asked_for_and_has_all_frames_and_the_settings(client, service, name):
    job = done(service)
    answer = client.get(f"/api/jobs/{job.id}/video", params={"format": name})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == FORMATS[name].mime
    ending = f".{name}.zip" if name in ("tiff", "exr") else FORMATS[name].suffix
    assert f"v{ending}" in answer.headers["content-disposition"]
    file = io.BytesIO(answer.content)
    assert probe(file).frames == 10
    assert read_metadata(file) == {"request": {"seed": 7}}
    frames = np.stack(list(read_video(file)))
    assert np.abs(frames.mean((1, 2, 3)) - np.linspace(0, 255, 10)).max() < 12
    if name == "png":
        assert len(zipfile.ZipFile(file).namelist()) == 12  # ten pictures, the request, the mark
    part = client.get(f"/api/jobs/{job.id}/video", params={"format": name}, headers={"range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, answer.content[:10])


@pytest.mark.parametrize(
    ("asked", "codec", "name"),
    [
        ({"format": "mp4", "codec": "av1"}, "av1", "v.av1.mp4"),
        ({"format": "webm", "quality": "lossless"}, "vp9", "v.lossless.webm"),
        ({"format": "mp4", "codec": "h264"}, "h264", "v.mp4"),
    ],
)
def test_a_codec_can_be_asked_for_too(client, service, asked, codec, name):
    job = done(service)
    answer = client.get(f"/api/jobs/{job.id}/video", params=asked)
    assert answer.status_code == 200, answer.text
    assert name in answer.headers["content-disposition"]
    assert (probe(io.BytesIO(answer.content)).codec, probe(io.BytesIO(answer.content)).frames) == (codec, 10)


def test_a_codec_that_a_format_has_not_is_a_sentence(client, service):
    job = done(service)
    for asked, words in (
        ({"format": "mov", "codec": "h264"}, "mov holds prores or prores4444, got codec h264"),
        ({"format": "mp4", "quality": "lossless"}, "h264 is never lossless"),
        ({"codec": "av1"}, "av1 needs a format"),
    ):
        answer = client.get(f"/api/jobs/{job.id}/video", params=asked)
        assert answer.status_code in (400, 422), answer.text
        assert words in answer.text


@pytest.mark.parametrize("metadata", ['{"request": {}}', '{"request": {"output": {"mark": false}}}', None])
@pytest.mark.parametrize("name", FORMATS)
def test_the_mark_goes_along_where_there_is_one(tmp_path, name, metadata):
    source, target = tmp_path / "v.mkv", tmp_path / f"w{FORMATS[name].suffix}"
    with VideoWriter(source, fps=10, size=(48, 32), metadata=metadata) as writer:
        writer.write(np.zeros((2, 32, 48, 3), np.uint8))
    write_anew(source, target, FileCoding(format=name))
    assert says_made_by_ai(target) == says_made_by_ai(source) == (metadata == '{"request": {}}')


def test_the_mark_of_a_video_without_settings_goes_along(tmp_path):
    source, target = tmp_path / "v.mp4", tmp_path / "w.mkv"
    film(source)
    source.write_bytes(source.read_bytes().replace(b'{"request"', b'["request"'))
    assert read_metadata(source) is None
    write_anew(source, target, FileCoding(format="mkv"))
    assert says_made_by_ai(target)


def test_what_is_made_of_a_signed_video_is_signed_anew(client, service, tmp_path, monkeypatch):
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    from framepack.media import credentials
    from framepack.media.signing_key import FOLDER

    monkeypatch.setenv(FOLDER, str(tmp_path / "identity"))
    job = done(service)
    credentials.sign_file(service.video(job.id))
    for format_, signed in (("gif", True), ("mkv", False), ("mkv", False)):  # the last one was made before
        made = service.converted(job.id, FileCoding(format=format_))
        found = credentials.read_credentials(made)
        notes = client.post(f"/api/jobs/{job.id}/convert", params={"format": format_}).json()["notes"]
        assert (found is not None, notes == []) == (signed, signed)
        if found:
            (ingredient,) = found["manifests"][found["active_manifest"]]["ingredients"]
            assert (found["validation_state"], ingredient["title"]) == ("Valid", "v.mp4")
    assert notes[0].startswith("the content credentials of v.mp4 do not go along: those of mkv are in a file beside it")


def test_a_key_that_cannot_sign_is_said_without_its_folder(client, service, tmp_path, monkeypatch):
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    from framepack.media import credentials, signing_key

    job = done(service)
    monkeypatch.setenv(signing_key.FOLDER, str(tmp_path / "identity"))
    credentials.sign_file(service.video(job.id))
    (tmp_path / "identity" / signing_key.KEY).write_text("no key")
    service.folders.private = (signing_key.identity_folder(),)  # as a service has it that is started with that folder
    (note,) = client.post(f"/api/jobs/{job.id}/convert", params={"format": "gif"}).json()["notes"]
    assert "do not go along: key.pem is no PEM file" in note


def test_what_is_left_out_is_said_each_time_until_the_video_is_another(client, service, tmp_path):
    job, said = done(service), "the sound of the file is left out, as gif has none"
    video = service.video(job.id)
    with VideoWriter(video, fps=10, size=(48, 32), sound=Sound(file=tone(tmp_path / "t.wav"))) as writer:
        writer.write(np.zeros((5, 32, 48, 3), np.uint8))
    for _ in range(2):
        assert client.get(f"/api/jobs/{job.id}/video", params={"format": "gif"}).headers["x-notes"] == said
        made = client.post(f"/api/jobs/{job.id}/convert", params={"format": "gif", "crf": 20}).json()
        assert made["notes"] == ["crf 20 has no effect: gif is not compressed by it", said]
    assert len(list(service.conversions.folder(job.id).iterdir())) == 4  # two, and what was said of them
    film(video)
    assert "x-notes" not in client.get(f"/api/jobs/{job.id}/video", params={"format": "gif"}).headers
    assert len(list(service.conversions.folder(job.id).iterdir())) == 3
    service.delete(job.id)
    assert not service.conversions.folder(job.id).exists()


def test_a_note_may_be_in_any_script(tmp_path):
    (tmp_path / "v.gif").write_bytes(b"GIF8")
    said = ["the sound of '東京.mp4' is 100% lost;\nall of it"]
    header = send_file(tmp_path / "v.gif", said).headers["x-notes"]
    assert header.isascii()
    assert header.isprintable()
    assert unquote(header) == said[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"frames": 3, "total": "x", "files": []}', {"frames": 3}),
        (b'{"notice": "a\\u001b[2Jb"}', {"notice": "a\\x1b[2Jb"}),
        (b'{"notice": 7}', {}),
        (b"[1]", {}),
        (b'{"notice": "cut of', {}),
    ],
)
def test_nothing_of_another_kind_is_heard_of_a_child(line, said):
    assert said_in(line) == said


def test_a_child_that_never_ends_to_complain_fills_nothing(service, monkeypatch):
    code = 'import sys\nfor n in range(10000): sys.stdout.write(\'{"notice": "no"}\\n\')'
    monkeypatch.setattr(convert, "start", lambda them, **rest: start([sys.executable, "-c", code], **rest))
    heard = []
    service.conversions._ask("convert_child", film(service.folders.outputs / "v.mp4"), {"target": "x"}, heard.append)
    assert len(heard) == 20


def test_a_gif_of_a_fast_video_lasts_as_long(tmp_path):
    fast = tmp_path / "v.mp4"
    with VideoWriter(fast, fps=120, size=(48, 32)) as writer:
        for shade in np.linspace(0, 255, 120).astype(np.uint8):
            writer.write(np.full((32, 48, 3), shade))
    write_anew(fast, tmp_path / "v.gif", FileCoding(format="gif"))
    assert probe(tmp_path / "v.gif").frames == 50
    assert probe(tmp_path / "v.gif").duration == pytest.approx(1.0)


def test_it_is_made_once_and_again_when_the_video_is_another(client, service):
    job = done(service)
    made = client.post(f"/api/jobs/{job.id}/convert", params={"format": "webm"}).json()
    assert made["bytes"] == len(client.get(made["url"]).content)
    file = service.converted(job.id, FileCoding(format="webm"))
    first = file.stat().st_ctime_ns
    assert service.converted(job.id, FileCoding(format="webm")).stat().st_ctime_ns == first
    film(service.video(job.id), frames=5)
    assert probe(service.converted(job.id, FileCoding(format="webm"))).frames == 5
    service.delete(job.id)
    assert not file.exists()


def test_a_video_that_is_replaced_while_it_is_converted_is_converted_again(tmp_path, monkeypatch):
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    conversions, source = Conversions(folders), film(folders.outputs / "v.mp4")
    ask_child = conversions._ask

    def replaced_meanwhile(*asked):
        monkeypatch.undo()
        answer = ask_child(*asked)
        film(source, frames=5)
        os.utime(source, (1, 1))
        return answer

    monkeypatch.setattr(conversions, "_ask", replaced_meanwhile)
    assert probe(conversions.file("j", source, FileCoding(format="mkv"))).frames == 10
    assert probe(conversions.file("j", source, FileCoding(format="mkv"))).frames == 5


def test_while_a_job_runs_it_can_be_looked_at_as_an_mp4_and_nothing_else(client, service):
    job = done(service, ".mkv", status="running")
    assert client.get(f"/api/jobs/{job.id}/video", params={"format": "mp4"}).headers["content-type"] == "video/mp4"
    refused = client.get(f"/api/jobs/{job.id}/video", params={"format": "gif"})
    assert (refused.status_code, "when it is finished" in refused.json()["error"]) == (409, True)


def test_what_cannot_be_is_refused_in_a_sentence(client, service, monkeypatch):
    job = done(service)
    assert client.get(f"/api/jobs/{job.id}/video", params={"format": "exe"}).status_code == 422
    assert client.post("/api/jobs/none/convert", params={"format": "gif"}).status_code == 404
    monkeypatch.setattr(service.folders, "reserve", 10**18)
    full = client.get(f"/api/jobs/{job.id}/video", params={"format": "gif"})
    assert (full.status_code, "disk is full" in full.json()["error"]) == (507, True)


@pytest.mark.parametrize("limits", [Limits(seconds=0), Limits(memory_bytes=1 << 20), Limits(file_bytes=100)])
def test_a_conversion_beyond_its_limits_ends_and_leaves_nothing(tmp_path, limits):
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    conversions = Conversions(folders, limits)
    source = film(folders.outputs / "v.mp4")
    with pytest.raises(ValueError, match=r"cannot be converted|disk is full"):
        conversions.file("j", source, FileCoding(format="mkv"))
    assert list(conversions.folder("j").iterdir()) == []


def test_a_damaged_video_is_a_sentence(tmp_path):
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    source = film(folders.outputs / "v.mp4")
    source.write_bytes(source.read_bytes()[:500])
    with pytest.raises(MediaError, match="cannot be converted to gif: "):
        Conversions(folders).file("j", source, FileCoding(format="gif"))


def test_old_conversions_and_those_of_deleted_jobs_are_dropped(tmp_path):
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    conversions = Conversions(folders)
    for name in ("young", "old", "gone"):
        conversions.folder(name).mkdir(parents=True)
    os.utime(conversions.folder("old"), (1, 1))
    conversions.sweep({"young", "old"})
    assert [folder.name for folder in (folders.home / "converted").iterdir()] == ["young"]


HOSTILE = """
from pathlib import Path
from framepack.app.service import convert_child as child
from framepack.media.finishing import Progress
def convert(source, again, target, output, steps, enlarge):
    try:
        Path(SECRET).read_text()
    except OSError:
        target.write_text("made")
    try:
        (target.parent.parent / "outside").write_text("x")
    except OSError:
        yield Progress(frames=1, total=1)
child.finish_open_file = convert
child.main()
"""


@pytest.mark.skipif(not version(), reason="this kernel has no Landlock, or it is switched off")
def test_a_converter_that_was_taken_over_reads_no_other_file_and_writes_into_one_folder(service, monkeypatch):
    job, secret = done(service), service.folders.home / "secret"
    secret.write_text("secret")
    code = HOSTILE.replace("SECRET", repr(str(secret)))
    monkeypatch.setattr(convert, "start", lambda them, **rest: start([sys.executable, "-c", code, them[-1]], **rest))
    assert service.converted(job.id, FileCoding(format="gif")).read_text() == "made"
    assert not (service.folders.home / "converted" / "outside").exists()


def test_what_was_made_of_another_video_does_not_stand_for_one_that_cannot_be_made(service, monkeypatch):
    job = done(service)
    assert probe(service.converted(job.id, FileCoding(format="gif"))).frames == 10
    film(service.video(job.id), frames=5)
    with monkeypatch.context() as patch:
        patch.setattr(
            convert, "start", lambda them, **rest: start([sys.executable, "-c", "import os; os.abort()"], **rest)
        )
        with pytest.raises(MediaError, match="needs more time or memory than the service allows"):
            service.converted(job.id, FileCoding(format="gif"))
    assert probe(service.converted(job.id, FileCoding(format="gif"))).frames == 5


def test_slow_conversions_of_one_video_close_the_way_for_no_other(client, service, monkeypatch):
    """Two formats of it may wait, and four in all; the next are told when to ask again, and what is made is there."""
    mine, other, third = (done(service, f"{number}.mp4") for number in (1, 2, 3))
    begun, go_on = threading.Semaphore(0), threading.Event()
    made = service.converted(mine.id, FileCoding(format="mkv")).read_bytes()

    def slow(_, source, target, *rest):
        begun.release()
        go_on.wait(60)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"made")
        return {"frames": 1, "signed": False}

    monkeypatch.setattr(Conversions, "_make", slow)

    def ask(job, name):
        return client.post(f"/api/jobs/{job.id}/convert", params={"format": name})

    asked = [(mine, "gif"), (mine, "webm"), (other, "gif"), (other, "webm")]
    with ThreadPoolExecutor(8) as pool:
        slow_ones = [pool.submit(ask, *one) for one in asked]
        assert begun.acquire(timeout=60)
        until = time.monotonic() + 60
        while len(service.conversions._asked) < len(asked):
            assert time.monotonic() < until
            time.sleep(0.01)
        for job, says in ((mine, "2 formats of this video"), (third, "4 videos wait")):
            refused = ask(job, "webp")
            assert (refused.status_code, says in refused.json()["error"]) == (503, True)
            assert 0 < int(refused.headers["retry-after"]) <= 60
        assert client.get(f"/api/jobs/{mine.id}/video", params={"format": "mkv"}).content == made
        go_on.set()
        assert [one.result().status_code for one in slow_ones] == [200] * 4
    assert service.conversions._asked == []


def test_a_file_larger_than_the_service_allows_is_not_called_a_full_disk(service, monkeypatch):
    job = done(service)
    monkeypatch.setattr(service.conversions, "_limits", Limits(file_bytes=100))
    with pytest.raises(MediaError, match=r"it would have more than 9\.31e-08 GB"):
        service.converted(job.id, FileCoding(format="mkv"))
