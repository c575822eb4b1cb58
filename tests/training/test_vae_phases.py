"""The teacher asks for what repeating hides: which copy of a value a pixel is."""

import math

import numpy as np
import pytest
import torch

from framepack.training.data.images import draw_image
from framepack.training.vae.encoder import new_vae
from framepack.training.vae.phases import TIME, phases
from framepack.training.vae.recipe import VaeRecipe
from framepack.training.vae.train import Pupil, optimizer_of


def repeated(frames: int) -> torch.Tensor:
    """Random values as the decoder's second upsampler enlarges them, before its convolution, (T, H, W)."""
    upsampler = new_vae((16, 32, 64, 64), 16).decoder.up_blocks[1].upsamplers[0]
    upsampler.conv = torch.nn.Identity()
    return upsampler(torch.randn(1, 1, frames, 3, 4, generator=torch.Generator().manual_seed(0)))[0, 0]


def test_a_first_copy_equals_the_one_after_it_and_a_second_one_the_one_before():
    values = repeated(3)
    rows, columns, both, times = phases(*values.shape)
    for axis, signs in ((1, rows), (2, columns), (0, times)):
        same = values.diff(dim=axis) == 0
        length = same.shape[axis]
        assert torch.equal(same, signs.narrow(axis, 0, length) == 1), axis
    assert torch.equal(both, rows * columns)
    assert not times[0].any()


def test_a_picture_has_no_phase_in_time():
    assert phases(1, 4, 6).shape == (4, 1, 4, 6)
    assert not phases(1, 4, 6)[3].any()


@pytest.fixture
def pupil() -> Pupil:
    return Pupil(new_vae((16, 32, 64, 64), 16), 0)


def test_guesses_cost_the_logarithm_of_two_and_half_of_them_are_right(pupil):
    for question in pupil.teacher.questions:
        torch.nn.init.zeros_(question[1].weight)
        torch.nn.init.constant_(question[1].bias, 1e-6)
    with pupil.teacher.listening(pupil.vae) as heard:
        pupil.vae.decoder(torch.randn(1, 16, 2, 2, 2))
    error, right = pupil.teacher(heard)
    assert error.item() == pytest.approx((3 + 2 * TIME) * math.log(2), rel=1e-4)
    assert right == pytest.approx(0.5, abs=0.01)


def test_questions_are_asked_only_within(pupil):
    with pupil.teacher.listening(pupil.vae) as heard:
        pupil.vae.decoder(torch.randn(1, 16, 1, 2, 2))
    assert len(heard) == 3
    pupil.vae.decoder(torch.randn(1, 16, 1, 2, 2))
    assert len(heard) == 3


@pytest.mark.proof
def test_a_decoder_that_is_asked_learns_to_tell_columns_apart(pupil):
    recipe = VaeRecipe(decoder_rate=3e-4, encoder_rate=0)
    optimizer = optimizer_of(pupil, recipe)
    random = torch.Generator().manual_seed(1)
    shares = []
    for _ in range(100):
        with pupil.teacher.listening(pupil.vae) as heard:
            pupil.vae.decoder(torch.randn(4, 16, 1, 4, 4, generator=random))
        error, right = pupil.teacher(heard)
        error.backward()
        optimizer.step(1.0)
        shares.append(right)
    assert np.mean(shares[:5]) < 0.55
    assert np.mean(shares[-5:]) > 0.7


def test_an_encoder_without_a_rate_keeps_every_bit(pupil):
    recipe = VaeRecipe(encoder_rate=0)
    optimizer = optimizer_of(pupil, recipe)
    before = {name: value.clone() for name, value in pupil.vae.state_dict().items()}
    picture = torch.from_numpy(draw_image(np.random.default_rng(0), 32).copy()).permute(2, 0, 1)[None, :, None] / 255
    latents = pupil.vae.encode(picture.float()).latent_dist.mode()
    (pupil.vae.decoder(pupil.vae.post_quant_conv(latents)) - picture).square().mean().backward()
    optimizer.step(1.0)
    moved = {name for name, value in pupil.vae.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)
