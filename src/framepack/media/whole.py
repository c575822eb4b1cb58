"""Whether a video's file has all the bytes that it says it has. Walks its parts; nothing is decoded.

What does not say, such as a Matroska stream that was written as it was sent, is taken for whole.
"""

import struct
from typing import BinaryIO

from framepack.media.parts import boxes, gif_parts, png_chunks

EBML, SEGMENT, CLUSTER, DOC_TYPE = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x4282
"""Elements of Matroska (RFC 8794, RFC 9559)."""
BOXES = frozenset(
    b"ftyp styp moov moof mdat mfra free skip wide uuid meta udta pdin sidx ssix prft emsg pnot junk imda".split()
)
"""What an mp4 or mov has side by side (ISO 14496-12, QuickTime)."""
FRAGMENT = b"moof"
"""What each part of an mp4 that is written as it is filmed begins with."""
BLOCK = 1 << 20
STREAMED = (0, 0xFFFFFFFF)
"""Sizes of a RIFF list that was written as it was sent."""
HEADER_MOST = 4096
"""Bytes of a Matroska header that are looked at; real ones have some 40."""


def is_cut_off(file: BinaryIO, kind: str) -> bool:
    """Whether the end of a file of this kind is missing."""
    size = file.seek(0, 2)
    looks = {"mp4": _mp4_ends, "mkv": _mkv_ends, "avi": _avi_ends, "gif": _gif_ends, "apng": _png_ends}
    end = looks[kind](file) if kind in looks else None
    return end is not None and end > size


def has_a_hole(file: BinaryIO, kind: str) -> bool:
    """Whether the parts of a file of this kind do not follow each other without a gap, as far as that can be seen."""
    looks = {"mkv": _mkv_has_a_hole, "mp4": _mp4_has_a_hole}
    return kind in looks and looks[kind](file)


def _mkv_has_a_hole(file: BinaryIO) -> bool:
    """Whether an element is missing, down to blocks."""
    end = _mkv_ends(file) or file.seek(0, 2)
    file.seek(0)
    while file.tell() < end:
        kind, length = _element(file)
        if kind in (SEGMENT, CLUSTER):
            continue
        if not kind or length is None:
            return True
        file.seek(length, 1)
    return file.tell() > end


def _mp4_has_a_hole(file: BinaryIO) -> bool:
    """Whether the boxes end before the file does, and another fragment lies behind, or in the last one's bytes."""
    begin, end = _mp4_last(file)
    if end == file.seek(0, 2):
        return False
    file.seek(begin)
    before = b""
    while block := file.read(BLOCK):
        if FRAGMENT in before + block:
            return True
        before = block[1 - len(FRAGMENT) :]
    return False


def is_quicktime(file: BinaryIO) -> bool:
    """Whether an mp4-like file calls itself QuickTime's."""
    file.seek(0)
    return file.read(12)[4:] == b"ftypqt  "


def is_webm(file: BinaryIO) -> bool:
    """Whether a Matroska file calls itself WebM."""
    file.seek(0)
    _, size = _element(file)
    end = file.tell() + min(size or 0, HEADER_MOST)
    while file.tell() < end:
        kind, length = _element(file)
        if not kind or length is None:
            break
        if kind == DOC_TYPE:
            return file.read(min(length, 16)).rstrip(b"\0") == b"webm"
        file.seek(length, 1)
    return False


def _mp4_last(file: BinaryIO) -> tuple[int, int]:
    """Where the content of the last box begins and ends; of one whose size is that of the rest, at the file's end.

    What follows and is none, as some programs leave it, has no size.
    """
    begin = end = 0
    for kind, length in boxes(file):
        if kind not in BOXES:
            break
        begin, end = file.tell(), file.tell() + length
    return begin, end


def _mp4_ends(file: BinaryIO) -> int:
    """Where the last box ends."""
    return _mp4_last(file)[1]


def _mkv_ends(file: BinaryIO) -> int | None:
    """Where the segment ends, where its size is known."""
    file.seek(0)
    _, header = _element(file)
    file.seek(header or 0, 1)
    kind, length = _element(file)
    return None if kind != SEGMENT or length is None else file.tell() + length


def _element(file: BinaryIO) -> tuple[int, int | None]:
    """Kind and length of the EBML element that begins here; 0 at the end, None for a length nobody knew."""
    kind, _ = _number(file, marked=True)
    length, unknown = _number(file, marked=False)
    return kind, None if unknown else length


def _number(file: BinaryIO, *, marked: bool) -> tuple[int, bool]:
    """A number of 1 to 8 bytes, the first of which has their number; and whether all its bits are set."""
    first = file.read(1)
    if not first or not first[0]:
        return 0, True
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more))
    whole = (1 << 7 * (more + 1)) - 1
    return (value if marked else value & whole), value & whole == whole


def _avi_ends(file: BinaryIO) -> int | None:
    """Where the first RIFF list ends, where its size is known."""
    file.seek(4)
    head = file.read(4)
    size = struct.unpack("<I", head)[0] if len(head) == 4 else 4
    return None if size in STREAMED else 8 + size


def _gif_ends(file: BinaryIO) -> int | None:
    """Beyond the file where it ends without a trailer."""
    size = file.seek(0, 2)
    for _ in gif_parts(file):
        pass
    place = file.tell()
    file.seek(place - 1)
    return None if place <= size and file.read(1) == b";" else size + 1


def _png_ends(file: BinaryIO) -> int:
    """Behind the last chunk, or beyond the file where that is not the end's."""
    last, end = b"", 0
    for kind, length in png_chunks(file):
        last, end = kind, file.tell() + length + 4
    return end if last == b"IEND" else file.seek(0, 2) + 1
