"""Odd texts, names and numbers through Python, the command line and HTTP: made, or refused in one short sentence."""

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from framepack.app.cli import main as cli
from framepack.files.text import MESSAGE_MOST
from framepack.spec.model import RequestError
from framepack.spec.request import GenerationRequest

ODD = json.loads((Path(__file__).parents[1] / "data" / "odd_texts.json").read_text(encoding="utf-8"))
TEXTS: list[str] = [*ODD["texts"], "a" * 9_999, "pan left " * 1000]
NAMES: list[str] = ODD["names"]
REFUSED = ["a" * 10_001, "a" * 400_000, "\ud800", "x\udcffy", "\ud83d"]
"""Too long, or no text at all: halves of a character."""
NUMBERS = [
    "",
    " ",
    "abc",
    "1e999",
    "-1",
    "nan",
    "inf",
    "0x10",
    "1_000",
    "٣",
    "①",
    "1,5",
    "9" * 5000,
    "1e-999",
    "--",
    "true",
    "None",
    "½",
]

FILES = ("--lora", "--frame", "--models-dir", "--like", "--preset")
SOME = [27, pytest.param(1, marks=pytest.mark.proof)]
"""Every 27th by default, all of them as a proof."""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "start.png"
    Image.new("RGB", (40, 30), (200, 30, 30)).save(file)
    return file


@pytest.fixture
def upload(client, picture: Path) -> str:
    return client.post("/api/uploads", files={"file": ("me.png", picture.read_bytes())}).json()[0]["id"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str, str]:
    """The command line in this process, its streams as strict as a terminal's."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    monkeypatch.setattr(sys, "argv", ["framepack", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    out, err = (stream.buffer.getvalue().decode(errors="replace") for stream in streams)  # type: ignore[attr-defined]
    return int(exited.value.code or 0), out, err


def check_answer(code: int, out: str, err: str) -> None:
    """Made, or refused in one line."""
    assert code in (0, 2), err
    assert "Traceback" not in out + err
    if code == 2:
        assert len(err.strip().splitlines()) == 1, err
        assert len(err) <= MESSAGE_MOST + len("framepack: \n"), err


def test_a_text_is_kept_as_it_is_or_refused_by_python() -> None:
    for text in TEXTS:
        asked = GenerationRequest(image="a.png", prompt=text, negative_prompt=text)
        assert asked.prompt == text
        assert GenerationRequest.model_validate_json(asked.model_dump_json()) == asked
    for text in REFUSED:
        with pytest.raises(RequestError) as caught:
            GenerationRequest(image="a.png", prompt=text)
        assert len(str(caught.value)) <= MESSAGE_MOST


def test_http_takes_every_text_or_refuses_it_in_a_sentence(client, upload: str) -> None:
    for text in TEXTS:
        answer = client.post("/api/jobs", json={"image": upload, "prompt": text})
        assert answer.status_code == 201, (text[:40], answer.text)
        assert client.get(f"/api/jobs/{answer.json()['id']}").json()["request"]["prompt"] == text
    assert client.get("/api/jobs").status_code == 200
    for text in REFUSED:
        answer = client.post("/api/jobs", content=json.dumps({"image": upload, "prompt": text}))
        assert 400 <= answer.status_code < 500
        assert len(answer.json()["error"]) <= MESSAGE_MOST
    for field, text in itertools.product(("image", "model", "sampler", "seconds", "output", "prompts"), TEXTS):
        answer = client.post("/api/jobs", json={"image": upload, field: text})
        assert 400 <= answer.status_code < 500, (field, text[:40])
        assert len(answer.json()["error"]) <= MESSAGE_MOST
    for text in TEXTS:
        for address in ("/api/jobs", "/api/presets", "/api/outputs", "/api/uploads"):
            answer = client.get(f"{address}/{quote(text, safe='') or '%20'}"[:2000])
            assert answer.status_code < 500, (address, text[:40])


@pytest.mark.parametrize("step", SOME)
def test_the_command_line_takes_every_prompt(monkeypatch, picture: Path, step: int) -> None:
    for text in TEXTS[::step]:
        for option in (("-p", text), ("--then", f"1:{text}")):
            code, out, err = run(monkeypatch, "plan", picture, *option)
            check_answer(code, out, err)
            assert code == 0 or text.startswith("-"), (option, err)
    for text in REFUSED:
        code, out, err = run(monkeypatch, "plan", picture, "-p", text)
        check_answer(code, out, err)
        assert code == 2


@pytest.mark.parametrize("step", SOME)
@pytest.mark.parametrize(
    "before",
    [("batch",), ("inspect",), ("train",), ("jobs", "show"), (), ("plan",), *(("plan", "a.png", o) for o in FILES)],
    ids=" ".join,
)  # fmt: skip
def test_an_odd_name_of_what_is_not_there_is_one_sentence(
    monkeypatch, tmp_path: Path, before: tuple[str, ...], step: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save("a.png")
    for text in (*TEXTS, *REFUSED)[::step]:
        if text in ("", " ", "~", "../..", "--help"):
            continue  # these are there
        code, out, err = run(monkeypatch, *before, text)
        check_answer(code, out, err)
        assert code == 2, (before, text[:40], out)


@pytest.mark.parametrize("step", SOME)
@pytest.mark.parametrize("option", ["--seconds", "--steps", "--seed", "--cfg", "--width", "--consistency"])
def test_an_odd_number_is_one_sentence(monkeypatch, picture: Path, option: str, step: int) -> None:
    for text in NUMBERS[::step]:
        code, out, err = run(monkeypatch, "plan", picture, option, text)
        check_answer(code, out, err)
        assert code == 2 or float(text) >= 0, (option, text[:40])


@pytest.mark.parametrize("step", SOME)
def test_a_picture_has_any_name_the_file_system_allows(monkeypatch, tmp_path: Path, picture: Path, step: int) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES[::step]:
        try:
            shutil.copy(picture, os.fsencode(name))
        except OSError:
            continue
        for given in (f"./{name}", tmp_path / name):
            for arguments in ((given,), (picture, "--frame", f"{given}@1"), (picture, "--end-frame", f"{given}:0.5")):
                code, out, err = run(monkeypatch, "plan", *arguments)
                check_answer(code, out, err)
                assert code == 0, (name, err)


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=str,
)
def test_the_console_does_not_decide_the_exit_code(tmp_path: Path, picture: Path, variables: dict[str, str]) -> None:
    command = [sys.executable, "-c", "from framepack.app.cli.main import main; main()"]
    named = tmp_path / "日本 ü.png"
    shutil.copy(picture, named)
    environment = {**os.environ, **variables}
    there = subprocess.run([*command, "plan", named, "-p", "😀 ü"], capture_output=True, check=False, env=environment)
    assert there.returncode == 0, there.stderr
    missing = subprocess.run([*command, "plan", "日本"], capture_output=True, check=False, env=environment)
    assert missing.returncode == 2
    assert b"Traceback" not in missing.stderr
    assert len(missing.stderr.splitlines()) == 1


def test_who_reads_the_beginning_only_ends_nothing_in_an_error(tmp_path: Path) -> None:
    program = f"{sys.executable} -c 'from framepack.app.cli.main import main; main()' models list"
    done = subprocess.run(["bash", "-c", f"{program} | head -c 1"], capture_output=True, check=False, cwd=tmp_path)
    assert done.stderr == b""


def test_a_leading_tilde_is_the_home_folder_quoted_or_not(monkeypatch, tmp_path: Path, picture: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(picture, home / "me.png")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    assert GenerationRequest(image="~/me.png").image.file == home / "me.png"
    assert run(monkeypatch, "plan", "~/me.png", "--end-frame", "~/me.png:0.5")[0] == 0
    assert run(monkeypatch, "plan", "~/me.png[rotate=90]", "--output", "~/v.mp4")[0] == 0
    (home / "list.csv").write_text("image,prompt\n~/me.png,pan left\n", encoding="utf-8")
    code, _, err = run(monkeypatch, "batch", "~/list.csv", "--dry-run", "--outputs", "~/videos")
    assert code == 0, err
    assert not Path("~").exists()
    shutil.copy(picture, tmp_path / "~me.png")
    assert run(monkeypatch, "plan", "~me.png")[0] == 0


FILES_OF_TEXT = {
    "list.csv": ("image,prompt\nstart.png,größer\n", ("batch", "list.csv", "--dry-run")),
    "list.jsonl": ('{"image": "start.png", "prompt": "größer"}\n', ("batch", "list.jsonl", "--dry-run")),
    "list.txt": ("größer\n", ("batch", "list.txt", "--set", "image=start.png", "--dry-run")),
    "presets.json": ('{"größer": {"steps": 3}}', ("presets", "import", "presets.json")),
    "recipe.toml": ("# größer\n" + 'seed = "ü"\n', ("train", "recipe.toml", "-o", "run")),
}
"""Name, content, and the command that reads it."""
READ = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
SAID = {"recipe.toml": "lacks model"}
"""What the command says of a content that it could read but not use."""


@pytest.mark.parametrize("name", FILES_OF_TEXT)
def test_text_files_are_read_in_every_encoding_that_they_name(monkeypatch, tmp_path: Path, picture: Path, name) -> None:
    monkeypatch.chdir(tmp_path)
    content, arguments = FILES_OF_TEXT[name]
    for encoding in (*READ, "latin-1", "cp1252", "utf-16-le", "shift_jis"):
        Path(name).write_bytes(content.encode(encoding, "ignore" if encoding == "shift_jis" else "strict"))
        code, out, err = run(monkeypatch, *arguments, *(("--overwrite",) if "import" in arguments else ()))
        check_answer(code, out, err)
        if encoding == "shift_jis":
            continue  # without its umlauts it is ASCII
        if encoding not in READ:
            assert code == 2, (encoding, out)
            assert name in err, err
        else:
            assert SAID[name] in err if name in SAID else code == 0, (encoding, err)


ODD_FILES = [
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"{" * 100_000,
        b"[" * 100_000,
        b"a," * 100_000,
        b"\x80" * 100,
        b"\r\r\r",
    ),
    *(
        b'"' * 1001,
        b"1" * 10_000,
        b"null",
        b"[]",
        b"{}",
        b'{"a": 1e999}',
        b'{"image": NaN}',
        b"image;prompt\nstart.png;x\n",
    ),
    *(
        b'{"image": "start.png", "steps": 1' + b"0" * 5000 + b"}",
        b'{"image": "start.png", "image": "b.png"}',
        b"=cmd|x",
    ),
    *(b"image,image\na,b\n", b"image\n\0\n", b"prompt\nx\n", b"image,prompt\nstart.png\n", b"PK\x03\x04" + bytes(50)),
    *(b"image,prompt\nstart.png,x,y\n", b"\x1f\x8b" + bytes(50), b'{"image": "start.png", "prompt": "\\ud800"}'),
    *(b"x" * 3_000_000, "image,prompt\nstart.png,pan left\n".encode("utf-16-le")),
]


@pytest.mark.parametrize("name", FILES_OF_TEXT)
def test_what_a_text_file_should_not_hold_is_one_sentence(monkeypatch, tmp_path: Path, picture: Path, name) -> None:
    monkeypatch.chdir(tmp_path)
    _, arguments = FILES_OF_TEXT[name]
    for content in ODD_FILES:
        Path(name).write_bytes(content)
        code, out, err = run(monkeypatch, *arguments)
        assert code in (0, 2), (content[:40], err)
        assert "Traceback" not in out + err
        assert code == 0 or err.startswith("framepack: "), err
        assert all(len(line) <= MESSAGE_MOST + 20 for line in err.splitlines()), (content[:40], err)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"output": {"path": "a\0.mp4"}}, "a character that no name can have"),
        ({"output": {"path": ""}}, "has no name"),
        ({"output": {"path": "a" * 256 + ".mp4"}}, "may have 255 bytes"),
        ({"image": ""}, "has no name"),
        ({"image": "a\0.png"}, "a character that no name can have"),
        ({"loras": [{"file": "x" * 5000}]}, "4096 characters"),
        ({"model": ""}, "model must be one of"),
    ],
)
def test_what_no_file_can_be_called_is_refused_when_it_is_asked_for(fields: dict, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        GenerationRequest.model_validate({"image": "a.png", **fields})
    assert says in str(caught.value)


def test_a_table_of_very_many_columns_is_refused_at_once(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("image," + ",".join(f"c{i}" for i in range(100_000)) + "\n", encoding="utf-8")
    code, out, err = run(monkeypatch, "batch", tmp_path / "wide.csv", "--dry-run")
    check_answer(code, out, err)
    assert "at most" in err or "may have 1000 columns" in err


def test_what_mini_makes_of_a_prompt_is_reported_in_the_plan(monkeypatch, picture: Path) -> None:
    _, out, _ = run(monkeypatch, "plan", picture, "-p", "pan letf, then it gets dark")
    assert "understood: pan left and darken" in out


def test_where_a_folder_is_needed_a_file_is_named(monkeypatch, picture: Path) -> None:
    code, out, err = run(monkeypatch, "jobs", "list", "--outputs", picture)
    check_answer(code, out, err)
    assert code == 2
    assert f"{picture} is a file where a folder is needed" in err or "folder" in err
