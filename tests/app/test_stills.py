"""Stills and storyboards over HTTP and on the command line, with the real pipeline on a tiny random checkpoint."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

from framepack.app.api.application import make_app
from framepack.app.api.guard import Access
from framepack.app.cli.main import app
from framepack.app.cli.stills import chosen, command
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.pool import PoolConfig

TARGET = "framepack.app.service.worker_target:make_generator"
SMALL = {"model": "mini", "steps": 1, "width": 64, "height": 64, "window": 3, "seconds": 1.2}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_still_and_a_storyboard_over_http_become_keyframes(tmp_path, tiny_models_dir, picture, ended):
    settings = {"models_dir": str(tiny_models_dir), "device": "cpu", "threads": 1, "offline": True}
    folders = folders_at(tmp_path / "outputs", reserve=0)
    with (
        Service(folders, PoolConfig(target=TARGET, workers=[settings])) as service,
        TestClient(make_app(service, Access()), base_url="http://localhost") as client,
    ):

        def submit(where: str, **fields: object):
            form = {"request": json.dumps({**SMALL, **fields})}
            return client.post(f"/api/{where}", files={"image": picture.read_bytes()}, data=form)

        made = ended(client, submit("jobs", still={"index": 4}).json()["id"])
        assert (made["status"], made["frames"]) == ("done", 1), made
        file = made["outputs"][0]
        assert file["name"].endswith(".png")
        assert client.get(file["url"]).headers["content-type"] == "image/png"
        asked = submit("storyboards", prompt="a boat")
        assert asked.status_code == 201, asked.text
        panels = [ended(client, job["id"]) for job in asked.json()]
        assert [(panel["label"], panel["status"]) for panel in panels] == [
            ("0.4 s", "done"),
            ("0.8 s", "done"),
            ("1.2 s", "done"),
        ]
        sheet = f"/api/batches/{panels[0]['batch']}/sheet"
        while client.get(f"/api/batches/{panels[0]['batch']}").json()["sheet"] is None:
            pass
        assert client.get(sheet).content.startswith(b"\x89PNG")
        frames = [{"image": panel["outputs"][0]["name"], "second": float(panel["label"][:-2])} for panel in panels[:2]]
        video = ended(client, submit("jobs", frames=frames).json()["id"])
        assert video["status"] == "done", video["reason"]
        refused = submit("storyboards", model="framepack-f1")
        assert "takes no keyframes" in refused.json()["error"]


def test_the_command_line_makes_a_storyboard_and_prints_the_videos_command(
    tmp_path, tiny_models_dir, picture, monkeypatch
):
    outputs = tmp_path / "outputs"
    options = ["--model", "mini", "--steps", "1", "--width", "64", "--height", "64", "--window", "3"]
    own = ["--models-dir", str(tiny_models_dir), "--outputs", str(outputs), "--in-process", "--approve", "1,3"]
    arguments = ["storyboard", str(picture), *options, "--seconds", "1.2", *own]
    monkeypatch.setattr(sys, "argv", ["framepack", *arguments])
    for _ in range(2):  # the second time all pictures are there
        said = CliRunner().invoke(app, arguments)
        assert said.exit_code == 0, (said.output, said.exception)
        line = shlex.split(said.output.splitlines()[-1])
        assert line[:3] == ["framepack", "generate", str(picture)]
        assert "--approve" not in line
        frames = [line[place + 1] for place, word in enumerate(line) if word == "--frame"]
        assert [frame.rpartition("@")[2] for frame in frames] == ["0.4", "1.2"]
        assert all(Path(frame.rpartition("@")[0]).is_file() for frame in frames)
    assert len(list(outputs.glob("*.png"))) == 4, "three pictures and one sheet"


def test_a_still_on_the_command_line(tmp_path, tiny_models_dir, picture):
    made = tmp_path / "still.png"
    options = ["-p", "a boat", "--at", "0.5", "--no-context", "--steps", "1", "--width", "64", "--height", "64"]
    arguments = ["still", str(picture), *options, "--models-dir", str(tiny_models_dir), "-o", str(made)]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, (said.output, said.exception)
    assert Image.open(made).size == (64, 64)
    both = CliRunner().invoke(app, [*arguments, "--index", "3"])
    assert "either the index or the second" in str(both.exception)
    video = CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "still.mp4")])
    assert "a still is one picture, got still.mp4: name a .png" in str(video.exception)
    unnamed = CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "still")])
    assert "a still is one picture, got still: name a .png" in str(unnamed.exception)


def test_what_is_approved_and_what_is_printed():
    assert chosen("", 3) == {1, 2, 3}
    assert chosen("1, 3", 3) == {1, 3}
    for wrong in ("4", "0", "one", "1-2"):
        with pytest.raises(ValueError, match=r"--approve takes numbers 1\.\.3"):
            chosen(wrong, 3)
    argv = ["a b.png", "--approve", "1", "-p", "x", "--outputs=o"]
    line = "framepack generate 'a b.png' -p x --model mini --frame 'c d.png@1.2'"
    assert command(argv, "mini", [(1.2, Path("c d.png"))]) == line
    assert "--model mini-f1 --frame" not in command(["--model=mini"], "mini-f1", [])
