"""The parts that mp4, png, webp and gif files are made of, walked without reading what is in them.

Knows the containers' grammar and no content; hostile files end a walk early or are caught by whoever asked for it.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

Part = tuple[bytes, int]
"""A part's type and its content's length; the file stands at the content's beginning when it is yielded."""
COMMENT, APPLICATION, IMAGE = b"\xfe", b"\xff", b","
"""Types of a gif's parts: two extensions and a picture."""
PNG_START = 33
"""Bytes of a PNG's signature and header; text may follow."""
FIRST_CHUNKS = 100
"""Chunks of a PNG among which its kind is looked for."""


def boxes(file: BinaryIO) -> Iterator[Part]:
    """The outermost boxes of an mp4 file. Source: ISO/IEC 14496-12, 4.2."""
    place = 0
    while True:
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        size, kind = struct.unpack(">I4s", header)
        begin = 8
        if size == 1:
            size, begin = int.from_bytes(file.read(8)), 16
        if size == 0:  # up to the file's end
            size = file.seek(0, 2) - place
            file.seek(place + begin)
        if size < begin:
            return
        yield kind, size - begin
        place += size


def png_chunks(file: BinaryIO) -> Iterator[Part]:
    """The chunks of a PNG. Source: the PNG specification, section 5."""
    place = 8
    while True:
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header)
        yield kind, length
        place += 12 + length


def is_animated_png(file: BinaryIO) -> bool:
    """Whether a PNG is an animation: it says so before its pixels. Source: the PNG specification, 11.3.6.1."""
    for kind, _ in islice(png_chunks(file), FIRST_CHUNKS):
        if kind in (b"acTL", b"IDAT"):
            return kind == b"acTL"
    return False


def webp_chunks(file: BinaryIO) -> Iterator[Part]:
    """The chunks of a WebP. Source: RFC 9649."""
    place = 12
    while True:
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        kind, length = struct.unpack("<4sI", header)
        yield kind, length
        place += 8 + length + length % 2


def gif_parts(file: BinaryIO) -> Iterator[bytes]:
    """The types of a GIF's parts: an extension's label, or IMAGE. The file stands at the part's first sub-block.

    Source: the GIF89a specification.
    """
    file.seek(10)
    place = 13 + colours(file.read(1)[0])
    while True:
        file.seek(place)
        mark = file.read(1)
        if mark == b"!":
            kind = file.read(1)
        elif mark == b",":
            kind = IMAGE
            file.seek(colours(file.read(9)[8]) + 1, 1)  # a local palette, and LZW's code size
        else:
            return
        place = file.tell()
        yield kind
        file.seek(place)
        for _ in gif_blocks(file, 0):
            pass
        place = file.tell()


def gif_blocks(file: BinaryIO, keep: int) -> Iterator[bytes]:
    """The sub-blocks at the file's position, while fewer than `keep` bytes came; the rest is skipped."""
    kept = 0
    while (size := file.read(1)) not in (b"", b"\0"):
        if kept < keep:
            block = file.read(size[0])
            kept += len(block)
            yield block
        else:
            file.seek(size[0], 1)


def colours(flags: int) -> int:
    """Bytes of the palette that a GIF's flags announce."""
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0
