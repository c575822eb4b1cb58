"""The request inside the file: one JSON object as text, in every format we write, read back exactly.

Where it is: mp4 the `comment` tag (what ffprobe and players show, and what survives a remux), mov the metadata key of
that name, mkv and webm the tag COMMENT, png and apng an iTXt chunk, gif a comment extension, webp an EXIF UserComment,
a zip or folder of pictures a file `request.json`.
Reading treats every file as hostile: bounded, parsed as JSON and nothing else.
"""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import av

from framepack.files.errors import MediaError, reason
from framepack.media.archive import open_archive
from framepack.media.parts import COMMENT, PNG_START, colours, gif_blocks, gif_parts, png_chunks, webp_chunks
from framepack.media.source import Source, kind_of, name_of, open_source
from framepack.media.webp import EXIF_HEADER, webp_with_exif

MAX_BYTES = 1_000_000
PNG_KEYWORD = b"framepack"
ZIP_NAME = "request.json"
AV_FORMATS = {"mp4": "mov", "mkv": "matroska", "avi": "avi"}
"""Our name of a container and the one FFmpeg demuxer that may read it; none of them opens another file or address."""


def read_metadata(source: Source) -> dict[str, Any] | None:
    """The JSON object inside `source`, or None where there is none (a file from elsewhere may have any comment).

    Raises MediaError: no such file, damaged, of an unknown kind, or metadata beyond 1 MB. It is data from a stranger:
    validate it before use.
    """
    with open_source(source) as file:
        text = _read_text(file, name_of(source))
    if text is None or not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_metadata_text(source: Source) -> str | None:
    """As `read_metadata`, but the text as it was written, whatever it is."""
    with open_source(source) as file:
        return _read_text(file, name_of(source))


def check_metadata(text: str) -> bytes:
    """`text` as UTF-8, fit to be stored. Raises ValueError unless it is a JSON object of at most 1 MB."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "metadata has half a character in it: write it with json.dumps(..., ensure_ascii=True)"
        ) from error
    if len(data) > MAX_BYTES:
        raise ValueError(f"metadata must be at most {MAX_BYTES} bytes, got {len(data)}: shorten the prompts")
    if "\0" in text or not isinstance(json.loads(text), dict):
        raise ValueError(f"metadata must be a JSON object, got {text[:40]!r}")
    return data


def embed_metadata(path: Path, text: str) -> None:
    """Writes `text` into a finished gif, webp or apng file, in place; the caller publishes it (see `atomic`)."""
    data = check_metadata(text)
    content = path.read_bytes()
    insert = {b"GIF8": _gif_with, b"RIFF": webp_with_exif, b"\x89PNG": _png_with}[content[:4]]
    path.write_bytes(insert(content, data))


def png_chunk(text: str) -> bytes:
    """`text` as the iTXt chunk of a PNG, uncompressed."""
    body = b"iTXt" + PNG_KEYWORD + b"\0\0\0\0\0" + check_metadata(text)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _read_text(file: BinaryIO, name: str) -> str | None:
    kind = kind_of(file)
    if kind == "unknown":
        raise MediaError(f"{name} is neither a video nor an image that can be read: give one of FramePack's own")
    reader: Callable[[BinaryIO], bytes | str | None] | None = READERS.get(kind)
    if reader is None:
        return None
    try:
        data = reader(file)
    except Exception as error:  # a damaged file may raise anything
        raise MediaError(f"{name} is damaged or cut off ({reason(error)}): copy or download it again") from error
    if data is None:
        return None
    if len(data) > MAX_BYTES:
        raise MediaError(
            f"{name} has {len(data)} bytes of metadata, the limit is {MAX_BYTES}: it is not one of FramePack's"
        )
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def _read_container(file: BinaryIO) -> str | None:
    with av.open(file, format=AV_FORMATS[kind_of(file)]) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    return tags.get("comment")


def _read_png(file: BinaryIO) -> bytes | None:
    for kind, length in png_chunks(file):
        if kind == b"iTXt" and length <= MAX_BYTES + 100:
            keyword, _, rest = file.read(length).partition(b"\0")
            if keyword == PNG_KEYWORD and rest[:4] == b"\0\0\0\0":
                return rest[4:]
    return None


def _read_webp(file: BinaryIO) -> bytes | None:
    for kind, length in webp_chunks(file):
        if kind == b"EXIF" and length <= MAX_BYTES + 100:
            data = file.read(length)
            start = len(EXIF_HEADER) + 20
            return data[start:] if data.startswith(EXIF_HEADER) else None
    return None


def _read_gif(file: BinaryIO) -> bytes | None:
    comments = (b"".join(gif_blocks(file, MAX_BYTES + 1)) for kind in gif_parts(file) if kind == COMMENT)
    return next(comments, None)


def _read_zip(file: BinaryIO) -> bytes | None:
    with open_archive(file) as archive:
        return archive.read(ZIP_NAME, MAX_BYTES + 1) if ZIP_NAME in archive.names() else None


def _png_with(content: bytes, data: bytes) -> bytes:
    return content[:PNG_START] + png_chunk(data.decode()) + content[PNG_START:]


def _gif_with(content: bytes, data: bytes) -> bytes:
    start = 13 + colours(content[10])
    blocks = b"".join(bytes([len(part)]) + part for part in (data[at : at + 255] for at in range(0, len(data), 255)))
    return b"GIF89a" + content[6:start] + b"!\xfe" + blocks + b"\0" + content[start:]


READERS: dict[str, Callable[[BinaryIO], bytes | str | None]] = {
    "mp4": _read_container,
    "mkv": _read_container,
    "png": _read_png,
    "apng": _read_png,
    "webp": _read_webp,
    "gif": _read_gif,
    "zip": _read_zip,
    "folder": _read_zip,
}
