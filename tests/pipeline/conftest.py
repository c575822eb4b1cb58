"""Tiny random checkpoints in float32, and a picture for them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack import FramePack


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "a.png"
    ramp = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    Image.fromarray(ramp).save(file)
    return file


@pytest.fixture(scope="module")
def framepacks(tiny_models_dir: Path) -> dict[str, FramePack]:
    return {
        model: FramePack.load(model, models_dir=tiny_models_dir, dtype="float32", device="cpu")
        for model in ("mini", "mini-f1")
    }
