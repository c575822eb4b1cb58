"""A family that nothing in the program knows by name is planned, made, resumed, listed and verified."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy import GEOMETRY, TOY, VARIANT, write_toy

from framepack.app.cli import main as cli
from framepack.media.read import read_video
from framepack.models.families import FAMILIES
from framepack.pipeline.load import load
from framepack.spec.events import Planned
from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS


@pytest.fixture
def toy(monkeypatch, tmp_path: Path) -> Path:
    monkeypatch.setitem(VARIANTS, "toy", VARIANT)
    monkeypatch.setitem(FAMILIES, "toy", TOY)
    write_toy(tmp_path / "models")
    monkeypatch.setenv("FRAMEPACK_MODELS_DIR", str(tmp_path / "models"))
    noise = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def framepack(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


GENERATE = ("a.png", "-p", "a toy", "--model", "toy", "--dtype", "float32", "--device", "cpu")


def test_it_is_planned(monkeypatch, toy, capsys) -> None:
    assert framepack(monkeypatch, "plan", *GENERATE) == 0
    said = capsys.readouterr().out
    assert "2 s · 24 frames · 3 sections" in said
    assert "image encoder" not in said
    assert "sampling" in said


def test_it_is_made_and_resumed_by_the_command_line(monkeypatch, toy) -> None:
    assert framepack(monkeypatch, "generate", *GENERATE, "--work", "work", "-o", "one.mkv") == 0
    for file in (toy / "work").glob("section-0002.*"):
        file.unlink()
    assert framepack(monkeypatch, "generate", *GENERATE, "--work", "work", "-o", "two.mkv") == 0
    one, two = (np.stack(list(read_video(toy / name))) for name in ("one.mkv", "two.mkv"))
    assert len(one) == 24
    assert np.array_equal(one, two)


def test_its_sections_are_decoded_alone_at_its_own_rate(toy) -> None:
    request = GenerationRequest(image="a.png", model="toy")
    sections = plan(request)
    assert [len(section.latents) for section in sections] == [4, 5, 5]
    assert [section.frames for section in sections] == [7, 9, 9]
    assert not any(section.overlap or section.provisional for section in sections)
    assert (request.output.fps, request.window) == (12, 5)
    with load("toy", models_dir=toy / "models", device="cpu", dtype="float32") as model:
        frames = model.frames(request)
        assert frames.shape == (24, 72, 72, 3)
        assert len(np.unique(frames)) > 50


def test_its_latents_have_its_own_shape(toy) -> None:
    request = GenerationRequest(image="a.png", model="toy", seconds=0.5)
    with load("toy", models_dir=toy / "models", device="cpu", dtype="float32") as model:
        made = [event for event in model.sections(request) if hasattr(event, "latents")]
        assert [tuple(one.latents.shape) for one in made] == [(1, 6, 4, *GEOMETRY.latent_size(72, 72))]
        assert all(torch.isfinite(one.latents).all() for one in made)


def test_its_weights_stream_on_a_small_device(toy) -> None:
    request = GenerationRequest(image="a.png", model="toy", seconds=0.5)
    with load("toy", models_dir=toy / "models", device="cpu", dtype="float32", vram_limit=700_000) as model:
        planned = next(event for event in model.sections(request) if isinstance(event, Planned))
    assert {row.part: row.placement for row in planned.stages}["sample"] == "streamed"


def test_it_is_listed_and_verified(monkeypatch, toy, capsys) -> None:
    assert framepack(monkeypatch, "models", "list") == 0
    assert "a second family; [" not in (said := capsys.readouterr().out)
    assert "toy" in said
    assert framepack(monkeypatch, "models", "verify", "toy") == 0
    assert "toy transformer" in capsys.readouterr().out


def test_its_sizes_are_its_own(toy) -> None:
    fields = {"image": "a.png", "model": "toy"}
    assert GenerationRequest(**fields).size_for(64, 80) == (72, 72)
    assert GenerationRequest(**fields).size_for(40, 80) == (48, 88)
    assert GenerationRequest(**fields, width=72, height=40).size == (40, 72)
    with pytest.raises(ValueError, match="width must be a multiple of 8, got 100; try 96 or 104"):
        GenerationRequest(**fields, width=100, height=40)
