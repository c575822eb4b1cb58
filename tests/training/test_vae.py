"""The mini VAE: fitted without training, encoded block by block, trained in pieces."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from framepack.training import loop
from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.images import draw_image
from framepack.training.data.motions import MOTIONS, render, state_at
from framepack.training.data.pool import ImagePool, PoolRecipe
from framepack.training.run_log import read_log
from framepack.training.vae import train as vae
from framepack.training.vae.alignment import align_latents, measure_scaling_factor
from framepack.training.vae.decoder import Fit, fit_decoder
from framepack.training.vae.encoder import fit_encoder, new_vae, trainable_masks
from framepack.training.vae.recipe import VaeRecipe
from framepack.training.vae.train import VaeTrainer, fit_vae, prepare_vae

RECIPE = VaeRecipe(
    layers=1,
    fit_clips=12,
    fit_rows=4000,
    steps=24,
    images=2,
    clips_a_batch=1,
    sizes=((32, 32),),
    decoder_rate=1e-5,
    encoder_rate=5e-6,
    warm_up=10,
)


def psnr(a, b):
    return float(-10 * torch.log10((a - b).square().mean() / 4))


@pytest.fixture(scope="module")
def images():
    return np.stack([draw_image(np.random.default_rng((5, i)), 128) for i in range(12)])


@pytest.fixture(scope="module")
def clips(images):
    images = torch.from_numpy(images[:, ::2, ::2].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    rates = torch.stack([list(MOTIONS.values())[i].row() for i in range(12)])
    return render(images, state_at(torch.arange(9), rates, rates, torch.zeros(12)))


@pytest.fixture(scope="module")
def fitted(clips):
    torch.manual_seed(0)
    model = new_vae((16, 32, 64, 64), 16, 2)
    fit_encoder(model, clips)
    return model


@pytest.fixture(scope="module")
def learning(images):
    """A VAE that was trained on one batch again and again, and how well it did."""
    recipe = replace(RECIPE, fit_rows=20_000, noise=0.0)
    model = fit_vae(recipe, 3, images)
    trainer = VaeTrainer(model, images, recipe, 3)
    batch = trainer.draw(np.random.default_rng(7), 0)
    trainer.draw = lambda *_: batch
    return model, [trainer.step(number)[0] for number in range(recipe.steps)]


@pytest.fixture(scope="module")
def trained(learning):
    return learning[0]


@pytest.mark.parametrize("which", ["fitted", "trained"])
def test_blocks_are_encoded_as_the_whole_clip_is(which, request, clips):
    model = request.getfixturevalue(which)
    encoder = BlockEncoder(model)
    with torch.no_grad():
        real = model.encode(clips[:2]).latent_dist.mode() * model.config.scaling_factor
    torch.testing.assert_close(encoder.clip(clips[:2]), real, atol=0.05, rtol=0)
    torch.testing.assert_close(encoder.image(clips[:2, :, 0]), real[:, :, :1], atol=0.05, rtol=0)


def test_an_encoder_that_learns_has_the_gradients_of_the_whole_clip_s(trained, clips):
    part, weights = clips[:2, ..., :32, :32], {name: trained.get_parameter(name) for name in trainable_masks(trained)}
    encoding = {name: weight for name, weight in weights.items() if name.startswith(vae.ENCODER_PREFIXES)}
    learns = BlockEncoder(trained, learns=True)
    found = []
    for encode in (learns.clip, lambda frames: trained.encode(frames).latent_dist.mode() * learns.scaling_factor):
        for weight in encoding.values():
            weight.grad = None
            weight.requires_grad_(True)
        encode(part).square().sum().backward()
        found.append({name: weight.grad * trainable_masks(trained)[name] for name, weight in encoding.items()})
    for name, real in found[1].items():
        assert torch.nn.functional.cosine_similarity(found[0][name].flatten(), real.flatten(), 0) > 0.99, name


def test_a_copy_of_the_encoder_stays_and_one_that_learns_follows(fitted, clips):
    model = new_vae((16, 32, 64, 64), 16, 2)
    model.load_state_dict(fitted.state_dict())
    copy, learns = BlockEncoder(model), BlockEncoder(model, learns=True)
    before = copy.clip(clips[:1])
    with torch.no_grad():
        model.quant_conv.weight.mul_(2)
        model.encoder.conv_norm_out.weight.mul_(1.5)
    assert torch.equal(copy.clip(clips[:1]), before)
    assert learns.clip(clips[:1]).std() > 2 * before.std()
    assert not copy.clip(clips[:1]).requires_grad


def test_latents_have_unit_size_and_are_half_whitened(fitted, clips):
    latents = BlockEncoder(fitted).clip(clips)
    assert float(latents.square().mean()) == pytest.approx(1, abs=0.02)
    spread = latents.flatten(2).std((0, 2))
    assert spread[0] > 2 * spread[-1]


def test_the_solved_decoder_is_what_its_convolutions_compute(fitted, clips):
    encoder = BlockEncoder(fitted)
    expected = fit_decoder(fitted, clips, encoder.clip(clips) / encoder.scaling_factor, Fit(rows=4000))
    with torch.no_grad():
        made = fitted.decode(encoder.clip(clips[:4]) / encoder.scaling_factor).sample
    assert expected > psnr(clips.mean(), clips) + 5
    assert psnr(made, clips[:4]) > expected - 3


def test_too_many_latent_channels_are_refused_with_the_width_they_need():
    with pytest.raises(ValueError, match="need a last block of"):
        fit_encoder(new_vae((16, 32, 64, 64), 48), torch.zeros(1, 3, 5, 16, 16))


def test_training_sharpens_and_moves_only_what_is_free(learning, images):
    model, psnrs = learning
    assert psnrs[-1] > psnrs[0] + 0.5
    start = fit_vae(replace(RECIPE, fit_rows=20_000), 3, images)
    free = trainable_masks(start)
    moved = 0
    for (name, before), after in zip(start.named_parameters(), model.parameters(), strict=True):
        fixed = 1 - free[name] if name in free else torch.ones_like(before)
        assert torch.equal(before * fixed, after * fixed), name
        moved += not torch.equal(before, after) and name.startswith("encoder.")
    assert moved > 10


def test_clips_that_are_coded_well_weigh_more_and_never_without_bound():
    errors = torch.tensor([vae.TYPICAL_ERROR, 0.1, 0.001, 0.0])
    assert torch.equal(vae.clip_weights(errors, 0.0), torch.ones(4))
    typical, rough, smooth, perfect = vae.clip_weights(errors, 1.0).tolist()
    assert typical == pytest.approx(1)
    assert rough < 1 < smooth < perfect < 6


def test_the_scale_follows_the_latents(fitted, clips):
    model = copy.deepcopy(fitted)
    measure_scaling_factor(model, clips)
    before = model.config.scaling_factor
    with torch.no_grad():
        model.quant_conv.weight *= 2
    measure_scaling_factor(model, clips)
    assert model.config.scaling_factor == pytest.approx(before / 2, rel=0.01)


def test_latents_that_were_mixed_are_turned_back_and_no_picture_changes(trained, clips):
    model, before = copy.deepcopy(trained), BlockEncoder(trained)
    mix = torch.eye(16) + 0.2 * torch.randn(16, 16, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        for part in (model.quant_conv.weight, model.quant_conv.bias):
            part[:16] = torch.einsum("ij,j...->i...", mix, part[:16])
        model.quant_conv.bias[:16] += 0.3
        moved = model.encode(clips[:2]).latent_dist.mode()
        made = model.decode(moved).sample
        assert align_latents(model, before, clips) > 0.99
        back = model.encode(clips[:2]).latent_dist.mode()
        torch.testing.assert_close(model.decode(back).sample, made, atol=0.02, rtol=0)
    old = before.clip(clips[:2]) / before.scaling_factor
    assert (back - old).square().mean() < 0.01 * (moved - old).square().mean()


def test_a_training_cut_in_two_is_the_training_in_one_go(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 4)
    recipe = replace(RECIPE, steps=8, fit_clips=2, fit_rows=2000, images=1)
    lines = []
    for name in ("whole", "cut"):
        with ImagePool(PoolRecipe(images=8, size=64), 1, 1) as pool:
            call = (recipe, tmp_path / name / "vae", pool)
            (tmp_path / name).mkdir()
            if name == "cut":
                assert prepare_vae(*call, seconds=0, on_progress=lines.append) is None
            model = prepare_vae(*call, on_progress=lines.append)
            again = prepare_vae(*call)
        for one, other in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.equal(one, other)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["vae", "vae.csv"]
    weights = [tmp_path / name / "vae/diffusion_pytorch_model.safetensors" for name in ("whole", "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert [line.step for line in lines] == [4, 8, 4, 8]
    assert [row["step"] for row in read_log(tmp_path / "cut/vae.csv")] == [4, 8]
