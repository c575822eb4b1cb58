"""A frame that a decoder holds, as upright RGB: 8 bits a colour, or floats where more are wanted."""

from functools import partial
from typing import Any, Protocol

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from framepack.files.errors import MediaError
from framepack.media.sinks import EXACT, MOST_16, Frame, WideFrame

MAX_FRAME_PIXELS = 40_000_000
"""8K is 33 megapixels."""
MOST_STRETCHED = 4
"""Times as wide as high, or the other way round, that pixels are believed to be; beyond, the number is a mistake."""
Size = tuple[int, int]
"""Width and height."""
UNTAGGED = (0, 2, 3)
"""Matrix codes that say nothing: RGB (impossible here), unspecified, reserved (ITU-T H.273)."""
LINEAR = "gbrpf32le"
"""Pixels of EXR pictures, in linear light."""


class Pending(Protocol):
    """A frame that is decoded, or can be, and becomes RGB when it is called for: most of a long video's never are.

    (H, W, 3) uint8, or `wide`: float32, 0..1 but for what an EXR holds beyond.
    """

    def __call__(self, *, wide: bool = False) -> Any: ...


def check_size(width: int, height: int) -> None:
    """Raises MediaError where a frame is too large."""
    if width * height > MAX_FRAME_PIXELS:
        raise MediaError(f"frames of {width}x{height} are beyond {MAX_FRAME_PIXELS // 1_000_000} megapixels")


def pending(picture: av.VideoFrame, square: Size | None = None) -> Pending:
    """The decoded frame as (H, W, 3), upright, in the size of `squared`. Raises MediaError where it is too large."""
    check_size(picture.width, picture.height)
    return partial(_rgb, picture, square=square)


def squared(stream: Any) -> Size | None:
    """(width, height) with square pixels of a stream whose own are not; None where they are, or nobody made them so.

    It grows in one direction, so that nothing of it is lost.
    """
    aspect, (width, height) = stream.sample_aspect_ratio, (stream.width, stream.height)
    if not aspect or not 1 / MOST_STRETCHED <= aspect <= MOST_STRETCHED:
        return None
    step = 1 if width % 2 or height % 2 else 2
    size = round(width * max(aspect, 1) / step) * step, round(height / min(aspect, 1) / step) * step
    return None if size == (width, height) or size[0] * size[1] > MAX_FRAME_PIXELS else size


def either(pixels: Frame, *, wide: bool = False) -> Frame | WideFrame:
    """An 8-bit frame, as floats where they are wanted."""
    return pixels.astype(np.float32) / np.float32(255) if wide else pixels


def _rgb(picture: av.VideoFrame, *, square: Size | None = None, wide: bool = False) -> Frame | WideFrame:
    """(H, W, 3), upright. An untagged file is BT.601 when small and BT.709 else, as players assume."""
    turns, form = turns_of(picture), picture.format
    if square and form.is_rgb:
        picture = picture.reformat(*square, interpolation=EXACT, threads=1)
    if form.name.startswith("gbrpf32"):
        shown = encoded(picture.to_ndarray(format=LINEAR))
        array: Any = shown if wide else to_8_bits(shown)
    elif form.components[0].bits > 8 and (form.is_rgb or wide):
        words = (picture if form.is_rgb else _from_yuv(picture, "rgb48le", square)).to_ndarray(format="rgb48le")
        shown = words.astype(np.float32) / np.float32(MOST_16)
        array = shown if wide else to_8_bits(shown)
    else:
        is_yuv = not form.is_rgb and form.name != "pal8"
        shown = (_from_yuv(picture, "rgb24", square) if is_yuv else picture).to_ndarray(format="rgb24")
        array = either(np.asarray(shown, np.uint8), wide=wide)
    return np.ascontiguousarray(np.rot90(array, turns)) if turns else array


def _from_yuv(picture: av.VideoFrame, form: str, size: Size | None) -> av.VideoFrame:
    """A frame of luma and chroma as RGB, scaled to (width, height) where they are said."""
    width, height = size or (None, None)
    untagged = Colorspace.ITU709 if picture.height >= 720 else Colorspace.ITU601
    space = untagged if picture.colorspace in UNTAGGED else picture.colorspace
    full = picture.color_range == ColorRange.JPEG or picture.format.name.startswith("yuvj")
    return picture.reformat(
        width,
        height,
        format=form,
        src_colorspace=space,
        dst_colorspace=space,
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=EXACT,
        threads=1,
    )


def encoded(light: np.ndarray) -> WideFrame:
    """Linear light as sRGB (IEC 61966-2-1), what is beyond 0..1 along the same curve."""
    exact = light.astype(np.float64)
    curved = 1.055 * np.maximum(exact, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(exact <= 0.0031308, exact * 12.92, curved).astype(np.float32)


def to_8_bits(shown: WideFrame) -> Frame:
    """Floats 0..1, rounded."""
    return np.rint(shown.clip(0, 1) * 255).astype(np.uint8)


def turns_of(picture: av.VideoFrame) -> int:
    """Quarter turns to the left that put a frame upright, as phones store them: 0..3."""
    return round(picture.rotation / 90) % 4
