"""A training may begin with a model that is there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_recipe import TINY

from framepack.files.assets import BUNDLED
from framepack.training import loop
from framepack.training.optimizer import Optimizer
from framepack.training.run_log import read_log
from framepack.training.transformer.recipe import Schedule
from framepack.training.transformer.start import read_start
from framepack.training.transformer.trainer import MiniModel, train

SHORT = replace(TINY, schedule=Schedule(steps=20, warm_up=4))
LONGER = replace(TINY, schedule=Schedule(steps=40, warm_up=4))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    train(SHORT, folder)
    return folder


def optimizer_for(recipe, models: Path) -> Optimizer:
    torch.manual_seed(5)
    model = MiniModel(recipe, models / "hunyuanvideo-community/HunyuanVideo").float()
    return Optimizer(model, model.matrices(), recipe.optimizer)


def test_it_begins_with_all_weights_and_says_how_far_they_had_come(made):
    start = read_start(made / "model")
    assert (start.step, start.samples) == (20, 2 * 20)
    optimizer = optimizer_for(TINY, made / "model")
    before = {name: tensor.clone() for name, tensor in optimizer.master.items()}
    start.load_into(optimizer)
    changed = {name for name, tensor in optimizer.master.items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in changed} == {"transformer", "towers"}
    assert {name.split(".")[1] for name in changed if name.startswith("towers")} == {"llama", "clip", "siglip"}
    for name, parameter in optimizer.parameters.items():
        assert torch.equal(parameter, optimizer.master[name])


@pytest.mark.proof
def test_a_run_goes_on_where_the_model_stood_cut_or_whole(made, tmp_path):
    for name in ("whole", "cut"):
        if name == "cut":
            assert train(replace(LONGER, schedule=Schedule(steps=60)), tmp_path / name, start=made / "model", seconds=0)
        assert train(replace(LONGER, schedule=Schedule(steps=60)), tmp_path / name, start=made / "model") == 60
        assert [row["step"] for row in read_log(tmp_path / name / "log.csv")] == [40, 60]
    for file in ("part-00.safetensors", "state.json"):
        whole, cut = (tmp_path / name / "state" / file for name in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()
    assert read_start(tmp_path / "whole/model").step == 60


def test_a_model_that_does_not_say_how_far_it_came_is_refused(made, tmp_path):
    shutil.copytree(made / "model", tmp_path / "model")
    file = tmp_path / "model/framepack/mini/config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    assert config.pop("_trained") == {"step": 20, "samples": 40}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="does not say how far its training had come"):
        read_start(tmp_path / "model")


def test_the_bundled_model_can_be_begun_with():
    assert read_start(BUNDLED / "mini").samples > 300_000


def test_rates_rise_anew(made):
    schedule = Schedule(steps=60, warm_up=10, decay=0.1)
    assert schedule.rate(20) == 1
    assert schedule.rate(20, 0) == pytest.approx(0.1)
    assert schedule.rate(29, 9) == 1


def test_the_vae_is_kept_or_trained_further(made, tmp_path):
    weights = "vae/diffusion_pytorch_model.safetensors"
    train(LONGER, tmp_path / "kept", start=made / "model")
    assert (tmp_path / "kept" / "model/hunyuanvideo-community/HunyuanVideo" / weights).read_bytes() == (
        made / "model/hunyuanvideo-community/HunyuanVideo" / weights
    ).read_bytes()
    further = replace(LONGER, vae=replace(TINY.vae, further=True, encoder_rate=0))
    train(further, tmp_path / "further", start=made / "model")
    before, after = (read_start(path / "model").vae() for path in (made, tmp_path / "further"))
    assert before.config["scaling_factor"] == after.config["scaling_factor"]
    moved = {
        name
        for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert moved
    assert not [name for name in moved if name.startswith(("encoder.", "quant_"))]


def test_a_run_that_was_to_begin_with_a_model_does_not_begin_with_nothing(made, tmp_path):
    slow = replace(TINY.vae, further=True, encoder_rate=0, steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", 1)
        assert train(replace(LONGER, vae=slow), tmp_path / "run", start=made / "model", seconds=0) == 0
    with pytest.raises(ValueError, match="was to begin with a model and has not taken a step: name it again"):
        train(replace(LONGER, vae=slow), tmp_path / "run")
    assert train(replace(LONGER, vae=slow), tmp_path / "run", start=made / "model") == 40
    assert train(replace(LONGER, vae=slow), tmp_path / "run") == 40


def test_what_cannot_be_gone_on_with_is_told_in_a_sentence(made, tmp_path):
    with pytest.raises(ValueError, match=r"has 20 steps already and the recipe ends at 20: give it more steps"):
        train(SHORT, tmp_path / "run", start=made / "model")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=r"holds a training that did not begin with this model"):
        train(LONGER, made, start=made / "model")
    with pytest.raises(ValueError, match=r"no mini model in .*: .*safetensors is missing"):
        train(LONGER, tmp_path / "run", start=tmp_path)
    other = replace(LONGER, model=replace(TINY.model, num_single_layers=2))
    with pytest.raises(ValueError, match=r"single_transformer_blocks.1.* do not match the recipe's: begin"):
        train(other, tmp_path / "other", start=made / "model")
