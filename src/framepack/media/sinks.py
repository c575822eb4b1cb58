"""What encoded frames go into: the protocol of a sink, what it is told, and frames as FFmpeg takes them.

A sink writes to the path it is given, frame by frame, and keeps none. Colours: RGB becomes BT.709, limited, tagged.
The same frames give the same bytes, whatever the machine: no clock, no random ids, a fixed number of threads.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from framepack.media.sound import Sound
from framepack.spec.formats import Coding

Frame = NDArray[np.uint8]
"""(H, W, 3), sRGB."""
WideFrame = NDArray[np.float32]
"""(H, W, 3), sRGB, 0..1."""

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""FFmpeg's quick conversions lose 10 dB and darken by one level; measured on a gradient: 43.5 against 53.0 dB."""
MOST_16 = 65535


@dataclass(frozen=True, kw_only=True)
class SinkSpec:
    """What a sink needs: the frames' `width` and `height` in pixels, frames a second, the `form` (a key of FORMATS).

    `metadata`: text to embed. `folder`: pictures go into a folder, not a zip. `alone`: this process encodes no other
    video, so that an encoder which would need one of its own has it. `sound`: what the video sounds like.
    """

    width: int
    height: int
    fps: Fraction
    form: str = "mp4"
    coding: Coding = field(default_factory=Coding)
    metadata: str | None = None
    folder: bool = False
    alone: bool = False
    sound: Sound | None = None


class Sink(Protocol):
    """Takes frames in order; `close` finishes the file, `discard` lets go of one that nobody wants."""

    def write(self, frame: Frame | WideFrame) -> None: ...
    def close(self) -> None: ...
    def discard(self) -> None: ...


def words_of(frame: Frame | WideFrame) -> NDArray[np.uint16]:
    """A frame in 16 bits a colour, (H, W, 3): 8 bits exactly, floats rounded and clipped to 0..1."""
    if frame.dtype == np.uint8:
        return frame.astype(np.uint16) * 257
    return np.rint(frame.clip(0, 1) * np.float32(MOST_16)).astype(np.uint16)


def picture_of(frame: Frame | WideFrame, pixels: str) -> av.VideoFrame:
    """A frame (H, W, 3) as FFmpeg's pixels of that name; those of more than 8 bits end in `le`."""
    if pixels in ("gbrp16le", "rgb48le"):
        return av.VideoFrame.from_ndarray(words_of(frame), format=pixels)
    if pixels.endswith("le"):
        picture = av.VideoFrame.from_ndarray(words_of(frame), format="rgb48le")
    else:
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    if not pixels.startswith("yuv"):
        return picture.reformat(format=pixels, interpolation=EXACT, threads=1)
    return picture.reformat(
        format=pixels,
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=EXACT,
        threads=1,
    )
