"""The network that enlarges in a job's plan: what is foreseen is what its tiles take, a wrong file is told at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from framepack.app.service.tracker import Tracker
from framepack.files.errors import MediaError
from framepack.memory import Budget
from framepack.memory.estimate import estimate
from framepack.models.upscaler import RRDBNet
from framepack.pipeline.enlarge import meta_network, room_of
from framepack.pipeline.estimate import Estimator
from framepack.pipeline.job_costs import job_of
from framepack.pipeline.stages.upscale import MARGIN, TILE, UpscaleStage, padded, tiles
from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.meta import MetaModels
from framepack.weights.sources import ModelSource


@pytest.fixture
def estimator() -> Estimator:
    loader = Loader(VARIANTS["mini"], ModelSource(), choose_precision("cpu", "float32"))
    return Estimator(MetaModels(loader.family, loader.places, loader.precision), torch.device("cpu"))


def network(file: Path, fold: int = 1) -> Path:
    torch.manual_seed(0)
    save_file(RRDBNet(channels=8, growth=4, blocks=1, fold=fold).state_dict(), file)
    return file


def request_of(folder: Path, **finish: object) -> GenerationRequest:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "a.png")
    fields = {"image": folder / "a.png", "width": 224, "height": 208, "seconds": 1, "steps": 1, "finish": finish}
    return GenerationRequest.model_validate(fields).resolved()


def planned(estimator: Estimator, request: GenerationRequest, device: str = "cpu"):
    budget = Budget.of(torch.device(device), 4 * 10**9 if device == "meta" else None, None, None)
    return estimator.plan(request, plan(request), (208, 224), budget)[1]


def seen_tiles(height: int, width: int) -> list[torch.Tensor]:
    """What the network is shown of a frame, tile by tile."""
    frame = torch.zeros(1, 3, height, width)
    return [
        frame[
            :,
            :,
            max(rows.start - MARGIN, 0) : rows.stop + MARGIN,
            max(columns.start - MARGIN, 0) : columns.stop + MARGIN,
        ]
        for rows in tiles(height)
        for columns in tiles(width)
    ]


@pytest.mark.parametrize("fold", [1, 2])
def test_operations_and_memory_are_those_of_the_tiles(estimator: Estimator, tmp_path: Path, fold: int) -> None:
    file = network(tmp_path / "n.safetensors", fold)
    request = request_of(tmp_path, enlarge=4, network=file)
    made, job = RRDBNet(channels=8, growth=4, blocks=1, fold=fold), job_of(request, plan(request), (208, 224))
    real = [estimate(lambda tile=tile: made(padded(tile, fold))) for tile in seen_tiles(208, 224)]
    stage, models = UpscaleStage(), estimator.models.with_network("upscaler", meta_network(file))
    cost, _ = estimator.run(stage, stage.inputs(job, models, {}), modes=None, models=models)  # type: ignore[arg-type]
    assert cost.flops * stage.calls(job) == pytest.approx(sum(one.flops for one in real), rel=0.02)
    assert cost.activations == pytest.approx(max(one.activations for one in real), rel=0.1)
    assert (stage.passes(job), job.enlarged) == (request.delivered_frames, request.delivered_frames)
    whole = estimate(lambda: made(torch.zeros(1, 3, TILE + 2 * MARGIN, TILE + 2 * MARGIN)))
    assert room_of(meta_network(file)) == pytest.approx(whole.activations, rel=0.1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_plan_has_a_row_for_it_and_none_where_it_does_nothing(
    estimator: Estimator, tmp_path: Path, device: str
) -> None:
    file = network(tmp_path / "n.safetensors")
    with_it = planned(estimator, request_of(tmp_path, enlarge=2, network=file), device)
    row = with_it.stages[-1]
    assert (row.part, row.title, row.passes) == ("upscale", "enlarging", 30)
    assert row.weights >= sum(tensor.nbytes for tensor in meta_network(file).state_dict().values())
    assert row.peak > row.weights + row.activations - 1
    for finish in ({}, {"enlarge": 2}, {"network": file}):
        without = planned(estimator, request_of(tmp_path, **finish), device)
        assert [one.part for one in without.stages] == [one.part for one in with_it.stages[:-1]]
        assert without.peak <= with_it.peak


def test_time_left_counts_it(estimator: Estimator, tmp_path: Path) -> None:
    request = request_of(tmp_path, enlarge=2, network=network(tmp_path / "n.safetensors"))
    tracker, foreseen = Tracker(request), planned(estimator, request)
    before = tracker._finish
    tracker.update(foreseen)
    assert foreseen.stages[-1].seconds is not None
    assert tracker._finish == pytest.approx(before + foreseen.stages[-1].seconds)


def test_a_file_that_is_no_network_is_told_before_any_work(estimator: Estimator, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "n.safetensors")
    with pytest.raises(MediaError, match="is no network that enlarges"):
        planned(estimator, request_of(tmp_path, enlarge=2, network=tmp_path / "n.safetensors"))
