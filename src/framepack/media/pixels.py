"""A frame that a decoder holds, as upright RGB."""

from collections.abc import Callable
from functools import partial
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from framepack.files.errors import MediaError
from framepack.media.sinks import EXACT, Frame

MAX_FRAME_PIXELS = 40_000_000
"""8K is 33 megapixels."""
Pending = Callable[[], Frame]
"""A frame that is decoded, or can be, and becomes RGB when it is called for: most of a long video's never are."""
UNTAGGED = (0, 2, 3)
"""Matrix codes that say nothing: RGB (impossible here), unspecified, reserved (ITU-T H.273)."""


def check_size(width: int, height: int) -> None:
    """Raises MediaError where a frame is too large."""
    if width * height > MAX_FRAME_PIXELS:
        raise MediaError(f"frames of {width}x{height} are beyond {MAX_FRAME_PIXELS // 1_000_000} megapixels")


def pending(picture: av.VideoFrame) -> Pending:
    """The decoded frame as (H, W, 3), upright. Raises MediaError where it is too large."""
    check_size(picture.width, picture.height)
    return partial(_rgb, picture)


def _rgb(picture: av.VideoFrame) -> Frame:
    """(H, W, 3), upright. An untagged file is BT.601 when small and BT.709 else, as players assume."""
    untagged = Colorspace.ITU709 if picture.height >= 720 else Colorspace.ITU601
    turns = turns_of(picture)
    is_yuv = not picture.format.is_rgb and picture.format.name != "pal8"
    if is_yuv:
        space = untagged if picture.colorspace in UNTAGGED else picture.colorspace
        full = picture.color_range == ColorRange.JPEG or picture.format.name.startswith("yuvj")
        picture = picture.reformat(
            format="rgb24",
            src_colorspace=space,
            dst_colorspace=space,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=EXACT,
            threads=1,
        )
    array: Any = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(array, turns)) if turns else array


def turns_of(picture: av.VideoFrame) -> int:
    """Quarter turns to the left that put a frame upright, as phones store them: 0..3."""
    return round(picture.rotation / 90) % 4
