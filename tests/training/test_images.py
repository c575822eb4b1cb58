"""Procedural images: seeded, and as contrasty and detailed as photographs, which a model trained on them shall move."""

import numpy as np
import pytest

from framepack.training.data.images import draw_image
from framepack.training.evaluate.scenes import photo_scenes, procedural_scenes

SIZE = (128, 128)


def grey(scenes):
    return np.stack([scene.picture for scene in scenes]).mean(3)


@pytest.fixture(scope="module")
def drawn():
    return procedural_scenes(60, SIZE)


@pytest.fixture(scope="module")
def photos():
    return photo_scenes(20, SIZE)


def contrast(scenes):
    return np.median(grey(scenes).std((1, 2)))


def detail(scenes):
    """Median over the pictures of the root mean square step between neighbours, levels."""
    return np.median(np.sqrt(np.square(np.diff(grey(scenes), axis=2)).mean((1, 2))))


def colour(scenes):
    pictures = np.stack([scene.picture for scene in scenes]).astype(float)
    return np.median(np.abs(pictures - pictures.mean(3, keepdims=True)).mean((1, 2, 3)))


@pytest.mark.parametrize("measure", [contrast, detail, colour])
def test_the_typical_image_is_like_the_typical_photo(drawn, photos, measure):
    assert 0.5 < measure(drawn) / measure(photos) < 1.5


def test_images_differ_and_few_are_dull(drawn):
    contrasts = grey(drawn).std((1, 2))
    assert np.mean(contrasts < 12) < 0.05
    assert contrasts.std() > 10


def test_the_same_seed_draws_the_same_image():
    first, again, other = (draw_image(np.random.default_rng(seed), 64) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("size", [16, 33, 96])
def test_any_size_is_drawn(size):
    for seed in range(12):
        image = draw_image(np.random.default_rng(seed), size)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
