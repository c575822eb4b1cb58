"""A section's history may be what the model itself made of the section before."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_recipe import TINY

from framepack.training.data.clip_recipe import ClipRecipe
from framepack.training.data.clips import ClipStream
from framepack.training.data.images import draw_image
from framepack.training.data.sections import VideoLatent, forward_section, inverted_section
from framepack.training.transformer import scheduled_sampling
from framepack.training.transformer.export import write_tokenizers
from framepack.training.transformer.scheduled_sampling import with_generated_history
from framepack.training.transformer.trainer import MiniModel

SECTIONS = {
    "forward": replace(forward_section(3, 2), previous=forward_section(3, 1)),
    "inverted": replace(inverted_section(3, 1, 2), previous=inverted_section(3, 2, 1)),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    return MiniModel(TINY, write_tokenizers(tmp_path_factory.mktemp("words"))).bfloat16()


@pytest.fixture
def batch(request, block_encoder):
    pool = np.stack([draw_image(np.random.default_rng((8, i)), 64) for i in range(2)])
    stream, recipe = ClipStream(block_encoder, torch.device("cpu")), ClipRecipe(motions={"pan left": 1.0})
    return stream.batch(np.random.default_rng(5), recipe, pool, SECTIONS[request.param], 2, (32, 32))


def own(model, batch):
    features = model.towers(batch.prompts, batch.images)
    return with_generated_history(model.transformer, features, batch, torch.Generator().manual_seed(1))


def by_source(batch):
    """(source, latents) of the batch's context, as often as it is there."""
    parts = zip(batch.section.context, batch.context, strict=True)
    return [(source, latents[:, :, i]) for part, latents in parts for i, source in enumerate(part.sources)]


@pytest.mark.parametrize("batch", list(SECTIONS), indirect=True)
def test_the_section_before_is_what_the_model_made_and_the_rest_is_true(model, batch, monkeypatch):
    made = batch.previous.noisy + 0.01 * torch.arange(3)[:, None, None]
    monkeypatch.setattr(scheduled_sampling, "_sample", lambda *_: made)
    known = own(model, batch)
    assert known.previous is None
    before = dict.fromkeys(batch.section.previous.noisy)
    changed = 0
    for (source, mine), (_, true) in zip(by_source(known), by_source(batch), strict=True):
        if source in before:
            index = batch.section.previous.noisy.index(source)
            assert torch.equal(mine, made[:, :, index])
            changed += 1
        else:
            assert torch.equal(mine, true)
    assert changed == 3
    assert torch.equal(known.noisy, batch.noisy)


@pytest.mark.parametrize("batch", ["forward"], indirect=True)
def test_a_clip_that_went_astray_keeps_its_true_history(model, batch, monkeypatch):
    made = batch.previous.noisy.clone()
    made[0] += 10
    made[1] += 0.001
    monkeypatch.setattr(scheduled_sampling, "_sample", lambda *_: made)
    known = dict(by_source(own(model, batch)))
    for index, source in enumerate(batch.section.previous.noisy):
        assert torch.equal(known[source][0], batch.previous.noisy[0, :, index])
        assert torch.equal(known[source][1], made[1, :, index])


@pytest.mark.parametrize("batch", list(SECTIONS), indirect=True)
def test_what_is_made_is_a_sampling_without_gradients(model, batch):
    features = model.towers(batch.prompts, batch.images)
    random = torch.Generator().manual_seed(2)
    made = scheduled_sampling._sample(model.transformer, features, batch.previous, random)
    assert made.shape == batch.previous.noisy.shape
    assert made.dtype == torch.float32
    assert not made.requires_grad
    again = scheduled_sampling._sample(model.transformer, features, batch.previous, torch.Generator().manual_seed(2))
    assert torch.equal(made, again)


def test_the_previous_section_is_read_with_its_own_context():
    section = SECTIONS["forward"]
    assert set(section.previous.sources) <= set(section.sources)
    assert VideoLatent(1) in section.previous.sources
