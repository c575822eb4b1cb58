"""Opening what a user names, and telling what it is by its first bytes, never by its suffix.

Every reader of this room goes through here, so a wrong path always gets the same sentence.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from framepack.files.errors import MediaError
from framepack.files.names import located
from framepack.media.archive import FolderFile, is_sequence
from framepack.media.parts import is_animated_png

Source = Path | str | bytes | BinaryIO
"""A path of a file or of a folder of numbered pictures, the file's bytes, or a seekable binary file, left open."""

VIDEO_KINDS = ("mp4", "mkv", "avi", "gif", "webp", "apng", "zip", "folder")
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
HEAD = 512
"""Bytes at a file's beginning that identify its kind."""


def name_of(source: Source) -> str:
    """What to call `source` in a sentence: its path in quotes, or "the file"."""
    return f"'{source}'" if isinstance(source, Path | str) else "the file"


@contextmanager
def open_source(source: Source) -> Iterator[BinaryIO]:
    """A readable, seekable file for `source`, at its beginning. Raises MediaError when there is none or it is empty."""
    name = name_of(source)
    if isinstance(source, Path | str):
        try:
            path = Path(located(str(source)))
        except ValueError as error:
            raise MediaError(str(error)) from None
        with _open_path(path, name) as file:
            yield file
        return
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    file.seek(0)
    if not file.read(1) and not isinstance(file, FolderFile):
        raise MediaError(f"{name} is empty (0 bytes): copy or download it again")
    file.seek(0)
    yield file


@contextmanager
def _open_path(path: Path, name: str) -> Iterator[BinaryIO]:
    if path.is_dir():
        if not is_sequence(path):
            raise MediaError(f"{name} is a folder: name one file in it")
        yield FolderFile(path)
        return
    if not path.exists():
        raise MediaError(f"no such file: {name}: check the path")
    if not path.is_file():
        raise MediaError(f"{name} is not a regular file: copy it to one")
    if path.stat().st_size == 0:
        raise MediaError(f"{name} is empty (0 bytes): copy or download it again")
    try:
        file = path.open("rb")
    except OSError as error:
        raise MediaError(f"{name} cannot be opened ({error.strerror}): check its permissions") from error
    with file:
        yield file


def kind_of(file: BinaryIO) -> str:
    """mp4 | mkv | avi | gif | webp | apng | png | jpeg | heic | avif | tiff | exr | zip | folder |
    unknown.

    `mp4` is any ISO or QuickTime container, `mkv` any Matroska. Other pictures (BMP) are `unknown` here.
    """
    if isinstance(file, FolderFile):
        return "folder"
    head = head_of(file)
    if head[4:8] == b"ftyp":
        return _kind_of_brands(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"AVI ": "avi"}.get(head[8:12], "unknown")
    signatures = {
        b"\x1aE\xdf\xa3": "mkv",
        b"GIF8": "gif",
        b"\x89PNG": "png",
        b"\xff\xd8\xff": "jpeg",
        b"PK\x03\x04": "zip",
        b"II*\0\x10\0\0\0CR": "unknown",  # a raw photo (CR2), which begins as a TIFF does
        b"II*\0": "tiff",
        b"MM\0*": "tiff",
        b"v/1\1": "exr",
    }
    found = next((kind for signature, kind in signatures.items() if head.startswith(signature)), "unknown")
    if found == "png" and is_animated_png(file):
        found = "apng"
    file.seek(0)
    return found


def head_of(file: BinaryIO) -> bytes:
    """The file's first bytes; it stands at its beginning afterwards."""
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    return head


def _kind_of_brands(head: bytes) -> str:
    """mp4 | heic | avif, by the first brand, or by another where that says only that it is a picture (ISO 23008-12)."""
    brands = [head[place : place + 4] for place in range(8, min(int.from_bytes(head[:4]), HEAD), 4)]
    if brands and brands[0] not in AVIF_BRANDS | HEIC_BRANDS:
        return "mp4"
    return "avif" if AVIF_BRANDS.intersection(brands) else "heic"
