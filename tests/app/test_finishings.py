"""Files handed in over HTTP to be finished: what comes back, how it is watched and cancelled, what a crash leaves."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from framepack.app.service import convert
from framepack.app.service.convert_child import require_time
from framepack.app.service.finishings import DONE, MADE, FileWork
from framepack.app.service.incoming import FILES, taken_in
from framepack.app.service.job_service import Service, folders_at
from framepack.files.child import start
from framepack.files.landlock import version
from framepack.jobs.pool import PoolConfig
from framepack.media.finishing import Progress
from framepack.media.marks import is_marked
from framepack.media.read import probe, read_video
from framepack.media.sound import has_sound
from framepack.media.video import VideoWriter
from framepack.pipeline.finishing import convert as converted
from framepack.pipeline.finishing import finish
from framepack.spec.output import FileCoding

REQUEST = json.dumps({"framepack": "0.1.0", "request": {"image": "a.png", "seed": 7, "schema": 2}})
LUT = "LUT_3D_SIZE 2\n" + "".join(f"{1 - r} {g} {b}\n" for b in (0, 1) for g in (0, 1) for r in (0, 1))


def film(file: Path, frames: int = 20, size: int = 64) -> Path:
    with VideoWriter(file, fps=10, size=(size, size), metadata=REQUEST) as writer:
        for number in range(frames):
            writer.write(np.full((size, size, 3), 9 * number % 256, np.uint8))
    return file


def sent(client: TestClient, file: Path, request: object, **more: tuple[str, bytes]):
    files = {"file": (file.name, file.read_bytes()), **more}
    return client.post("/api/finishings", files=files, data={"request": json.dumps(request)})


def ended(client: TestClient, name: str) -> dict:
    until = time.monotonic() + 120
    while (now := client.get(f"/api/finishings/{name}").json())["status"] in ("waiting", "running"):
        assert time.monotonic() < until, now
        time.sleep(0.05)
    return now


def frames(source: object) -> np.ndarray:
    return np.stack(list(read_video(source)))  # type: ignore[arg-type]


def test_a_file_comes_back_as_python_finishes_it(client, tmp_path):
    file, steps = film(tmp_path / "night.mp4"), {"enlarge": 1.5, "start": 0.5, "grain": 0.2}
    answer = sent(client, file, {**steps, "format": "mov", "codec": "prores4444", "fps": 20})
    assert answer.status_code == 201, answer.text
    now = ended(client, answer.json()["id"])
    assert (now["status"], now["file"], now["frames"], now["error"]) == ("done", "night-finished.mov", 30, "")
    made = client.get(now["url"])
    assert (made.status_code, made.headers["content-type"]) == (200, "video/quicktime")
    want = finish(file, tmp_path / "w.mov", codec="prores4444", fps=20, **steps)
    assert (frames(io.BytesIO(made.content)) == frames(want)).all()
    assert is_marked(io.BytesIO(made.content))
    assert client.get(now["url"], headers={"range": "bytes=0-9"}).content == made.content[:10]
    assert [one["id"] for one in client.get("/api/finishings").json()] == [now["id"]]


def test_without_steps_it_is_converted(client, tmp_path):
    file = film(tmp_path / "v.mkv")
    now = ended(client, sent(client, file, {"format": "webm", "quality": "lossless", "speed": 2}).json()["id"])
    assert now["file"] == "v.webm"
    want = converted(file, tmp_path / "w.webm", quality="lossless", speed=2)
    assert (frames(io.BytesIO(client.get(now["url"]).content)) == frames(want)).all()


def test_further_files_come_with_the_form_or_lie_with_the_service(client, service, tmp_path):
    import wave

    with wave.open(str(tmp_path / "t.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes((9000 * np.sin(np.arange(32000) / 6)).astype("<i2").tobytes())
    (service.folders.home / "finishing" / "red.cube").write_text(LUT)
    file, other = film(tmp_path / "v.mkv"), film(tmp_path / "x.mkv", 5)
    request = {"audio": "part:song", "lut": "red.cube", "join": ["part:then"]}
    more = {"song": ("t.wav", (tmp_path / "t.wav").read_bytes()), "then": ("x.mkv", other.read_bytes())}
    now = ended(client, sent(client, file, request, **more).json()["id"])
    assert now["status"] == "done", now
    (tmp_path / "o.mp4").write_bytes(client.get(now["url"]).content)
    assert (probe(tmp_path / "o.mp4").frames, has_sound(tmp_path / "o.mp4")) == (25, True)
    assert next(read_video(tmp_path / "o.mp4"))[0, 0, 0] > 240
    assert str(service.folders.home) not in (tmp_path / "o.mp4").read_bytes().decode("latin-1")


def test_the_line_in_the_docs_does_what_it_says(client, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "finishing.md").read_text("utf-8")
    words = shlex.split(next(line for line in page.splitlines() if line.startswith("curl -F file=@")))
    parts = dict(one.partition("=")[::2] for one in words[2:-1:2])
    film(tmp_path / "night.mp4", 5)
    (tmp_path / "film.cube").write_text(LUT)
    names = {name: said[1:] for name, said in parts.items() if said.startswith("@")}
    files = {name: (file, (tmp_path / file).read_bytes()) for name, file in names.items()}
    assert words[-1].partition("/")[2] == "api/finishings"
    answer = client.post("/api/finishings", files=files, data={"request": parts["request"]})
    assert answer.status_code == 201, answer.text
    now = ended(client, answer.json()["id"])
    assert (now["status"], now["file"]) == ("done", "night-finished.mov"), now
    assert next(read_video(io.BytesIO(client.get(now["url"]).content)))[0, 0, 0] > 240


def test_videos_that_do_not_fit_together_are_called_as_they_were_sent(client, tmp_path):
    other = film(tmp_path / "plain film.mkv", 2, 96)
    more = {"then": (other.name, other.read_bytes())}
    now = ended(client, sent(client, film(tmp_path / "v.mkv", 2), {"join": ["part:then"]}, **more).json()["id"])
    assert now["status"] == "failed"
    assert "'plain film.mkv' is 96x96" in now["error"]
    assert "/" not in now["error"]


def test_an_upload_or_an_output_can_be_named(client, service, tmp_path):
    video = film(service.folders.outputs / "v.mkv")
    answer = client.post("/api/finishings", json={"file": "v.mkv", "sharpen": 0.2})
    assert answer.status_code == 201, answer.text
    assert ended(client, answer.json()["id"])["file"] == "v-finished.mp4"
    assert video.is_file()


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        ({"enlarge": 9}, 422, "enlarge must be 1..4"),
        ({"enlarge": "2"}, 400, "enlarge is a number"),
        ({"codec": "vp9"}, 422, "mp4 holds h264"),
        ({"network": "part:file"}, 422, "network is a .safetensors file"),
        ({"network": "n.safetensors", "enlarge": 2}, 400, "no file 'n.safetensors' for finishing here"),
        ({"network": "../n.safetensors", "enlarge": 2}, 400, "no file '../n.safetensors' for finishing here"),
        ({"lut": "part:file"}, 422, "lut is a .cube file, got 'v.mkv'"),
        ({"lut": "part:none.cube"}, 400, "the form has no file called 'none.cube'"),
        ({"lut": "../queue.cube"}, 400, "no file '../queue.cube' for finishing"),
        ({"file": "v.mkv"}, 400, "there is no upload or output called"),
        ({"blur": 1}, 422, "no setting called blur"),
        ({"path": "/tmp/x.mp4"}, 422, "no setting called path"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_leaves_nothing(client, service, tmp_path, request_, status, why):
    answer = sent(client, film(tmp_path / "v.mkv", 2), request_)
    assert (answer.status_code, why in answer.json()["error"]) == (status, True), answer.text
    assert list(service.finishings.home.iterdir()) == []


def test_what_fails_says_why(client, service, tmp_path):
    (tmp_path / "v.mp4").write_bytes(film(tmp_path / "w.mp4").read_bytes()[:500])
    now = ended(client, sent(client, tmp_path / "v.mp4", {"grain": 0.1}).json()["id"])
    assert now["status"] == "failed"
    assert "cannot be converted to mp4: " in now["error"]
    assert str(service.folders.home) not in now["error"]
    answer = client.get(f"/api/finishings/{now['id']}/file")
    assert (answer.status_code, "is failed" in answer.json()["error"]) == (409, True)
    assert client.get("/api/finishings/none").status_code == 404


def test_its_events_say_how_far_it_is_and_its_end(client, tmp_path, monkeypatch):
    monkeypatch.setattr("framepack.app.api.finishings.EVERY", 0.02)
    name = sent(client, film(tmp_path / "v.mkv", 60, 96), {"enlarge": 4, "grain": 0.1}).json()["id"]
    with client.stream("GET", f"/api/finishings/{name}/events") as stream:
        said = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert said[-1]["status"] == "done"
    assert said[-1]["total"] == 60
    seen = [one["frames"] for one in said]
    assert seen == sorted(seen)
    assert any(0 < one < 60 for one in seen)


def test_what_is_cancelled_ends_at_once_and_leaves_nothing(client, service, tmp_path):
    file = film(tmp_path / "v.mkv", 600, 128)
    first, second = (sent(client, file, {"enlarge": 4, "denoise": 1}).json()["id"] for _ in range(2))
    until = time.monotonic() + 60
    while not client.get(f"/api/finishings/{first}").json()["frames"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    for name in (second, first):
        assert client.delete(f"/api/finishings/{name}").status_code == 204
        assert client.get(f"/api/finishings/{name}").status_code == 404
    until = time.monotonic() + 20
    while list(service.finishings.home.iterdir()) or service.conversions._children:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert client.delete(f"/api/finishings/{first}").status_code == 404


def test_the_next_name_is_known_at_once_and_a_video_s_formats_do_not_wait_for_files(client, service, tmp_path):
    long = sent(client, film(tmp_path / "v.mkv", 600, 128), {"enlarge": 4, "denoise": 1, "format": "mp4"}).json()
    assert (long["file"], long["status"]) == ("v-finished.mp4", "waiting")
    source = film(tmp_path / "own.mp4")
    made = service.conversions.file("job", source, FileCoding(format="webm"))
    assert probe(made).frames == 20
    assert client.get(f"/api/finishings/{long['id']}").json()["status"] in ("waiting", "running")
    client.delete(f"/api/finishings/{long['id']}")


def test_a_form_that_is_cut_off_is_refused_and_leaves_nothing(client, service, tmp_path):
    file = film(tmp_path / "v.mp4")
    request = client.build_request("POST", "/api/finishings", files={"file": ("v.mp4", file.read_bytes())})
    kind = {"content-type": request.headers["content-type"]}
    answer = client.post("/api/finishings", content=request.read()[:-30], headers=kind)
    assert (answer.status_code, answer.json()["error"]) == (400, "the form is cut off: send it again")
    assert list(service.finishings.home.iterdir()) == []


def test_a_service_ends_at_once_while_another_conversion_holds_the_turn(tmp_path):
    file = film(tmp_path / "v.mkv")
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        service.conversions._turn.acquire()
        folder = service.finishings.begin()
        work = {"file": str(taken_in(folder, file)), "grain": 0.1}
        service.finishings.add(folder, FileWork.model_validate(work))
        until = time.monotonic() + 20
        while service.finishings.get(folder.name).status == "waiting":
            assert time.monotonic() < until
            time.sleep(0.02)
        threading.Timer(0.5, service.conversions._turn.release).start()  # as killing its child does
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert (folder / "order.json").is_file()


def test_old_ones_are_dropped_and_unsent_ones_too(client, service, tmp_path):
    name = ended(client, sent(client, film(tmp_path / "v.mkv"), {"grain": 0.1}).json()["id"])["id"]
    assert not (service.finishings.home / name / FILES).exists()
    service.finishings.sweep()
    assert client.get(f"/api/finishings/{name}").status_code == 200
    os.utime(service.finishings.home / name, (1, 1))
    service.finishings.sweep()
    assert list(service.finishings.home.iterdir()) == []


SERVICE = """
import sys, time
from pathlib import Path
from framepack.app.service.finishings import FileWork
from framepack.app.service.incoming import taken_in
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.pool import PoolConfig
with Service(folders_at(Path(sys.argv[1]), reserve=0), PoolConfig(target="none:none", workers=[])) as service:
    (service.finishings.home / "half" / "files").mkdir(parents=True)
    folder = service.finishings.begin()
    work = {"file": str(taken_in(folder, Path(sys.argv[2]))), "enlarge": 4, "grain": 0.1, "format": "mkv"}
    name = service.finishings.add(folder, FileWork.model_validate(work)).id
    while not service.finishings.get(name).frames:
        time.sleep(0.02)
    print(name, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not version(), reason="this kernel has no Landlock, or it is switched off")
def test_a_decoder_that_was_taken_over_changes_no_order(client, service, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "start", lambda them, **rest: start([sys.executable, "-c", HOSTILE, them[-1]], **rest))
    now = ended(client, sent(client, film(tmp_path / "v.mkv", 2), {"grain": 0.1}).json()["id"])
    assert (now["status"], now["notices"]) == ("done", ["order.json", "done.json", "files"])
    assert client.get(now["url"]).content == b"made"


HOSTILE = """
from framepack.app.service import convert_child as child
from framepack.media.finishing import Progress
def convert(source, again, target, *rest):
    folder = target.parent.parent
    for place in (folder / "order.json", folder / "done.json", folder / "files" / "0" / "x"):
        try:
            place.write_text("{}")
        except OSError:
            yield place.relative_to(folder).parts[0]
    target.write_text("made")
    yield Progress(frames=1, total=1)
child.finish_open_file = convert
child.main()
"""


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    from framepack.media import credentials, signing_key

    monkeypatch.setenv(signing_key.FOLDER, str(tmp_path / "identity"))
    return credentials


def ingredient_of(found: dict) -> str:
    """What a validly signed file was made from."""
    assert found["validation_state"] == "Valid"
    (ingredient,) = found["manifests"][found["active_manifest"]]["ingredients"]
    return ingredient["title"]


def test_what_is_made_of_a_signed_file_is_signed_anew(client, service, tmp_path, credentials):
    file = film(tmp_path / "night.mp4", 5)
    credentials.sign_file(file)
    for format_, suffix in (("mov", ".mov"), ("png", ".zip")):
        now = ended(client, sent(client, file, {"grain": 0.1, "format": format_}).json()["id"])
        made = tmp_path / f"made{suffix}"
        made.write_bytes(client.get(now["url"]).content)
        assert (now["notices"], now["credentials"] is None) == ([], suffix == ".mov")
        if now["credentials"]:
            answer = client.get(now["credentials"])
            assert answer.headers["content-type"] == "application/c2pa"
            assert "night-finished.c2pa" in answer.headers["content-disposition"]
            made.with_suffix(".c2pa").write_bytes(answer.content)
        else:
            assert client.get(f"/api/finishings/{now['id']}/credentials").status_code == 404
        assert ingredient_of(credentials.read_credentials(made)) == "night.mp4"


def test_credentials_beside_an_output_count(client, service, tmp_path, credentials):
    file = film(service.folders.outputs / "v.mkv", 5)
    now = ended(client, client.post("/api/finishings", json={"file": "v.mkv", "grain": 0.1}).json()["id"])
    assert credentials.read_credentials(service.finishings.file(now["id"])) is None
    credentials.sign_file(file)
    now = ended(client, client.post("/api/finishings", json={"file": "v.mkv", "grain": 0.1}).json()["id"])
    assert ingredient_of(credentials.read_credentials(service.finishings.file(now["id"]))) == "v.mkv"
    assert now["notices"] == []


def test_why_it_is_not_signed_is_said(client, service, tmp_path, credentials):
    file = film(tmp_path / "v.mp4", 5)
    credentials.sign_file(file)
    file = file.rename(tmp_path / "v.m4v")
    now = ended(client, sent(client, file, {"grain": 0.1}).json()["id"])
    assert (now["status"], now["credentials"]) == ("done", None)
    assert now["notices"][0].startswith("the content credentials of v.m4v do not go along: v.m4v cannot have")


@pytest.mark.proof
def test_the_next_service_takes_the_result_for_the_result(tmp_path, credentials):
    file, config = film(tmp_path / "v.mp4", 5), PoolConfig(target="none:none", workers=[])
    credentials.sign_file(file)
    with Service(folders_at(tmp_path / "outputs", reserve=0), config) as service:
        folder = service.finishings.begin()
        work = {"file": str(taken_in(folder, file)), "grain": 0.1, "format": "mkv"}
        name = service.finishings.add(folder, FileWork.model_validate(work), ["a notice"]).id
        until = time.monotonic() + 60
        while (now := service.finishings.get(name)).status in ("waiting", "running"):
            assert time.monotonic() < until
            time.sleep(0.05)
    assert (now.file, now.beside, now.frames) == ("v-finished.mkv", "v-finished.c2pa", 5)
    with Service(folders_at(tmp_path / "outputs", reserve=0), config, patience=60) as again:
        assert again.finishings.get(name) == now
        assert again.finishings.credentials(name).is_file()
    (folder / DONE).unlink()  # as if it had been killed when the result was there, before it was signed
    (folder / MADE / "v-finished.c2pa").unlink()
    (folder / FILES / "0").mkdir(parents=True)
    (folder / FILES / "0" / "v.mp4").write_bytes(file.read_bytes())
    with Service(folders_at(tmp_path / "outputs", reserve=0), config, patience=60) as third:
        while (now := third.finishings.get(name)).status in ("waiting", "running"):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert third.finishings.credentials(name).is_file()


def small_network(file: Path) -> Path:
    from safetensors.torch import save_file

    from framepack.models.upscaler import RRDBNet

    save_file(RRDBNet(channels=8, growth=4, blocks=1).state_dict(), file)
    return file


@pytest.mark.proof
def test_networks_enlarge_in_the_confined_child(client, service, tmp_path):
    file, network = film(tmp_path / "v.mkv", 4), small_network(tmp_path / "n.safetensors")
    steps, form = {"enlarge": 2, "grain": 0.1}, {"net": (network.name, network.read_bytes())}
    want = frames(finish(file, tmp_path / "w.mkv", network=network, **steps))
    kept = service.folders.home / "finishing" / "mine.safetensors"
    kept.write_bytes(network.read_bytes())
    for name, more in (("part:net", form), ("mine.safetensors", {})):
        answer = sent(client, file, {**steps, "network": name, "format": "mkv"}, **more)
        now = ended(client, answer.json()["id"])
        assert (now["status"], now["error"], now["frames"]) == ("done", "", 4)
        made = client.get(now["url"]).content
        assert (frames(io.BytesIO(made)) == want).all()
        assert str(service.folders.home) not in made.decode("latin-1")
    kept.write_bytes(b"none")
    now = ended(client, sent(client, file, {**steps, "network": "mine.safetensors"}).json()["id"])
    assert (now["status"], "is no network that enlarges" in now["error"]) == ("failed", True)
    assert str(service.folders.home) not in now["error"]


@pytest.mark.proof
def test_a_network_at_work_is_cancelled_like_all_else(client, service, tmp_path):
    network = small_network(tmp_path / "n.safetensors")
    form = {"net": (network.name, network.read_bytes())}
    name = sent(client, film(tmp_path / "v.mkv", 5000), {"enlarge": 4, "network": "part:net"}, **form).json()["id"]
    until = time.monotonic() + 120
    while not client.get(f"/api/finishings/{name}").json()["frames"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert client.delete(f"/api/finishings/{name}").status_code == 204
    until = time.monotonic() + 20
    while list(service.finishings.home.iterdir()) or service.conversions._children:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_network_that_would_take_far_too_long_says_so_early():
    now = Progress(frames=2, total=100)
    require_time(now, 59.0, 10)
    require_time(now, 100.0, 3600)
    with pytest.raises(ValueError, match=r"takes 100 s for a frame, 2\.8 h in all, and the limit is 1 h"):
        require_time(now, 200.0, 3600)


@pytest.mark.proof
def test_a_killed_service_s_work_begins_anew_and_is_whole(tmp_path):
    file = film(tmp_path / "v.mkv", 400, 96)
    command = [sys.executable, "-c", SERVICE, str(tmp_path / "outputs"), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        child.send_signal(signal.SIGKILL)
    with Service(
        folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[]), patience=60
    ) as service:
        until = time.monotonic() + 120
        while service.finishings.get(name).status in ("waiting", "running"):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert service.finishings.get(name).status == "done", service.finishings.get(name)
        made = service.finishings.file(name)
        assert (frames(made) == frames(finish(file, tmp_path / "w.mkv", enlarge=4, grain=0.1))).all()
        left = [one.name for one in (service.finishings.home / name).iterdir()]
        assert sorted(left) == ["done.json", "made", "order.json"]
        assert list(made.parent.iterdir()) == [made]
        assert [one.name for one in service.finishings.home.iterdir()] == [name]
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as again:
        assert again.finishings.get(name).status == "done"


def test_the_work_of_a_file_is_steps_and_the_new_file(tmp_path):
    work = FileWork.model_validate({"enlarge": 2, "format": "mov", "fps": 60, "file": "a.mp4"})
    assert work.steps().model_dump(exclude_unset=True) == {"enlarge": 2}
    assert work.output().model_dump(exclude_unset=True) == {"format": "mov", "fps": 60}
