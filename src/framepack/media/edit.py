"""What a request wants done to a picture: turned, cut, its light and colour changed, brought to the video's shape.

Pixels in, pixels out, by Pillow. What is asked for is `spec.picture`; a picture without edits passes untouched.
"""

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from framepack.media.image import ImageRGB, bucket_crop
from framepack.spec.picture import Picture

TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
"""Pillow turns counterclockwise."""
FLIPS = {"horizontal": Image.Transpose.FLIP_LEFT_RIGHT, "vertical": Image.Transpose.FLIP_TOP_BOTTOM}
BLUR = 1 / 16
"""Radius of the blur beside a picture, as a share of the video's shorter side."""


def edited(image: ImageRGB, picture: Picture) -> ImageRGB:
    """`image` (H, W, 3) turned, flipped, cropped and with its light and colour changed: (h, w, 3), in its own size."""
    if not picture.edited:
        return image
    result = Image.fromarray(image)
    if picture.rotate:
        result = result.transpose(TURNS[picture.rotate])
    if picture.flip != "none":
        result = result.transpose(FLIPS[picture.flip])
    if picture.crop is not None:
        result = result.crop(box_of(picture, result.size))
    factors = {
        ImageEnhance.Brightness: 2.0**picture.exposure,
        ImageEnhance.Contrast: picture.contrast,
        ImageEnhance.Color: picture.saturation,
    }
    for change, factor in factors.items():
        if factor != 1:
            result = change(result).enhance(factor)
    return np.asarray(result)


def box_of(picture: Picture, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The crop as whole pixels, at least one each way; ValueError where it keeps less than half a pixel of several."""
    assert picture.crop is not None
    width, height = size
    left, top = (min(round(share * side), side - 1) for share, side in zip(picture.crop[:2], size, strict=True))
    right, bottom = round(picture.crop[2] * width), round(picture.crop[3] * height)
    spans = (picture.crop[2] - picture.crop[0], picture.crop[3] - picture.crop[1])
    if any(side > 1 and span * side < 0.5 for span, side in zip(spans, size, strict=True)):
        shape = f"{width} x {height} pixels"
        raise ValueError(f"the crop keeps nothing of {picture.file.name}, which has {shape}: keep more of it")
    return left, top, max(right, left + 1), max(bottom, top + 1)


def fitted(image: ImageRGB, picture: Picture, width: int, height: int) -> ImageRGB:
    """An edited picture at the video's size, (height, width, 3), as its `fit` and `focus` say."""
    if picture.fit == "crop":
        return bucket_crop(around(image, picture.focus, width / height), width, height)
    if image.shape[:2] == (height, width):
        return image
    beside = Image.new("RGB", (width, height))
    if picture.fit == "blur":
        enlarged = Image.fromarray(bucket_crop(image, width, height))
        beside = enlarged.filter(ImageFilter.GaussianBlur(BLUR * min(width, height)))
    scale = min(width / image.shape[1], height / image.shape[0])
    whole = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    inner = Image.fromarray(image).resize(whole, Image.Resampling.LANCZOS)
    beside.paste(inner, ((width - whole[0]) // 2, (height - whole[1]) // 2))
    return np.asarray(beside)


def around(image: ImageRGB, focus: tuple[float, float], shape: float) -> ImageRGB:
    """The largest part of `image` with that width over height whose middle is as near to `focus` as it can be."""
    if focus == (0.5, 0.5):
        return image
    height, width = image.shape[:2]
    inner = min(width, round(height * shape)), min(height, round(width / shape))
    left, top = (
        min(max(round(point * side - part / 2), 0), side - part)
        for point, side, part in zip(focus, (width, height), inner, strict=True)
    )
    return image[top : top + max(inner[1], 1), left : left + max(inner[0], 1)]
