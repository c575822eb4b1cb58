"""The command line tells of an attention that is not here before it loads torch, and the doctor of what there is."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from framepack.app.cli import main as cli
from framepack.app.cli.models import attention_lines
from framepack.memory.probe import Device, DeviceMemory, Machine

MEMORY = DeviceMemory(total=8, free=8, allocated=0, reserved=0)
MISSING = "attention xformers needs the package xformers, which is not installed; use auto"


def ask(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", ["generate", "plan", "serve", "batch"])
def test_a_missing_package_is_reported_at_once(monkeypatch, capsys, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    Path("prompts.txt").write_text("a wave breaks", encoding="utf-8")
    rest = {"serve": ["--port", "0"], "batch": ["prompts.txt", "--set", "image=a.png"]}.get(command, ["a.png"])
    assert ask(monkeypatch, command, *rest, "--attention", "xformers") == 2
    assert capsys.readouterr().err == f"framepack: {MISSING}\n"
    assert not list(tmp_path.glob("outputs/*"))


@pytest.mark.parametrize("command", ["serve", "batch"])
def test_a_type_that_is_none_is_reported_before_anything_is_queued(monkeypatch, capsys, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    Path("prompts.txt").write_text("a wave breaks", encoding="utf-8")
    rest = ["prompts.txt", "--set", "image=a.png"] if command == "batch" else ["--port", "0"]
    assert ask(monkeypatch, command, *rest, "--dtype", "int4") == 2
    assert "dtype must be one of float32, fp32, bfloat16" in capsys.readouterr().err
    assert not list(tmp_path.glob("outputs/*"))


def test_a_plan_tells_what_a_package_leaves_to_pytorch(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    Image.new("RGB", (64, 64)).save(picture := tmp_path / "a.png")
    size = ["--model", "framepack", "--width", "64", "--height", "64", "--vram-limit", "8GB", "--seconds", "4"]
    options = [*size, "--attention", "flash-attn", "--frame", f"{picture}@2:0.5"]
    assert ask(monkeypatch, "plan", str(picture), *options) == 0
    assert "note: attention" not in capsys.readouterr().out
    assert ask(monkeypatch, "plan", str(picture), *options, "--reference", f"{picture}:0.5") == 0
    assert "note: attention flash-attn supports no strength of pictures: " in capsys.readouterr().out
    assert ask(monkeypatch, "plan", str(picture), *size[:6], "--attention", "flash-attn") == 2
    assert "attention flash-attn needs a CUDA device, got cpu: use auto" in capsys.readouterr().err


def machine(*, bf16: bool) -> Machine:
    card = Device(name="cuda:0", model="a card", memory=MEMORY, bf16=bf16)
    cpu = Device(name="cpu", model="a processor", memory=MEMORY, bf16=True)
    return Machine(devices=(card, cpu), cores=1, ram_total=8, ram_available=8, disk_free=8, torch="2")


def test_the_doctor_tells_what_computes_attention_and_how_old_cards_compute(monkeypatch):
    told = [*attention_lines(machine(bf16=True))]
    assert told == ["attention: PyTorch's own; flash-attn, sage, xformers are not installed, and not needed"]
    monkeypatch.setitem(sys.modules, "sageattention", ModuleType("sageattention"))
    own, sage, old = attention_lines(machine(bf16=False))
    assert own == "attention: PyTorch's own"
    assert "sage is installed; it is approximate" in sage
    assert old.startswith("cuda:0 has no bfloat16: attention runs in float16")
