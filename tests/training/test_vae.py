"""The analytic VAE: its matrix is its encoder, and its decoder is a linear codec before any training."""

import numpy as np
import pytest
import torch

from framepack.training.images import draw_image
from framepack.training.motions import MOTIONS, render, state_at
from framepack.training.vae_decoder import Fit, fit_decoder
from framepack.training.vae_encoder import fit_encoder, new_vae


def psnr(a, b):
    return float(-10 * torch.log10((a - b).square().mean() / 4))


@pytest.fixture(scope="module")
def clips():
    images = np.stack([draw_image(np.random.default_rng((5, i)), 64) for i in range(12)])
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    rates = torch.stack([list(MOTIONS.values())[i].row() for i in range(12)])
    return render(images, state_at(torch.arange(9), rates, rates, torch.zeros(12)))


@pytest.fixture(scope="module")
def fitted(clips):
    torch.manual_seed(0)
    vae = new_vae((16, 32, 64, 64), 16)
    return vae, fit_encoder(vae, clips)


def blocks_of(clips):
    return torch.cat([clips[:, :, :1].expand(-1, -1, 3, -1, -1), clips], dim=2)


def test_the_matrix_is_the_encoder(fitted, clips):
    vae, encoder = fitted
    with torch.no_grad():
        real = vae.encode(clips[:2]).latent_dist.mode() * vae.config.scaling_factor
    torch.testing.assert_close(encoder(blocks_of(clips[:2])), real, atol=0.05, rtol=0)
    torch.testing.assert_close(encoder.image(clips[:2, :, 0]), real[:, :, :1], atol=0.05, rtol=0)


def test_latents_have_unit_size_and_are_half_whitened(fitted, clips):
    latents = fitted[1](blocks_of(clips))
    assert float(latents.square().mean()) == pytest.approx(1, abs=0.02)
    spread = latents.flatten(2).std((0, 2))
    assert spread[0] > 2 * spread[-1]


def test_the_solved_decoder_is_what_its_convolutions_compute(fitted, clips):
    vae, encoder = fitted
    latents = encoder(blocks_of(clips)) / encoder.scaling_factor
    expected, _ = fit_decoder(vae, clips, latents, Fit(rows=4000))
    with torch.no_grad():
        made = vae.decode(latents[:4]).sample
    assert expected > 22
    assert psnr(made, clips[:4]) > expected - 3


def test_too_many_latent_channels_are_refused_with_the_width_they_need():
    with pytest.raises(ValueError, match="need a last block of"):
        fit_encoder(new_vae((16, 32, 64, 64), 48), torch.zeros(1, 3, 5, 16, 16))
