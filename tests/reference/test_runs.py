"""End to end against the public application: same checkpoints, same requests, its own numbers (float32, CPU)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from framepack import FramePack, GenerationRequest
from framepack.media.read import read_video
from framepack.spec.events import Finished

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
RUNS = json.loads((REFERENCE / "runs" / "index.json").read_text()) if REFERENCE.exists() else {}
pytestmark = pytest.mark.skipif(not RUNS, reason="the reference runs are not beside this checkout")


def request_of(name: str, output: Path) -> GenerationRequest:
    params = RUNS[name]["params"]
    return GenerationRequest(
        image=REFERENCE / "input.png",
        prompt=params["prompt"],
        negative_prompt=params["n_prompt"],
        model="framepack-f1" if name.startswith("f1") else "framepack",
        seed=params["seed"],
        seconds=params["total_second_length"],
        window=params["latent_window_size"],
        steps=params["steps"],
        cfg=params["cfg"],
        guidance=params["gs"],
        cfg_rescale=params["rs"],
        cache="teacache" if params["use_teacache"] else "none",
        width=96,
        height=64,
        output={"path": output, "format": "mkv"},
    )


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, what: str) -> None:
    assert ours.shape == theirs.shape, what
    error = (ours - theirs).abs().max() / theirs.abs().max()
    assert error <= 1e-3, f"{what}: relative error {error:.2e}"


@pytest.mark.parametrize("name", RUNS)
def test_a_run_equals_the_public_application(name: str, tmp_path: Path):
    request = request_of(name, tmp_path / "video.mkv")
    framepack = FramePack.load(request.model, models_dir=REFERENCE / "checkpoints", dtype="float32", device="cpu")
    events = list(framepack.generate(request, work=tmp_path / "work"))
    theirs = load_file(REFERENCE / "runs" / f"{name}.safetensors")
    ours = load_file(tmp_path / "work" / "conditioning.safetensors")
    for key in ("start_latent", "text", "pooled", "image"):
        assert_close(ours[key], theirs[key], key)
    for k in range(RUNS[name]["sections"]):
        section = load_file(tmp_path / "work" / f"section-{k:04d}.safetensors")["latents"]
        assert_close(section, theirs[f"section_{k}"], f"section {k}")
    assert isinstance(events[-1], Finished)
    frames = np.stack(list(read_video(events[-1].file)))
    assert frames.shape == tuple(RUNS[name]["frames"])
    error = np.mean((frames.astype(np.float64) - theirs["frames"].numpy()) ** 2)
    assert 10 * np.log10(255**2 / max(error, 1e-12)) >= 50
