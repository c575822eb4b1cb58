"""What a card without bfloat16 computes with the bundled model: each stage within float16's range, or computed wider.

Encoders and VAE are in float16, as on every card; the transformer is in bfloat16 and attends in float16.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from framepack.media.read import read_video
from framepack.memory import MemoryManager
from framepack.models import attention
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.usable import UnusableError
from framepack.spec.events import Notice
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, Precision
from framepack.weights.sources import ModelSource

RANGE = 65504
EXACT = Precision(transformer=torch.float32, encoders=torch.float32, vae=torch.float32)
OLD_CARD = Precision(transformer=torch.bfloat16, encoders=torch.float16, vae=torch.float16)
NARROW = Precision(transformer=torch.float16, encoders=torch.float16, vae=torch.float16)


class Watched(Loader):
    """Notes the largest number that each part's modules hand on."""

    peaks: dict[str, float]

    def load(self, name, **options):
        return self.watch(name, super().load(name, **options))

    def watch(self, part: str, module: nn.Module):
        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            for tensor in output if isinstance(output, tuple) else (output,):
                if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
                    self.peaks[part] = max(self.peaks.get(part, 0.0), float(tensor.abs().amax()))

        for inner in module.modules():
            inner.register_forward_hook(note)
        return module


def make(dtypes: Precision, folder: Path) -> tuple[dict[str, Tensor], dict[str, float], list[str]]:
    """A short video of a coloured picture: conditioning, latents and frames, what was largest where, what was told."""
    loader = Watched(VARIANTS["mini"], ModelSource(), dtypes)
    loader.peaks = {}
    framepack = FramePack(loader, MemoryManager("cpu"))
    folder.mkdir()
    picture = Image.linear_gradient("L").resize((64, 64))
    Image.merge("RGB", (picture, picture.rotate(90), picture.rotate(180))).save(folder / "a.png")
    size = {"seconds": 0.5, "width": 64, "height": 64, "steps": 2, "seed": 1}
    request = GenerationRequest(
        image=folder / "a.png", prompt="the ball moves to the left", output={"path": folder / "v.mkv"}, **size
    )
    told = [event.message for event in framepack.generate(request, work=folder / "work") if isinstance(event, Notice)]
    made = load_file(folder / "work" / "conditioning.safetensors") | load_file(
        folder / "work" / "section-0000.safetensors"
    )
    made["frames"] = torch.from_numpy(np.stack([*read_video(folder / "v.mkv")])).float()
    return {name: tensor.float() for name, tensor in made.items()}, loader.peaks, told


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return make(EXACT, tmp_path_factory.mktemp("exact") / "run")


def test_encoders_and_vae_are_far_from_float16s_end_and_the_transformer_is_not(exact):
    _, peaks, _ = exact
    assert peaks.keys() == {"text", "image", "vae", "transformer"}
    assert all(peaks[part] < RANGE / 8 for part in ("text", "image", "vae"))
    assert peaks["transformer"] > RANGE, "if this no longer holds, the transformer may compute in float16"


@pytest.mark.proof
def test_a_card_without_bfloat16_makes_nearly_the_same_video(exact, tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "fuses_bfloat16", lambda device: False)
    monkeypatch.setattr(attention, "SLOW_FLASH", False)
    made, _, told = make(OLD_CARD, tmp_path / "run")
    assert made.keys() == exact[0].keys()
    assert not told
    for name, tensor in made.items():
        assert tensor.isfinite().all(), name
        wanted = exact[0][name]
        error = (tensor - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
        assert error < (0.01 if name in ("text", "pooled", "image", "start_latent") else 0.1), (name, float(error))
    assert made["frames"].std() > 10, "not black"


def test_a_transformer_in_float16_is_warned_of_before_the_work_and_never_ends_in_a_black_video(tmp_path):
    with pytest.raises(UnusableError, match="output is not finite"):
        make(NARROW, tmp_path / "run")
    assert not (tmp_path / "run" / "v.mkv").exists()
    (told,) = Loader(VARIANTS["mini"], ModelSource(), NARROW).notices()
    assert "float16" in told
    assert len(told) <= 300
