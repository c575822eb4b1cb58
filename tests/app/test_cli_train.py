"""`framepack eval` and `framepack train lora` from the command line to their files."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from framepack.app.cli import main as cli
from framepack.media.metadata import read_metadata
from framepack.media.read import probe
from framepack.media.video import VideoWriter
from framepack.training.data.sample_recipe import SampleMetrics
from framepack.training.evaluate.results import CodecResult
from framepack.training.vae.train import VaeProgress


def run(monkeypatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["framepack", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_eval_prints_tables_and_writes_its_files(tiny_models_dir, monkeypatch, tmp_path, capsys):
    options = shlex.split("--model mini --images 1 --photos 0 --motion still --width 64 --height 64 --steps 1")
    parts = shlex.split("--part following --part codec")
    code = run(monkeypatch, "eval", *options, *parts, "--sections", 9, "--models-dir", tiny_models_dir, "-o", tmp_path)
    assert code == 0
    said, noted = capsys.readouterr()
    assert noted.startswith("note: --sections has no effect without --part drift\n")
    assert "--motion" not in noted
    assert "prompt following" in said
    assert said.strip().endswith("evaluation.json")
    assert len(json.loads((tmp_path / "evaluation.json").read_text())["following"]) == 1
    assert (tmp_path / "following-mini-procedural-0.png").is_file()


def test_train_lora_leaves_a_lora_and_a_sample(tiny_models_dir, monkeypatch, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    with VideoWriter(data / "a.mkv", fps=30, size=(64, 64), format="mkv") as writer:
        writer.write(np.zeros((9, 64, 64, 3), np.uint8))
    (data / "a.txt").write_text("darkness")
    options = shlex.split("--rank 2 --steps 2 --window 2 --resolution 64 --sections 1 --save-every 1 --sample-every 1")
    folders = ("--data", data, "-o", tmp_path / "out", "--models-dir", tiny_models_dir)
    assert run(monkeypatch, "train", "lora", *options, *folders) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "lora.safetensors")
    assert probe(tmp_path / "out" / "sample.mp4").frames == 9
    for step in (0, 1):
        file = tmp_path / "out" / f"sample-00000{step}.mp4"
        assert probe(file).frames == 9
        settings = read_metadata(file)
        assert settings is not None
        assert len(settings["request"]["loras"]) == step, "a sample on the way is of the LoRA as it is then"
    lora = tmp_path / "out" / "lora.safetensors"
    Image.new("RGB", (64, 64)).save(tmp_path / "start.png")
    generate = shlex.split(
        f"generate {tmp_path / 'start.png'} --seconds 0.1 --window 2 --steps 1 --width 64 --height 64"
    )
    code = run(
        monkeypatch, *generate, "--lora", f"{lora}:0.5", "-o", tmp_path / "v.mp4", "--models-dir", tiny_models_dir
    )
    assert code == 0


def test_a_mistake_is_one_sentence(tiny_models_dir, monkeypatch, tmp_path: Path, capsys):
    assert run(monkeypatch, "train", "lora", "--data", tmp_path, "--models-dir", tiny_models_dir) == 2
    assert "has no videos or pictures" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(monkeypatch, "train", "lora", "--data", tmp_path, "--models-dir", tiny_models_dir) == 2
    assert "start it without torchrun" in capsys.readouterr().err
    assert run(monkeypatch, "eval", "--part", "beauty", "--models-dir", tiny_models_dir) == 2
    assert "part must be one of" in capsys.readouterr().err


def test_eval_tells_a_folder_it_cannot_write_to_before_the_work(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr("framepack.app.cli.evaluate.evaluate", lambda *_, **__: pytest.fail("it began"))
    assert run(monkeypatch, "eval", "-o", tmp_path / "file") == 2
    assert "is a file where a folder is needed" in capsys.readouterr().err


def test_an_eval_that_is_ended_keeps_what_it_measured(tiny_models_dir, monkeypatch, tmp_path, capsys):
    def stop(*_, into, **__):
        into.codec.append(CodecResult(kind="photos", scene="x", image_psnr=20.0, clip_psnr=21.0, sharpness=0.5))
        raise KeyboardInterrupt

    monkeypatch.setattr("framepack.app.cli.evaluate.evaluate", stop)
    command = ("eval", "--model", "mini", "--models-dir", tiny_models_dir, "-o", tmp_path)
    assert run(monkeypatch, *command) == 130
    assert len(json.loads((tmp_path / "evaluation.json").read_text())["codec"]) == 1
    assert "the results so far" in capsys.readouterr().err


def test_a_training_that_runs_out_of_memory_is_reported_in_a_sentence(monkeypatch, tmp_path, capsys):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("framepack.app.cli.lora.lora_command", full)
    assert run(monkeypatch, "train", "lora", "--data", tmp_path) == 2
    said = capsys.readouterr().err
    assert "out of memory (CUDA out of memory" in said
    assert "--base int8" in said


def test_options_may_stand_before_the_recipe(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "train", "-o", tmp_path, "maxi") == 2
    assert "there is no recipe 'maxi'" in capsys.readouterr().err


def test_train_with_a_recipe_stops_in_time_and_leaves_a_model(monkeypatch, tmp_path, capsys):
    seen = {}

    def train(recipe, folder, *, device, seconds, workers, compiled, start, on_progress):
        on_progress(VaeProgress(step=20, psnr=24.5, phases=0.5, seconds=1.0))
        on_progress(SampleMetrics(step=20, samples=160, followed=0.75, psnr=21.5, gain=3.25, seconds=1.0))
        seen.update(samples=recipe.samples.minutes)
        seen.update(steps=recipe.schedule.steps, folder=folder, seconds=seconds, workers=workers, compiled=compiled)
        seen.update(start=start)
        return done

    done = 18_999
    monkeypatch.setattr("framepack.app.cli.recipe.keep_freed_memory", lambda: True)  # it would be for all tests
    monkeypatch.setattr("framepack.training.transformer.trainer.train", train)
    assert (
        run(monkeypatch, "train", "mini", "-o", tmp_path, "--minutes", "2", "--sample-minutes", "9", "--device", "cpu")
        == 0
    )
    said = capsys.readouterr()
    assert "1 steps are left" in said.err
    assert said.out.strip() == str(tmp_path / "model")
    assert seen["seconds"] == 120
    assert seen["samples"] == 9
    assert not seen["compiled"]
    assert "75%" in said.err
    assert "+3.2 dB" in said.err
    assert seen["folder"] == tmp_path
    assert seen["start"] is None
    assert run(monkeypatch, "train", "mini", "-o", tmp_path, "--start", "mini", "--device", "cpu") == 0
    assert (seen["start"] / "framepack" / "mini" / "config.json").is_file()
    capsys.readouterr()
    done = 0
    assert run(monkeypatch, "train", "mini", "-o", tmp_path, "--device", "cpu") == 0
    said = capsys.readouterr()
    assert "VAE is not ready yet: the same command goes on" in said.err
    assert said.out == ""
    assert run(monkeypatch, "train", "maxi") == 2
    assert "there is no recipe 'maxi': give a .toml file or one of mini" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("framepack.app.cli.recipe.keep_freed_memory", lambda: True)  # it would be for all tests
    assert run(monkeypatch, "train", "mini", "-o", tmp_path, "--compile", "--device", "cpu") == 2
    assert "compiling needs a CUDA device, got cpu" in capsys.readouterr().err
