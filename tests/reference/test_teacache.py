"""TeaCache's decisions, step by step, against those of the public application."""

import json
from pathlib import Path

import pytest

from framepack import FramePack, GenerationRequest
from framepack.caching import TeaCache
from framepack.pipeline import engine

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
DECISIONS = json.loads((REFERENCE / "teacache.json").read_text()) if REFERENCE.exists() else {}
RUNS = json.loads((REFERENCE / "runs" / "index.json").read_text()) if REFERENCE.exists() else {}
pytestmark = pytest.mark.skipif(not DECISIONS, reason="the reference runs are not beside this checkout")


@pytest.mark.parametrize("name", DECISIONS)
def test_the_blocks_run_at_the_same_steps(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    order, steps, sections = name.split("_")
    params = RUNS["i2v_tea"]["params"]
    request = GenerationRequest(
        image=REFERENCE / "input.png",
        prompt=params["prompt"],
        seed=params["seed"],
        model="framepack-f1" if order == "f1" else "framepack",
        steps=int(steps.removesuffix("steps")),
        seconds=1.2 * int(sections.removesuffix("sections")),
        cache="teacache",
        width=96,
        height=64,
        output={"path": tmp_path / "v.mkv", "format": "mkv"},
    )
    decisions: list[bool] = []
    monkeypatch.setattr(TeaCache, "lookup", recording(decisions))
    assert engine.CACHES["teacache"] is TeaCache
    list(
        FramePack.load(request.model, models_dir=REFERENCE / "checkpoints", dtype="float32", device="cpu").generate(
            request
        )
    )
    assert [int(ran) for ran in decisions] == DECISIONS[name]


def recording(decisions: list[bool]):
    """TeaCache.lookup that also writes down whether the blocks ran."""
    real = TeaCache.lookup

    def lookup(self: TeaCache, step: int, signal: object) -> object:
        residual = real(self, step, signal)
        decisions.append(residual is None)
        return residual

    return lookup
