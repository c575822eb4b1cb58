"""The phase heads predict what upsampling by repetition hides: which copy of a value a pixel is."""

import math

import numpy as np
import pytest
import torch

from framepack.training.data.images import draw_image
from framepack.training.vae.encoder import new_vae
from framepack.training.vae.phases import TIME_WEIGHT, phase_targets
from framepack.training.vae.recipe import VaeRecipe
from framepack.training.vae.train import VaeTrainer


def repeated(frames: int) -> torch.Tensor:
    """Random values as the decoder's second upsampler enlarges them, before its convolution, (T, H, W)."""
    upsampler = new_vae((16, 32, 64, 64), 16).decoder.up_blocks[1].upsamplers[0]
    upsampler.conv = torch.nn.Identity()
    return upsampler(torch.randn(1, 1, frames, 3, 4, generator=torch.Generator().manual_seed(0)))[0, 0]


def test_a_first_copy_equals_the_one_after_it_and_a_second_one_the_one_before():
    values = repeated(3)
    rows, columns, both, times = phase_targets(*values.shape)
    for axis, signs in ((1, rows), (2, columns), (0, times)):
        same = values.diff(dim=axis) == 0
        length = same.shape[axis]
        assert torch.equal(same, signs.narrow(axis, 0, length) == 1), axis
    assert torch.equal(both, rows * columns)
    assert not times[0].any()


def test_a_picture_has_no_phase_in_time():
    assert phase_targets(1, 4, 6).shape == (4, 1, 4, 6)
    assert not phase_targets(1, 4, 6)[3].any()


def trainer_of(recipe: VaeRecipe) -> VaeTrainer:
    return VaeTrainer(new_vae((16, 32, 64, 64), 16), np.empty((0, 32, 32, 3), np.uint8), recipe, 0)


@pytest.fixture
def trainer() -> VaeTrainer:
    return trainer_of(VaeRecipe())


def test_guesses_cost_the_logarithm_of_two_and_half_of_them_are_right(trainer):
    for head in trainer.phase_heads.questions:
        torch.nn.init.zeros_(head[1].weight)
        torch.nn.init.constant_(head[1].bias, 1e-6)
    with trainer.phase_heads.recording(trainer.vae) as states:
        trainer.vae.decoder(torch.randn(1, 16, 2, 2, 2))
    error, right = trainer.phase_heads(states)
    assert error.item() == pytest.approx((3 + 2 * TIME_WEIGHT) * math.log(2), rel=1e-4)
    assert right == pytest.approx(0.5, abs=0.01)


def test_states_are_recorded_only_within_the_context(trainer):
    with trainer.phase_heads.recording(trainer.vae) as states:
        trainer.vae.decoder(torch.randn(1, 16, 1, 2, 2))
    assert len(states) == 3
    trainer.vae.decoder(torch.randn(1, 16, 1, 2, 2))
    assert len(states) == 3


@pytest.mark.proof
def test_a_decoder_with_the_phase_loss_learns_to_tell_columns_apart():
    trainer = trainer_of(VaeRecipe(decoder_rate=3e-4, encoder_rate=0))
    random = torch.Generator().manual_seed(1)
    shares = []
    for _ in range(100):
        with trainer.phase_heads.recording(trainer.vae) as states:
            trainer.vae.decoder(torch.randn(4, 16, 1, 4, 4, generator=random))
        error, right = trainer.phase_heads(states)
        error.backward()
        trainer.optimizer.step(1.0)
        shares.append(right)
    assert np.mean(shares[:5]) < 0.55
    assert np.mean(shares[-5:]) > 0.7


def test_an_encoder_without_a_rate_keeps_every_bit():
    trainer = trainer_of(VaeRecipe(encoder_rate=0))
    before = {name: value.clone() for name, value in trainer.vae.state_dict().items()}
    picture = torch.from_numpy(draw_image(np.random.default_rng(0), 32).copy()).permute(2, 0, 1)[None, :, None] / 255
    latents = trainer.vae.encode(picture.float()).latent_dist.mode()
    (trainer.vae.decoder(trainer.vae.post_quant_conv(latents)) - picture).square().mean().backward()
    trainer.optimizer.step(1.0)
    moved = {name for name, value in trainer.vae.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)
