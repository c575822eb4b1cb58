"""The command line: a real run in a subprocess, and every mistake answered in one sentence with exit code 2."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.app.cli import main as cli
from framepack.app.settings import Settings
from framepack.files.assets import BUNDLED
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video

SMALL = ["--model", "mini", "--width", "32", "--height", "32", "--window", "3", "--steps", "2", "--dtype", "float32"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "a picture.png"
    Image.fromarray(np.linspace(0, 255, 40 * 50 * 3).reshape(40, 50, 3).astype(np.uint8)).save(file)
    return file


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from framepack.app.cli.main import main; main()", *map(str, arguments)]


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return int(exited.value.code or 0)


@pytest.mark.parametrize(("set_by_user", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_spinning_unless_the_environment_says_otherwise(monkeypatch, set_by_user, used):
    monkeypatch.setenv("OMP_WAIT_POLICY", set_by_user or "")
    if set_by_user is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    run_here(monkeypatch, "version")
    assert os.environ["OMP_WAIT_POLICY"] == used


@pytest.mark.parametrize(("set_by_user", "used"), [(None, "ERROR"), ("INFO", "INFO")])
def test_what_torchs_allocator_logs_stays_out_of_the_display_unless_asked_for(monkeypatch, set_by_user, used):
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", set_by_user or "")
    if set_by_user is None:
        monkeypatch.delenv("TORCH_CPP_LOG_LEVEL")
    run_here(monkeypatch, "version")
    assert os.environ["TORCH_CPP_LOG_LEVEL"] == used


def test_a_run_ends_in_an_mp4_whose_frames_decode(picture: Path, tiny_models_dir: Path, tmp_path: Path):
    output = tmp_path / "out" / "v.mp4"
    arguments = ["generate", picture, "-p", "a walk", *SMALL, "--seconds", 0.8, "--models-dir", tiny_models_dir]
    done = subprocess.run(
        command(*arguments, "--output", output), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(output)
    frames = list(read_video(output))
    assert len(frames) == probe(output).frames == 24
    assert frames[0].shape == (32, 32, 3)
    content = read_metadata(output)
    assert content is not None
    assert content["request"]["prompt"] == "a walk"
    assert sorted(p.name for p in output.parent.iterdir()) == ["v.mp4"]


def test_a_run_without_a_name_gets_a_dated_one_in_the_outputs_folder(
    picture: Path, tiny_models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv("FRAMEPACK_OUTPUTS", str(tmp_path / "videos"))
    monkeypatch.setenv("FRAMEPACK_MODELS_DIR", str(tiny_models_dir))
    assert run_here(monkeypatch, "generate", picture, *SMALL, "--seconds", 0.4) == 0
    (video,) = (tmp_path / "videos").iterdir()
    assert capsys.readouterr().out.strip() == str(video)


def test_an_empty_variable_says_nothing_of_the_folders():
    assert Settings.from_environment({"FRAMEPACK_OUTPUTS": "", "FRAMEPACK_MODELS_DIR": ""}) == Settings()


def test_a_queue_that_cannot_be_used_is_a_sentence(tmp_path: Path, monkeypatch, capsys):
    def locked(self, job):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("framepack.jobs.store.JobStore.find", locked)
    assert run_here(monkeypatch, "jobs", "cancel", "abc", "--outputs", tmp_path) == 2
    assert "the queue cannot be used (database is locked)" in capsys.readouterr().err


def test_a_wrong_file_is_reported_before_torch_is_loaded(picture: Path):
    looked = "import sys; from framepack.app.cli.main import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    for arguments in (["nowhere.png"], [picture, "--end-frame", "nowhere.png"], [picture, "--lora", "nowhere.png:1"]):
        command = [sys.executable, "-c", looked, "generate", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "False\n")
        assert "no such file: 'nowhere.png': check the path" in done.stderr


def test_a_finished_file_is_not_replaced_without_a_word_and_that_is_reported_before_torch_is_loaded(
    picture: Path, tiny_models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "v.mp4"
    output.write_text("a video")
    arguments = ["generate", picture, *SMALL, "--seconds", 0.4, "--models-dir", tiny_models_dir, "-o", output]
    looked = "import sys; from framepack.app.cli.main import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", looked, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert "v.mp4 is there already: give the video another name" in done.stderr
    assert "--overwrite" in done.stderr
    assert run_here(monkeypatch, *arguments, "--work", tmp_path / "work") == 2
    assert not (tmp_path / "work").exists()
    assert output.read_text() == "a video"
    assert run_here(monkeypatch, *arguments, "--overwrite") == 0
    assert probe(output).frames == 12


HELD = """
import time
from framepack.app.cli import main as cli
from framepack.app.settings import Settings
from framepack.app.cli.display import Display
from framepack.spec.events import SectionDone

def show(self, event, show=Display.show):
    show(self, event)
    if isinstance(event, SectionDone) and event.section == 5:
        time.sleep(240)

Display.show = show
cli.main()
"""
"""The command line, which waits before its seventh section: a busy machine may press Ctrl-C late."""


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    picture: Path, tiny_models_dir: Path, tmp_path: Path
):
    work, output = tmp_path / "work", tmp_path / "v.mp4"
    arguments = ["generate", picture, *SMALL, "--seconds", 2.8, "--models-dir", tiny_models_dir]
    arguments += ["--steps", 12, "--work", work, "--output", output]
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job has SIGINT ignored, and its children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240
    while not (work / "section-0000.safetensors").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert "stopped" in said
    assert "to continue from there" in said
    assert "Traceback" not in said
    finished = len(list(work.glob("section-*.safetensors")))
    assert not output.exists()
    again = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert probe(output).frames == 84
    assert len(list(work.glob("section-*.safetensors"))) > finished


MISTAKES = [
    (["generate", "nowhere.png"], ["nowhere.png", "check the path"]),
    (["generate", "."], ["folder"]),
    (["generate", "notes.txt"], ["not an image", "PNG"]),
    (["generate", "cut.png"], ["cut.png"]),
    (["generate", "empty.png"], ["empty.png"]),
    (["generate", "huge.png"], ["64"]),
    (["generate", "{picture}", "--width", "100", "--height", "64"], ["multiple of 16", "96 or 112"]),
    (["generate", "{picture}", "--width", "64"], ["go together"]),
    (["generate", "{picture}", "--seconds", "nan"], ["seconds must be 0.01..36000, got nan"]),
    (["generate", "{picture}", "--steps", "0"], ["steps must be 1..200"]),
    (["generate", "{picture}", "--steps", "many"], ["--steps", "integer"]),
    (["generate", "{picture}", "--cfg", "inf"], ["cfg must be"]),
    (["generate", "{picture}", "--window", "34"], ["window must be 1..33, got 34"]),
    (["generate", "{picture}", "--model", "sora"], ["model must be one of mini"]),
    (["generate", "{picture}", "--dtype", "int8"], ["dtype must be one of"]),
    (["generate", "{picture}", "--device", "cuda:7"], ["cuda"]),
    (["generate", "{picture}", "--device", "toaster"], ["device must be auto"]),
    (["generate", "{picture}", "--attention", "magic"], ["attention must be one of auto"]),
    (["generate", "{picture}", "--attention", "sage"], ["sageattention", "not installed"]),
    (["generate", "{picture}", "--vram-limit", "lots"], ["6GB", "'lots'"]),
    (["generate", "{picture}", "--frame", "{picture}"], ["FILE@SECONDS"]),
    (["generate", "{picture}", "--frame", "{picture}@soon"], ["'soon' is not a number"]),
    (["generate", "{picture}", "--frame", "{picture}@99"], ["lengthen the video"]),
    (["generate", "{picture}", "--frame", "nowhere.png@1"], ["nowhere.png"]),
    (["generate", "{picture}", "--model", "framepack-f1", "--end-frame", "{picture}"], ["use model framepack"]),
    (["generate", "{picture}", "--then", "later"], ["SECONDS:TEXT"]),
    (["generate", "{picture}", "--output", "v.avi"], [".avi", ".mp4"]),
    (["generate", "{picture}", "--output", "{folder}.mp4"], ["folder"]),
    (["generate", "{picture}", "--models-dir", "nowhere"], ["nowhere", "--models-dir"]),
    (["generate", "{picture}", "--bogus"], ["--bogus", "--help"]),
    (["generate", "{picture}", "a walk"], ["a walk", "A prompt goes after -p"]),
    (["generate"], ["name the picture", "--help"]),
    (["dance"], ["dance", "--help"]),
    (["models", "verify", "mini", "--models-dir", "nowhere"], ["nowhere is not a folder", "--models-dir"]),
    (["models", "list", "--models-dir", "nowhere"], ["nowhere is not a folder", "--models-dir"]),
    (["doctor", "--models-dir", "nowhere"], ["nowhere is not a folder", "--models-dir"]),
    (["plan", "--model", "framepack", "{picture}", "--models-dir", "nowhere"], ["nowhere is not a folder"]),
    (["serve", "--models-dir", "nowhere"], ["nowhere is not a folder", "--models-dir"]),
    (["models", "verify", "sora"], ["model must be one of"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(a[1:4]) or a[0] for a, _ in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_two(
    arguments: list[str],
    words: list[str],
    picture: Path,
    tiny_models_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAMEPACK_MODELS_DIR", str(tiny_models_dir))
    Path("notes.txt").write_text("hello")
    Path("empty.png").touch()
    Path("cut.png").write_bytes(picture.read_bytes()[:200])
    Path("folder.mp4").mkdir()
    if "huge.png" in arguments:
        Image.new("1", (9000, 9000)).save("huge.png")
    before = sorted(tmp_path.rglob("*"))
    filled = [a.replace("{picture}", str(picture)).replace("{folder}", str(tmp_path / "folder")) for a in arguments]
    assert run_here(monkeypatch, *filled) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("framepack: ")
    for word in words:
        assert word in said
    assert sorted(p for p in tmp_path.rglob("*") if p.name != "outputs") == before


def test_a_damaged_checkpoint_is_named(
    picture: Path, tiny_models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    models = tmp_path / "models"
    shutil.copytree(tiny_models_dir, models)
    shard = sorted((models / "framepack" / "mini").glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])
    assert run_here(monkeypatch, "generate", picture, *SMALL, "--seconds", 0.4, "--models-dir", models) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert shard.name in said
    assert "Traceback" not in said


def test_options_without_effect_and_a_folder_that_is_passed_over_are_reported(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    (tmp_path / "models").mkdir()
    ignored = ["--negative", "blurry", "--cfg-rescale", "0.5", "--cache-threshold", "0.3", "--crf", "20"]
    passed_over = ["--models-dir", tmp_path / "models", "--revision", "v2", "-o", tmp_path / "v.mkv"]
    monkeypatch.setenv("COLUMNS", "400")
    assert run_here(monkeypatch, "generate", picture, *SMALL, "--seconds", 0.4, *ignored, *passed_over) == 0
    said = capsys.readouterr().err
    for words in (
        "negative_prompt blurry has no effect",
        "cfg_rescale 0.5 has no effect",
        "cache_threshold 0.3 has no effect",
        "output.crf 20 has no effect: mkv",
        "the bundled model is used instead",
        "--revision v2 has no effect: the model comes with the package",
    ):
        assert f"note: {words}" in said or words in said
    assert "The prompt is empty, so the picture stands still" in said
    assert said.count("note:") == 7


def test_models_verify_ends_with_two_where_a_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    models = shutil.copytree(BUNDLED / "mini", tmp_path / "models")
    assert run_here(monkeypatch, "models", "verify", "mini", "--models-dir", models) == 0
    assert "VAE: ok, 3 files are what their checksums say" in capsys.readouterr().out
    vae = models / "hunyuanvideo-community" / "HunyuanVideo" / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(vae.read_bytes())
    content[-4000:-1000] = bytes(3000)
    vae.write_bytes(content)
    assert run_here(monkeypatch, "models", "verify", "mini", "--models-dir", models) == 2
    said = capsys.readouterr().out
    assert f"{vae} is damaged or was changed" in said
    assert said.count(": ok, ") == 3


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["presets", "save", "--help"]], ids=" ".join)
def test_help_is_instant_because_it_loads_neither_torch_nor_a_web_framework(arguments: list[str]):
    check = f"import sys; from framepack.app.cli import main as cli; sys.argv=['framepack', *{arguments}]\n"
    check += "try: cli.main()\nexcept SystemExit: pass\n"
    check += "print([m for m in ('torch', 'gradio', 'fastapi', 'transformers', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_doctor_and_list_speak_of_every_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    assert run_here(monkeypatch, "doctor") == 0
    assert run_here(monkeypatch, "models", "list") == 0
    said = capsys.readouterr().out
    for name in ("mini", "framepack", "framepack-f1"):
        assert name in said
    assert "does not apply in the European Union, the United Kingdom and South Korea" in said
