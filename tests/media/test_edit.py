"""Edits equal Pillow's own, made by hand in the order that is documented; a picture without edits is untouched."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from framepack.media.edit import edited, fitted
from framepack.media.image import bucket_crop
from framepack.spec.picture import Picture

PHOTO = np.random.default_rng(3).integers(0, 256, (40, 62, 3), dtype=np.uint8)


def by_hand(picture: Picture) -> Image.Image:
    image = Image.fromarray(PHOTO)
    if picture.rotate:
        image = image.rotate(-picture.rotate, expand=True)
    if picture.flip == "horizontal":
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if picture.flip == "vertical":
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if picture.crop:
        width, height = image.size
        left, top, right, bottom = picture.crop
        image = image.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
    image = ImageEnhance.Brightness(image).enhance(2**picture.exposure)
    image = ImageEnhance.Contrast(image).enhance(picture.contrast)
    return ImageEnhance.Color(image).enhance(picture.saturation)


TURNS = [(0, "none"), (90, "none"), (180, "horizontal"), (270, "vertical"), (90, "horizontal")]
CUTS = [None, (0.1, 0.2, 0.9, 0.75), (0.5, 0.0, 1.0, 1.0)]
COLOURS = [(0.0, 1.0, 1.0), (0.5, 1.3, 0.4), (-1.0, 0.6, 2.0)]


@pytest.mark.parametrize(("turn", "crop", "colours"), list(itertools.product(TURNS, CUTS, COLOURS)))
def test_a_composition_of_edits_equals_pillows_by_hand(turn, crop, colours):
    exposure, contrast, saturation = colours
    picture = Picture(
        file="a.png",
        rotate=turn[0],
        flip=turn[1],
        crop=crop,
        exposure=exposure,
        contrast=contrast,
        saturation=saturation,
    )
    assert np.array_equal(edited(PHOTO, picture), np.asarray(by_hand(picture)))


def test_a_picture_without_edits_is_used_as_it_always_was():
    plain = Picture(file="a.png")
    assert edited(PHOTO, plain) is PHOTO
    assert np.array_equal(fitted(PHOTO, plain, 32, 32), bucket_crop(PHOTO, 32, 32))


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (32, 64)])
def test_pad_shows_the_whole_picture_between_black_bars(size):
    width, height = size
    frame = fitted(PHOTO, Picture(file="a.png", fit="pad"), width, height)
    scale = min(width / 62, height / 40)
    inner = (round(62 * scale), round(40 * scale))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    expected = np.asarray(Image.fromarray(PHOTO).resize(inner, Image.Resampling.LANCZOS))
    assert np.array_equal(frame[top : top + inner[1], left : left + inner[0]], expected)
    frame = frame.copy()
    frame[top : top + inner[1], left : left + inner[0]] = 0
    assert frame.shape == (height, width, 3)
    assert not frame.any()


def test_blur_has_the_pictures_own_blurred_enlargement_beside_it():
    frame = fitted(PHOTO, Picture(file="a.png", fit="blur"), 32, 64)
    blurred = Image.fromarray(bucket_crop(PHOTO, 32, 64)).filter(ImageFilter.GaussianBlur(2))
    assert np.array_equal(frame[:20], np.asarray(blurred)[:20])


@pytest.mark.parametrize(("focus", "left"), [((0.0, 0.5), 0), ((0.5, 0.5), 11), ((0.75, 0.2), 22), ((1.0, 1.0), 22)])
def test_the_focus_lies_as_near_the_middle_as_it_can(focus, left):
    picture = Picture(file="a.png", focus=focus)
    assert np.array_equal(fitted(PHOTO, picture, 40, 40), PHOTO[:, left : left + 40])


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_no_picture_is_too_thin_for_any_edit(size):
    thin = np.zeros((*size, 3), np.uint8)
    picture = Picture(file="a.png", crop=(0.4, 0.4, 0.41, 0.41), rotate=90)
    for fit in ("crop", "pad", "blur"):
        assert fitted(edited(thin, picture), picture.model_copy(update={"fit": fit}), 64, 32).shape == (32, 64, 3)


def test_a_crop_that_keeps_nothing_is_refused() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    with pytest.raises(ValueError, match=r"keeps nothing of a.png, which has 200 x 100 pixels"):
        edited(image, Picture(file="a.png", crop=(0.5, 0, 0.5001, 1)))
