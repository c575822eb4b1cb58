"""The chunks of an animated PNG of a single frame, which FFmpeg writes as a picture that stands still."""

import io
import struct
import zlib
from fractions import Fraction

from framepack.media.parts import PNG_START, is_animated_png

SIZE = slice(16, 24)
"""Of width and height in a PNG's header."""


def apng_lasting(content: bytes, fps: Fraction) -> bytes:
    """A PNG that stands still as an animation of one frame that lasts `1 / fps`; an animation is left as it is.

    Source: the PNG specification, 11.3.6.
    """
    if is_animated_png(io.BytesIO(content)):
        return content
    delay = Fraction(1, 1) / fps
    frame = content[SIZE] + struct.pack(">IIHHBB", 0, 0, delay.numerator, delay.denominator, 0, 0)
    added = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", struct.pack(">I", 0) + frame)
    return content[:PNG_START] + added + content[PNG_START:]


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
