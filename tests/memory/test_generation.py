"""Whole generations, on a pretended device: where weights are changes no bit of the latents."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rig import RacyCopyStream
from safetensors.torch import load_file

from framepack import FramePack, GenerationRequest
from framepack.memory import MemoryManager
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.sources import ModelSource


def latents(memory: MemoryManager, models_dir: Path | None, folder: Path) -> list[torch.Tensor]:
    """One short video's section latents."""
    picture = folder.parent / "a.png"
    Image.fromarray(np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)).save(picture)
    loader = Loader(VARIANTS["mini"], ModelSource(models_dir=models_dir), choose_precision("cpu", "float32"))
    request = GenerationRequest.model_validate(
        {
            "image": picture,
            "output": {"path": folder / "v.mp4"},
            "steps": 3,
            "width": 32,
            "height": 32,
            "window": 3,
            "seconds": 1.2,
        }
    )
    for _ in FramePack(loader, memory).generate(request, work=folder):
        pass
    memory.close()
    return [load_file(file)["latents"] for file in sorted(folder.glob("section-*.safetensors"))]


@pytest.mark.parametrize("checkpoint", ["tiny", "mini"])
def test_streamed_generation_equals_resident_generation(checkpoint, tiny_models_dir, tmp_path):
    models_dir = tiny_models_dir if checkpoint == "tiny" else None
    truth = latents(MemoryManager("cpu"), models_dir, tmp_path / "resident")
    streaming = MemoryManager("cpu", vram_limit=0, preserve=0, copy_stream=RacyCopyStream(0))
    roomy = MemoryManager("cpu", vram_limit=200_000_000, preserve=0, copy_stream=RacyCopyStream(1))
    for number, memory in enumerate((streaming, roomy)):
        assert all(
            torch.equal(x, y) for x, y in zip(latents(memory, models_dir, tmp_path / f"{number}"), truth, strict=True)
        )
    assert len(truth) > 1


@pytest.mark.parametrize("checkpoint", ["tiny", "mini"])
def test_generation_from_the_files_equals_generation_from_ram(checkpoint, tiny_models_dir, tmp_path):
    models_dir = tiny_models_dir if checkpoint == "tiny" else None
    truth = latents(MemoryManager("cpu"), models_dir, tmp_path / "resident")
    limited = MemoryManager("cpu", ram_limit=100 << 30)
    pretended = MemoryManager(
        "cpu", ram_limit=1, vram_limit=0, preserve=0, copy_stream=RacyCopyStream(0)
    )  # nothing may be pinned
    for number, memory in enumerate((limited, pretended)):
        assert all(
            torch.equal(x, y) for x, y in zip(latents(memory, models_dir, tmp_path / f"{number}"), truth, strict=True)
        )
        assert memory.reader.bytes_read > 0
