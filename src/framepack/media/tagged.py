"""TIFF and OpenEXR pictures with tags that FFmpeg's encoders do not write: the mark, rate and primaries.

Takes a file that FFmpeg has written, as bytes. Sources: TIFF 6.0, section 2; OpenEXR's "File Layout".
"""

import struct
from fractions import Fraction

from framepack.media.marks import DESCRIPTION, SOURCE_TYPE, TIFF_XMP, XMP

IMAGE_DESCRIPTION, COMPRESSION = 270, 259
BYTE, ASCII, SHORT = 1, 2, 3
DEFLATE = 8
"""Adobe's code of zlib's format; FFmpeg writes the older 32946 for the same, which fewer programs know."""
REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""Red, green, blue and white in x and y (ITU-R BT.709)."""
LINES = 16
"""Of an EXR's blocks with this compression."""


def tiff_tagged(content: bytes, *, marked: bool) -> bytes:
    """A little-endian TIFF of one picture, its directory written anew at the end."""
    place = struct.unpack("<I", content[4:8])[0]
    count = struct.unpack("<H", content[place : place + 2])[0]
    entries = [content[place + 2 + 12 * index : place + 14 + 12 * index] for index in range(count)]
    compressed = struct.pack("<HHIHH", COMPRESSION, SHORT, 1, DEFLATE, 0)
    entries = [compressed if entry[:2] == compressed[:2] else entry for entry in entries]
    content += b"\0" * (len(content) % 2)
    if marked:
        for tag, kind, data in ((IMAGE_DESCRIPTION, ASCII, DESCRIPTION.encode() + b"\0"), (TIFF_XMP, BYTE, XMP)):
            entries.append(struct.pack("<HHII", tag, kind, len(data), len(content)))
            content += data + b"\0" * (len(data) % 2)
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return content[:4] + struct.pack("<I", len(content)) + content[8:] + directory


def exr_tagged(content: bytes, height: int, fps: Fraction, *, marked: bool) -> bytes:
    """An EXR of scan lines, with more attributes in its header: all that comes behind moves, and its offsets too."""
    added = exr_attribute("chromaticities", "chromaticities", struct.pack("<8f", *REC709))
    added += exr_attribute("framesPerSecond", "rational", struct.pack("<iI", fps.numerator, fps.denominator))
    if marked:
        added += exr_attribute("comments", "string", DESCRIPTION.encode())
        added += exr_attribute("DigitalSourceType", "string", SOURCE_TYPE.encode())
    end = exr_header_end(content)
    blocks = -(-height // LINES)
    table = struct.unpack(f"<{blocks}Q", content[end + 1 : end + 1 + 8 * blocks])
    moved = struct.pack(f"<{blocks}Q", *(offset + len(added) for offset in table))
    return content[:end] + added + b"\0" + moved + content[end + 1 + 8 * blocks :]


def exr_attribute(name: str, kind: str, data: bytes) -> bytes:
    """One attribute of a header."""
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(data)) + data


def exr_header_end(content: bytes) -> int:
    """Where the zero stands that ends a header."""
    place = 8
    while content[place]:
        place = content.index(b"\0", content.index(b"\0", place) + 1) + 1  # behind name and type
        place += 4 + struct.unpack("<i", content[place : place + 4])[0]
    return place
