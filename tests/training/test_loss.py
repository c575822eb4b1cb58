"""What counts in the error of a training section."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_recipe import TINY

from framepack.training.data.clip_recipe import ClipRecipe
from framepack.training.data.clips import ClipBatch, ClipStream
from framepack.training.data.grammar import FILLERS, UNKNOWN
from framepack.training.data.images import draw_image
from framepack.training.data.sections import inverted_section
from framepack.training.transformer.export import write_tokenizers
from framepack.training.transformer.loss import FlowRecipe, changes, draw_sigmas, flow_loss
from framepack.training.transformer.trainer import MiniModel


def test_what_has_left_the_start_weighs_as_far_as_it_has_gone():
    start = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    clean = start.repeat(1, 1, 3, 1, 1)
    assert not changes(clean, start).any()
    clean[:, :, 1, 2:4, 2:4] += 2
    clean[:, :, 2, :, :] += 1
    weights = changes(clean, start)
    assert weights.shape == (1, 1, 3, 8, 8)
    assert not weights[0, 0, 0].any()
    assert (weights[0, 0, 1, 2:4, 2:4] > 8).all()  # a sixteenth of the frame has nearly all of its weight
    assert weights[0, 0, 1].count_nonzero() == 4
    assert weights[0, 0, 2].min() > 0.9
    assert weights.mean(dim=(3, 4)).max() <= 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MiniModel:
    torch.manual_seed(0)
    return MiniModel(TINY, write_tokenizers(tmp_path_factory.mktemp("words"))).bfloat16()


def _loss(model: MiniModel, batch: ClipBatch, focus: float) -> float:
    with torch.no_grad():
        features = model.towers(batch.prompts, batch.images)
        random = torch.Generator().manual_seed(1)
        return float(flow_loss(model.transformer, features, batch, FlowRecipe(focus=focus), random))


def test_focus_takes_its_share_of_the_error_from_what_stands_still(model, block_encoder):
    stream, pool = ClipStream(block_encoder, torch.device("cpu")), _pool()
    recipe = ClipRecipe(sprites=0.0, motions={"still": 1.0})
    batch = stream.batch(np.random.default_rng(5), recipe, pool, inverted_section(3, 0, 0), 2, (32, 32))
    still = replace(batch, noisy=batch.context[0][:, :, :1].repeat(1, 1, 3, 1, 1))
    plain = _loss(model, still, 0.0)
    assert _loss(model, still, 0.4) == pytest.approx(0.6 * plain, rel=1e-3)
    everywhere = replace(batch, noisy=still.noisy + 100)
    assert _loss(model, everywhere, 0.4) == pytest.approx(_loss(model, everywhere, 0.0), rel=5e-3)


def test_a_share_of_the_levels_is_the_one_that_sampling_begins_with():
    usual = draw_sigmas(1000, FlowRecipe(), torch.Generator().manual_seed(2))
    begun = draw_sigmas(1000, FlowRecipe(first=0.4), torch.Generator().manual_seed(2))
    assert not (usual == 1).any()
    assert 350 < int((begun == 1).sum()) < 450
    assert torch.equal(begun[begun < 1], usual[begun < 1])


def test_without_a_word_of_motion_a_clip_stands_still_unless_a_picture_to_come_says_more(block_encoder):
    stream, pool = ClipStream(block_encoder, torch.device("cpu")), _pool()
    recipe = ClipRecipe(wordless=1.0, motions={"pan left": 1.0}, combined=0.0)

    def batch(**section: object) -> ClipBatch:
        return stream.batch(np.random.default_rng(5), recipe, pool, inverted_section(3, 0, 0, **section), 2, (32, 32))

    alone, told = batch(), batch(end=True)
    assert {motion.name for clip in alone.motions for motion in clip} == {"still"}
    assert {motion.name for clip in told.motions for motion in clip} == {"pan left"}
    assert torch.equal(alone.noisy[:, :, :1], alone.noisy[:, :, 2:])
    assert not torch.equal(told.noisy[:, :, :1], told.noisy[:, :, 2:])
    known = {*FILLERS, UNKNOWN}
    assert all(word in known for clip in (*alone.prompts, *told.prompts) for word in clip.split())


def _pool() -> np.ndarray:
    return np.stack([draw_image(np.random.default_rng((8, i)), 64) for i in range(2)])
