"""Timelines on the command line and over HTTP: what Python does, done there."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_generator import ask
from PIL import Image

from framepack.app.cli import main as cli
from framepack.app.cli.request import request_of
from framepack.app.ui.restore import FROM_TIMELINE, RESTORED, timeline_values
from framepack.jobs.folders import Folders
from framepack.media.editors import EDITORS
from framepack.media.editors_read import read_timeline
from framepack.media.video import VideoWriter
from framepack.pipeline.output import metadata_of
from framepack.pipeline.timelines import export_timeline, request_from_timeline
from framepack.spec.request import GenerationRequest

otio = pytest.importorskip("opentimelineio", reason="the extra editors is not installed")


def made(folder: Path) -> tuple[Path, GenerationRequest]:
    """A file such as a request becomes, and the request."""
    folder.mkdir(exist_ok=True)
    for name in "ab":
        Image.new("RGB", (64, 48), "orange").save(folder / f"{name}.png")
    frames = [{"image": folder / "b.png", "second": 1.0, "strength": 0.5}]
    request = GenerationRequest(
        image=folder / "a.png", prompt="zoom in", seconds=2.0, frames=frames, seed=9, output={"format": "mkv"}
    )
    with VideoWriter(folder / "v.mkv", fps=30, size=(32, 32), metadata=metadata_of(request)) as writer:
        writer.write(np.zeros((request.delivered_frames, 32, 32, 3), np.uint8))
    return folder / "v.mkv", request.resolved()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return int(exited.value.code or 0)


def job_with(service, file: Path) -> str:
    """A finished job whose video that is."""
    (job,) = service.store.submit([ask()])
    claimed = service.store.claims.take("w")
    service.store.claims.finish(job.id, claimed.claim, "done", outputs=[file])
    return job.id


@pytest.mark.parametrize("to", EDITORS)
def test_the_command_line_writes_what_python_writes(tmp_path, monkeypatch, capsys, to):
    file, _ = made(tmp_path / "video")
    assert run(monkeypatch, "export", file, "--to", to) == 0
    written = Path(capsys.readouterr().out.strip())
    assert (written, written.suffix) == (file.with_suffix(EDITORS[to].suffix), EDITORS[to].suffix)
    content = written.read_bytes()
    if to != "otioz":  # a zip has the time of its making
        assert export_timeline(file, to, overwrite=True).read_bytes() == content
    assert run(monkeypatch, "export", file, "--to", to) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_command_line_takes_a_job_too(tmp_path, service, monkeypatch, capsys):
    file, _ = made(service.folders.outputs)
    job = job_with(service, file)
    assert run(monkeypatch, "export", job[:6], "--outputs", service.folders.outputs, "-o", tmp_path / "cut") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "cut" / "v.otio")
    assert (tmp_path / "cut" / "v.mkv").read_bytes() == file.read_bytes()
    assert run(monkeypatch, "export", "nothing", "--outputs", service.folders.outputs) == 2
    assert run(monkeypatch, "export", tmp_path / "no.mp4", "--outputs", service.folders.outputs) == 2
    assert "no such file" in capsys.readouterr().err


def test_generate_takes_the_markers_of_a_timeline_and_options_hold_before_them(tmp_path):
    file, request = made(tmp_path / "video")
    timeline = export_timeline(file, "otio")
    assert request_of({}, None, None, timeline) == request_from_timeline(timeline)
    assert request_of({}, None, None, timeline).frames == request.frames
    assert request_of({"prompt": "pan left"}, None, None, timeline).prompt == "pan left"
    with pytest.raises(ValueError, match="leave one of them out"):
        request_of({}, file, None, timeline)


def test_the_plan_of_a_timeline_is_shown(tmp_path, monkeypatch, capsys, tiny_models_dir):
    file, _ = made(tmp_path / "video")
    timeline = export_timeline(file, "otio")
    options = ("--models-dir", tiny_models_dir, "--width", 32, "--height", 32)
    assert run(monkeypatch, "plan", "--from-timeline", timeline, *options) == 0
    assert run(monkeypatch, "plan", "--from-timeline", tmp_path / "no.otio", *options) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("to", EDITORS)
def test_a_job_is_had_as_a_timeline_over_http(client, service, to):
    file, _ = made(service.folders.outputs)
    job = job_with(service, file)
    answer = client.get(f"/api/jobs/{job}/timeline", params={"to": to})
    assert answer.status_code == 200, answer.text
    assert f"v{EDITORS[to].suffix}" in answer.headers["content-disposition"]
    assert answer.headers["content-disposition"].startswith("attachment")
    if to != "otioz":
        assert answer.content == export_timeline(file, to).read_bytes()
        assert str(service.folders.outputs) not in answer.text


def test_a_timeline_over_http_becomes_the_fields_of_a_request(client, tmp_path):
    file, _ = made(tmp_path / "video")
    for to in ("otio", "fcp7", "fcpxml"):
        content = export_timeline(file, to).read_bytes()
        answer = client.post("/api/timelines", params={"format": to}, content=content)
        assert answer.status_code == 200, answer.text
        fields = answer.json()
        assert (fields["image"], fields["prompt"], fields["seconds"]) == ("a.png", "zoom in", 2.0)
        (frame,) = fields["frames"]
        assert (frame["image"], frame["second"], frame["strength"]) == ("b.png", 1.0, 0.5)
        assert fields.get("seed") == (9 if to == "otio" else None)
    names = {}
    for name in "ab":
        sent = {"file": (f"{name}.png", (file.parent / f"{name}.png").read_bytes())}
        names[f"{name}.png"] = client.post("/api/uploads", files=sent).json()[0]["id"]
    fields = client.post("/api/timelines", content=export_timeline(file, "otio", overwrite=True).read_bytes()).json()
    for name, upload in names.items():
        fields = json.loads(json.dumps(fields).replace(f'"{name}"', f'"{upload}"'))
    queued = client.post("/api/jobs", json=fields)
    assert queued.status_code == 201, queued.text
    assert queued.json()["request"]["frames"][0]["second"] == 1.0


def test_what_cannot_be_is_a_sentence_over_http(client, service):
    file, _ = made(service.folders.outputs)
    assert client.get(f"/api/jobs/{job_with(service, file)}/timeline", params={"to": "avid"}).status_code == 422
    assert client.get("/api/jobs/nothing/timeline").status_code == 404
    answer = client.post("/api/timelines", content=b"{}")
    assert answer.status_code == 422
    assert "no timeline" in answer.json()["error"]
    deep = b'{"OTIO_SCHEMA": "Timeline.1", "metadata": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    answer = client.post("/api/timelines", content=deep)  # the parser may not survive that; the service does
    assert answer.status_code == 422, answer.text
    assert client.get("/api/health").status_code == 200
    answer = client.post("/api/timelines", content=b"x" * (8 * 2**20 + 1))
    assert (answer.status_code, answer.json()["error"][:25]) == (413, "a timeline may have 8 MB ")
    answer = client.post("/api/timelines", params={"format": "edl"}, content=b"TITLE: x")
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "format must be one of otio, otioz, fcp7, fcpxml, got 'edl'",
    )


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"TITLE: x", b"<xmeml/>", b"[" * 200_000])
def test_a_body_that_is_something_else_is_refused_with_422(client, content):
    answer = client.post("/api/timelines", content=content)
    assert (answer.status_code, list(answer.json())) == (422, ["error"])


def test_more_than_a_request_may_have_is_refused_with_422(client, tmp_path):
    file, _ = made(tmp_path / "video")
    timeline = otio.adapters.read_from_file(str(export_timeline(file, "otio")))
    next(iter(timeline.find_clips())).markers[0].name = "x" * 50_000
    answer = client.post("/api/timelines", content=timeline.to_json_string().encode())
    assert (answer.status_code, "cannot be used: text may have 10000" in answer.json()["error"]) == (422, True)


def test_a_timeline_without_a_first_prompt_leaves_the_forms_prompt_and_other_settings(tmp_path):
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    said = {"prompt": "", "prompts": [{"second": 1.0, "text": "it rains"}], "frames": [], "end_frame": None}
    values, messages = timeline_values({**said, "seconds": 3.0}, folders)
    assert values.keys() == {"prompts", "frames", "end_frame", "seconds"}
    assert messages == [FROM_TIMELINE]
    values, _ = timeline_values({**said, "image": "a.png", "prompt": "zoom in", "seconds": 3.0}, folders)
    assert (values["prompt"], "seed" in values) == ("zoom in", False)
    values, (first, *_) = timeline_values({**said, "image": "a.png", "seed": 5}, folders)
    assert (values["prompt"], values["seed"], first) == ("", "5", RESTORED)


def test_a_rate_that_a_format_cannot_say_is_refused_over_http(client, service):
    with VideoWriter(service.folders.outputs / "x.mp4", fps=29.97, size=(32, 32)) as writer:
        writer.write(np.zeros((5, 32, 32, 3), np.uint8))
    answer = client.get(
        f"/api/jobs/{job_with(service, service.folders.outputs / 'x.mp4')}/timeline", params={"to": "edl"}
    )
    assert (answer.status_code, "otio and otioz have all" in answer.json()["error"]) == (400, True)


def test_without_the_library_a_sentence_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    file, _ = made(tmp_path / "video")
    monkeypatch.setitem(sys.modules, "opentimelineio", None)
    assert run(monkeypatch, "export", file) == 2
    assert "pip install 'framepack[editors]'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is not installed"):
        read_timeline(file, ".otio")
