"""Sentences of ARCHITECTURE.md that import-linter cannot hold."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import request_of

import framepack

SOURCE = Path(framepack.__file__).parent
LIBRARIES = ("torch", "gradio", "fastapi", "diffusers", "transformers")


def files(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from (SOURCE / room).rglob("*.py")


@pytest.mark.parametrize("code", ["import framepack", "from framepack import GenerationRequest, Picture, presets"])
def test_importing_has_no_effects_and_loads_no_torch(code: str, tmp_path: Path) -> None:
    loaded = f"{code}\nimport sys\nprint(*sorted(set({LIBRARIES}) & set(sys.modules)))"
    made = subprocess.run([sys.executable, "-c", loaded], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (made.stdout.strip(), made.stderr, list(tmp_path.iterdir())) == ("", "", [])


def test_what_is_asked_planned_and_computed_reads_neither_argv_nor_the_environment() -> None:
    for file in files("spec", "models", "sampling", "caching", "pipeline"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in ("sys.argv", "os.environ", "os.getenv"), file


def test_no_component_is_moved_outside_of_the_memory_room() -> None:
    """By a device, or by `.cuda()`; a dtype alone moves nothing."""
    for file in files("pipeline", "weights", "models"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value).rpartition(".")[2]
                moved = node.func.attr in ("cuda", "cpu", "to", "to_empty")
                assert not (moved and owner in ("transformer", "vae", "text_encoder", "image_encoder")), file


def test_components_hold_nothing_of_a_run(framepacks_for_architecture, picture_here: Path, tmp_path: Path) -> None:
    model = framepacks_for_architecture
    names = [component.name for component in model.family.components]

    def held() -> dict[str, dict[str, object]]:
        found = {}
        for name in names:
            with model.memory.lease(name) as module:
                found[name] = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        return found

    request = request_of(picture_here, tmp_path / "v.mp4", cache="teacache", cfg=1.5)
    list(model.generate(request))  # a VAE without a preview map fits one, once
    before = held()
    list(model.generate(request))
    assert held() == before


@pytest.fixture
def framepacks_for_architecture(tiny_models_dir: Path) -> framepack.FramePack:
    return framepack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")


@pytest.fixture
def picture_here(tmp_path: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (64, 48), "orange").save(tmp_path / "a.png")
    return tmp_path / "a.png"
