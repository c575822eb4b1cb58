"""An address where a file belongs is refused in a sentence that says what to do, whoever hands it in."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from framepack.app.cli import arguments
from framepack.app.cli import main as cli
from framepack.files.errors import MediaError
from framepack.files.names import located
from framepack.jobs.batch_files import read_batch
from framepack.media.image import load_image
from framepack.spec.request import GenerationRequest

WEB = "https://example.com/pictures/a.png"
SAID = f"'{WEB}' is an address, and nothing is fetched: download it first"
DATA = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"


ADDRESSES = [WEB, WEB.upper(), str(Path(WEB)), "http://a/b?c=d", "ftp://a/b.png", "s3://bucket/key", DATA]
ADDRESSES += ["blob:https://a/1", "file://server/share/a.png", "https://" + 2000 * "x", "https://a/\n"]
PATHS = ["a.png", "/x/a.png", "C:/x/a.png", r"C:\x", "data:1.png", "http.png", "file:a", "a:b", "https:"]


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="address") as caught:
        located(text)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", PATHS)
def test_what_is_none_is_a_path_as_it_stands(text):
    assert located(text) == text


def test_an_address_of_a_file_here_is_that_file(tmp_path):
    Image.new("RGB", (8, 8)).save(file := tmp_path / "a b.png")
    assert located(file.as_uri()) == str(file)
    assert located(str(Path(file.as_uri()))) == str(file)
    assert load_image(file.as_uri()).shape == (8, 8, 3)
    assert GenerationRequest.model_validate({"image": file.as_uri()}).image.file == file
    assert arguments.picture(f"{file.as_uri()}[fit=pad]").file == file


@pytest.mark.parametrize("field", ["image", "frame", "end", "lora"])
def test_python_tells_in_each_field(field):
    asked = {"image": "a.png"}
    asked |= {
        "image": {"image": WEB},
        "frame": {"frames": [{"image": {"file": WEB, "fit": "pad"}, "second": 1}]},
        "end": {"end_frame": {"image": WEB}},
        "lora": {"loras": [{"file": WEB}]},
    }[field]
    with pytest.raises(ValueError, match="is an address, and nothing is fetched"):
        GenerationRequest.model_validate(asked)


def test_reading_tells_too():
    with pytest.raises(MediaError, match="is an address"):
        load_image(WEB)


@pytest.mark.parametrize("name", ["b.jsonl", "b.csv"])
def test_tables_tell_too(tmp_path, name):
    text = json.dumps({"image": WEB}) if name.endswith("jsonl") else f"image\n{WEB}\n"
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"line [12]: {SAID}"):
        read_batch(tmp_path / name, {})


@pytest.mark.parametrize("command", ["generate", "plan", "inspect"])
def test_commands_tell_too(monkeypatch, capsys, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["framepack", command, WEB])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.startswith(f"framepack: {SAID}")
