"""`framepack plan` in a terminal."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from framepack.app.cli import main as cli

DATA = Path(__file__).parents[1] / "data"


def ask(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *arguments])
    monkeypatch.setenv("COLUMNS", "110")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_a_large_model_that_is_not_here_is_planned_for_a_card_that_is_not_here(monkeypatch, capsys):
    options = ["--model", "framepack", "--vram-limit", "6GB", "--width", "640", "--height", "640"]
    assert ask(monkeypatch, "plan", *options) == 0
    said = capsys.readouterr().out
    assert "framepack at 640 x 640: 4.83 s · 145 frames · 4 sections, the end first, 25 steps each" in said
    assert "on a GPU with 6.0 GB" in said
    for stage in ("text encoders", "image encoder", "VAE encode", "once a job", "sampling", "VAE decode"):
        assert stage in said
    assert "streamed" in said
    assert "time unknown" in said


def test_a_plan_says_that_its_model_is_not_downloaded_and_how_large_it_is(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    size = ["--width", "640", "--height", "640"]
    assert ask(monkeypatch, "plan", "--model", "framepack-f1", "--vram-limit", "8GB", *size) == 0
    assert "run `framepack models download framepack-f1` (about 42.9 GB)" in capsys.readouterr().out
    assert ask(monkeypatch, "plan", "--model", "mini", *size) == 0
    assert "download" not in capsys.readouterr().out


def test_what_has_no_effect_on_a_plan_is_reported(monkeypatch, capsys):
    size = ["--width", "640", "--height", "640", "-p", "night falls"]
    assert ask(monkeypatch, "plan", *size) == 0
    assert "note:" not in capsys.readouterr().out
    options = ["-o", "v.mp4", "--work", "folder", "--seed", "7", "--negative", "blurry"]
    assert ask(monkeypatch, "plan", *size, *options) == 0
    said = capsys.readouterr().out
    assert "note: --negative, --seed, --output, --work only matters to `generate`" in said
    assert "note: negative_prompt blurry has no effect" in said


def test_memory_to_leave_free_needs_a_gpu_or_a_plan_for_one(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("framepack.app.machine.gpu_here", lambda: False)
    size, free = ["--width", "640", "--height", "640"], ["--preserve", "2GB"]
    Image.new("RGB", (64, 64)).save(picture := tmp_path / "a.png")
    for command in (["generate", str(picture)], ["generate", str(picture), "--device", "cpu"], ["plan"]):
        assert ask(monkeypatch, *command, *size, *free) == 2
        assert capsys.readouterr().err == (
            "framepack: there is no GPU here, so there is no GPU memory to leave free: leave out --preserve\n"
        )
    held = []
    for options in ([], ["--preserve", "70GB"]):
        assert ask(monkeypatch, "plan", "--model", "framepack", *size, "--vram-limit", "80GB", *options) == 0
        held.append("streamed" in capsys.readouterr().out)
    assert held == [False, True]


def test_a_plan_refuses_what_generate_refuses(monkeypatch, capsys, tmp_path):
    size = ["--width", "640", "--height", "640"]
    assert ask(monkeypatch, "plan", "--model", "framepack", *size, "--lora", str(tmp_path / "gone.safetensors")) == 2
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "style.safetensors").touch()
    lora = ["--lora", str(tmp_path / "style.safetensors"), "--vram-limit", "8GB", "--ram-limit", "6GB"]
    assert ask(monkeypatch, "plan", "--model", "framepack", *size, *lora) == 2
    assert "LoRAs are added to weights in RAM, which takes 25.7 GB" in capsys.readouterr().err
    assert ask(monkeypatch, "plan", *size, "--attention", "nonsense") == 2
    assert "nonsense" in capsys.readouterr().err


def test_a_plan_says_what_of_a_lora_has_no_effect_and_refuses_one_that_does_not_fit(
    monkeypatch, capsys, tiny_models_dir
):
    size, loras = ["--width", "64", "--height", "64", "--models-dir", str(tiny_models_dir)], DATA / "loras"
    options = ["--model", "framepack", *size, "--lora", str(loras / "lora_with_embedding.safetensors")]
    assert ask(monkeypatch, "plan", *options) == 0
    assert (
        "note: lora_with_embedding.safetensors: left out the tensor bundle_emb.token.clip_l" in capsys.readouterr().out
    )
    assert ask(monkeypatch, "plan", "--model", "mini", *size[:4], "--lora", options[-1]) == 2
    assert "is for another model" in capsys.readouterr().err


def test_no_column_is_cut_where_the_page_is_narrow(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    options = ["--model", "framepack", "--vram-limit", "8GB", "--width", "640", "--height", "640"]
    monkeypatch.setattr(sys, "argv", ["framepack", "plan", *options])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().out
    assert "unknown" in said
    assert "…" not in said


def test_tiles_without_leave_are_one_sentence_and_exit_code_two(monkeypatch, capsys):
    options = ["--model", "framepack", "--vram-limit", "4GB", "--width", "640", "--height", "640"]
    assert ask(monkeypatch, "plan", *options) == 2
    assert "--vae-tiling allow" in capsys.readouterr().err
    assert ask(monkeypatch, "plan", *options, "--vae-tiling", "allow") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate"], "name the picture to start from."),
        (["plan"], "name the picture to start from, or --width and --height."),
        (["plan", "--width", "64", "--height", "64", "--vae-tiling", "perhaps"], "never, allow, always"),
        (["plan", "nowhere.png"], "nowhere.png"),
    ],
)
def test_mistakes_are_one_sentence(arguments, said, monkeypatch, capsys):
    assert ask(monkeypatch, *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_a_plan_and_a_dry_run_say_what_the_videos_shape_cuts_off(monkeypatch, capsys, tmp_path):
    Image.new("RGB", (300, 100)).save(picture := tmp_path / "wide.png")
    size = ["--width", "64", "--height", "64"]
    cut = "note: 67% of the picture 'start' is cut off, as the video is 64x64"
    assert ask(monkeypatch, "plan", str(picture), *size) == 0
    assert cut in capsys.readouterr().out
    assert ask(monkeypatch, "plan", f"{picture}[fit=pad]", *size) == 0
    assert "cut off" not in capsys.readouterr().out
    asked = ["--set", "width=64", "--set", "height=64", "--dry-run"]
    assert ask(monkeypatch, "batch", str(tmp_path), "--outputs", str(tmp_path / "made"), *asked) == 0
    assert cut in capsys.readouterr().out
