"""Videos in, on the command line and over HTTP: the same requests, and mistakes in one sentence before the work."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.app.cli import main as cli
from framepack.media.metadata import read_metadata
from framepack.media.read import read_video
from framepack.media.video import VideoWriter
from framepack.pipeline.like import request_like

SMALL = ["--width", "32", "--height", "32", "--window", "3", "--steps", "1", "--seconds", "0.2", "--dtype", "float32"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.uint8)
    with VideoWriter(tmp_path / "clip.mkv", size=(32, 32)) as writer:
        writer.write(frames)
    return tmp_path / "clip.mkv"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return int(exited.value.code or 0)


@pytest.mark.parametrize(
    ("command", "task", "frames"),
    [
        (["extend", "CLIP"], "extend", 9 + 6),
        (["lead-in", "CLIP"], "lead_in", 5 + 9),
        (["bridge", "CLIP", "CLIP"], "bridge", 9 + 8 + 9),
        (["loop", "PICTURE"], "loop", 5),
        (["restyle", "CLIP", "--strength", "0.5"], "restyle", 6),
        (["generate", "PICTURE", "--motion-mask", "PICTURE"], "image", 6),
    ],
)
def test_each_task_has_a_command(monkeypatch, tiny_models_dir, tmp_path, clip, picture, command, task, frames) -> None:
    files = {"CLIP": clip, "PICTURE": picture}
    typed = [files.get(word, word) for word in command]
    output = tmp_path / "v.mkv"
    assert run(monkeypatch, *typed, *SMALL, "--models-dir", tiny_models_dir, "-o", output) == 0
    assert len(list(read_video(output))) == frames
    written = read_metadata(output)
    assert written is not None
    assert written["request"]["task"] == task
    assert request_like(output, clip, picture).task == task


def test_a_plan_has_the_sources_encoding(monkeypatch, capsys, tiny_models_dir, clip, picture) -> None:
    said = {}
    for name, words in {"extend": ["--task", "extend", clip, "--model", "mini-f1"], "image": [picture]}.items():
        assert run(monkeypatch, "plan", *words, *SMALL, "--models-dir", tiny_models_dir) == 0
        said[name] = capsys.readouterr().out
    assert "source encode" in said["extend"]
    assert "source encode" not in said["image"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["extend"], "name the video to work on"),
        (["extend", "PICTURE"], "is a picture, and extend needs a video: use generate for a picture"),
        (["bridge", "CLIP"], "give the target, a picture or a video"),
        (["loop", "CLIP"], "not an image"),
        (["extend", "CLIP", "--model", "mini"], "use model mini-f1"),
        (["lead-in", "none.mp4"], "no such file"),
    ],
)
def test_a_mistake_is_one_sentence(monkeypatch, capsys, clip, picture, command, says) -> None:
    files = {"CLIP": clip, "PICTURE": picture}
    assert run(monkeypatch, *[files.get(word, word) for word in command], *SMALL) == 2
    said = capsys.readouterr().err.strip()
    assert says in said
    assert said.count("\n") == 0


def test_over_http_a_video_is_uploaded_and_named(client, clip, picture) -> None:
    video = client.post("/api/uploads", files={"file": ("walk.mkv", clip.read_bytes())}).json()[0]["id"]
    answer = client.post("/api/jobs", json={"task": "extend", "image": video, "seconds": 1})
    assert answer.status_code == 201, answer.text
    view = answer.json()
    assert (view["request"]["task"], view["request"]["image"], view["request"]["model"]) == ("extend", video, "mini-f1")
    small = client.get(f"/api/jobs/{view['id']}/picture")
    assert Image.open(io.BytesIO(small.content)).size == (32, 32)
    form = {"task": "bridge", "target": "part:b", "seconds": 1}
    files = {"image": ("a.mkv", clip.read_bytes()), "b": ("b.png", picture.read_bytes())}
    bridge = client.post("/api/jobs", data={"request": json.dumps(form)}, files=files)
    assert bridge.status_code == 201, bridge.text
    assert bridge.json()["request"]["target"].endswith(".png")
    refused = client.post("/api/jobs", json={"task": "bridge", "image": video})
    assert refused.status_code in (400, 422)
    assert "give the target" in refused.json()["error"]
