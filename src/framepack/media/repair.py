"""Pictures that every viewer shows and Pillow refuses, as the same picture without what it stumbles over.

Takes away what says nothing of pixels (comments, times, broken profiles) and puts right what the file's end leaves
open. What is missing of the pixels themselves stays missing: a cut-off picture is never made to look whole.
"""

import struct
import zlib
from collections.abc import Iterator

Versions = tuple[bytes, ...]
"""One file, or several that must show the same picture; if they do not, it depends on what is missing."""
PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
COLOURS = {b"iCCP", b"eXIf"}
TRANSPARENCY = {0: (2,), 2: (6,), 3: range(1, 257)}
"""Bytes of a PNG's tRNS chunk by colour type (the PNG specification, 11.3.2)."""
JPEG_END = b"\xff\xd9"
TAILS = (b"", b"\x55" * 64, b"\xaa" * 64)
"""Put where a JPEG may go on: they change its last pixels if those are yet to come, and nothing if they are there."""


def repaired(data: bytes, kind: str) -> Iterator[Versions]:
    """What to read in place of a picture that cannot be read: first with its colour profile and orientation."""
    if rewrite := {"png": _png, "apng": _png, "jpeg": _jpeg, "webp": _webp}.get(kind):
        yield rewrite(data, True)
        yield rewrite(data, False)


def _png(data: bytes, full: bool) -> Versions:
    """Chunks that decide pixels. libpng passes over others whose checksum is wrong, and so do browsers."""
    kept, place = [data[:8]], 8
    while len(header := data[place : place + 8]) == 8:
        length, kind = struct.unpack(">I4s", header)
        chunk = data[place : place + 12 + length]
        sound = chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
        transparent = kind == b"tRNS" and length in TRANSPARENCY.get(data[25], ())
        if kind in PIXELS or (sound and (transparent or (full and kind in COLOURS))):
            kept.append(chunk)
        place += 12 + length
    return (b"".join(kept),)


def _jpeg(data: bytes, full: bool) -> Versions:
    """With an end, and without application segments but Adobe's, which says what the numbers mean."""
    kept, place = [data[:2]], 2
    for kind, place, end in _segments(data):
        adobe = kind == 0xEE and end - place >= 16
        if adobe or full or not 0xE0 <= kind <= 0xEF:
            kept.append(data[place:end])
        place = end
    rest = data[place:].removesuffix(b"\xff")
    return tuple(b"".join([*kept, rest, tail, JPEG_END]) for tail in TAILS)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """A JPEG's segments before its first scan: kind, begin and end. Source: ITU-T T.81, B.1.1."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        if data[place + 1] == 0xFF:  # a fill byte
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        yield data[place + 1], place, end
        place = end


def _webp(data: bytes, full: bool) -> Versions:
    """The chunks that are whole, and a header that counts them."""
    kept, place = [], 12
    while len(header := data[place : place + 8]) == 8:
        length = int.from_bytes(header[4:], "little")
        chunk = data[place : place + 8 + length]
        whole = len(chunk) == 8 + length
        if whole and (full or header[:4] not in (b"EXIF", b"XMP ", b"ICCP")):
            kept.append(chunk + b"\0" * (length % 2))
        place += 8 + length + length % 2
    body = b"".join(kept)
    return (b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body,)
