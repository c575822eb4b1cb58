"""Measures respond to what they are named after, and to little else."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from framepack.training.evaluate.metrics import MEASURES, drift, psnr, ssim


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (9, 9, 3), np.uint8))
    return np.asarray(coarse.resize((64, 48), Image.Resampling.BICUBIC))


def clip(picture: np.ndarray, frames: int = 24) -> np.ndarray:
    return np.repeat(picture[None], frames, axis=0)


def pan(picture: np.ndarray, frames: int = 24) -> np.ndarray:
    return np.stack([np.roll(picture, t, axis=1) for t in range(frames)])


def test_psnr_is_the_definition_and_has_a_ceiling(picture):
    video = clip(picture)
    moved = video.astype(int) + 5
    assert psnr(moved.clip(0, 255).astype(np.uint8), video) == pytest.approx(20 * np.log10(255 / 5), abs=0.3)
    assert psnr(video, video) == 100


def test_ssim_agrees_with_scikit_image(picture):
    noisy = (picture + np.random.default_rng(1).normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)
    metrics = pytest.importorskip("skimage.metrics")
    grey = [image @ np.array([0.299, 0.587, 0.114]) for image in (noisy, picture)]
    _, theirs = metrics.structural_similarity(
        *grey, data_range=255, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    assert ssim(noisy[None], picture[None]) == pytest.approx(theirs[5:-5, 5:-5].mean(), abs=1e-3)


def test_videos_of_other_shapes_are_refused(picture):
    with pytest.raises(ValueError, match="one shape"):
        psnr(clip(picture, 3), clip(picture, 4))


def blurred(video: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(f).filter(ImageFilter.GaussianBlur(3))) for f in video])


def noisy(video: np.ndarray) -> np.ndarray:
    return (video + np.random.default_rng(1).normal(0, 6, video.shape)).clip(0, 255).astype(np.uint8)


def darker(video: np.ndarray) -> np.ndarray:
    return (video * 0.6).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "change", "least"), [("sharpness", blurred, 0.3), ("noise", noisy, 2), ("colour mean", darker, 0.3)]
)
def test_a_change_half_way_is_drift_of_its_measure(picture, name, change, least):
    video = clip(picture)
    changed = np.concatenate([video[:12], change(video[12:])])
    measured = drift(changed, 4)[name]
    assert measured.difference > least * measured.first
    assert abs(measured.slope) > 0
    assert drift(video, 4)[name].difference == 0


def test_noise_is_its_standard_deviation():
    flat = np.full((2, 96, 96, 3), 128.0) + np.random.default_rng(0).normal(0, 5, (2, 96, 96, 1))
    assert MEASURES["noise"](flat.round().astype(np.uint8))[0] == pytest.approx(5, rel=0.1)


def test_a_smooth_pan_is_smoother_than_a_shaken_one_of_equal_size(picture):
    smooth = pan(picture)
    shaken = smooth[[0, 1] * 12]
    size, rough = MEASURES["motion size"], MEASURES["motion roughness"]
    assert size(shaken) == pytest.approx(size(smooth), rel=0.1)
    assert rough(shaken) > 2 * rough(smooth)


def test_the_course_follows_the_sections(picture):
    video = np.concatenate([clip(picture, 8), blurred(clip(picture, 8))])
    first, last = drift(video, 2)["sharpness"].course
    assert first > last
