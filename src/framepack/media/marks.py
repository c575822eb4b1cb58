"""Marked as made by AI: for programs as IPTC's DigitalSourceType, for people in words, in every format we write.

Where it is: mp4 and mov a uuid box with XMP, png and apng an iTXt chunk, webp and gif their places for XMP, mkv, webm
and mov a tag, a zip or folder a file beside its marked pictures and its comment; TIFF the tag for XMP, EXR an
attribute. The words stand in the XMP and, where there are tags, in DESCRIPTION.
What a file's metadata says decides: it goes with a video through every copy of it, so the mark does too.
Nothing in it is dated or drawn, so equal videos stay equal files. Source: IPTC's guide for generative AI; XMP part 3.
"""

import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import av

from framepack.files.errors import MediaError, reason
from framepack.media.archive import open_archive
from framepack.media.metadata import AV_FORMATS, read_metadata
from framepack.media.parts import APPLICATION, PNG_START, boxes, colours, gif_parts, png_chunks, webp_chunks
from framepack.media.source import Source, kind_of, name_of, open_source

WORDS = "Made by AI with FramePack"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
DESCRIPTION = f"{WORDS} ({SOURCE_TYPE})"
"""Both in one line: what is left of the mark where a program copies a video's tags and nothing else."""
TAG = "DIGITALSOURCETYPE"
"""The name of the tag in mkv and webm, which have no place for XMP."""
ZIP_NAME = "made-by-ai.xmp"
MARKED = json.dumps({"mark": True})
"""Metadata of what has no request, such as a contact sheet, and is to be marked."""
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}" xmp:CreatorTool="FramePack">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{WORDS}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>""".encode()
BOX_ID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
PNG_KEYWORD = b"XML:com.adobe.xmp"
GIF_ID = b"\x0bXMP DataXMP"
GIF_END = bytes([1, *range(255, -1, -1), 0])
"""Wherever in the XMP a reader that knows only sub-blocks lands, this leads it out."""
WEBP_KIND, WEBP_FLAGS, WEBP_HAS_XMP = b"XMP ", 20, 0x04
TIFF_XMP = 700
EXR_HEAD = 4096
"""Bytes of an EXR in which attributes are looked for; ours end before 600."""
MAX_BYTES = 1_000_000
BY_AI = re.compile(rb"digitalsourcetype/\w*trainedAlgorithmicMedia", re.IGNORECASE)
"""Wholly or in part."""


def wanted(metadata: str | None) -> bool:
    """Whether a file with this metadata (a JSON object as text) is to be marked."""
    return metadata is not None and wanted_by(json.loads(metadata))


def wanted_by(settings: Mapping[str, Any]) -> bool:
    """`mark` decides where it is there, else the request, also one from before there was a choice.

    Without either nothing is known of where the pictures came from.
    """
    if isinstance(settings.get("mark"), bool):
        return settings["mark"]
    request = request_in(settings)
    output = request.get("output") if request else None
    return request is not None and (not isinstance(output, dict) or output.get("mark") is not False)


def request_in(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The request inside a video's metadata, or a still's, which names the frame it is."""
    frame = settings.get("frame")
    holder = frame if isinstance(frame, dict) else settings
    request = holder.get("request")
    return request if isinstance(request, dict) else None


def tags(metadata: str | None, container: str) -> dict[str, str]:
    """The tags of a file of this container: its metadata, and the mark where that is wanted."""
    if metadata is None:
        return {}
    if not wanted(metadata):
        return {"comment": metadata}
    return {"comment": metadata, "description": DESCRIPTION} | ({} if container == "mp4" else {TAG: SOURCE_TYPE})


def embed_mark(path: Path, metadata: str | None) -> None:
    """Marks a finished mp4, mov, gif, webp or apng where that is wanted, in place; the caller publishes it."""
    if not wanted(metadata):
        return
    with path.open("rb+") as file:
        EMBEDDERS.get(kind_of(file), lambda file: None)(file)


def png_marked(png: bytes) -> bytes:
    """A PNG, animated or not, with the mark in it."""
    body = b"iTXt" + PNG_KEYWORD + b"\0\0\0\0\0" + XMP
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:PNG_START] + chunk + png[PNG_START:]


def is_made_by_ai(source: Source) -> bool:
    """Whether a picture or video is marked, or its metadata wants it to be, as in files from before there was a mark.

    Raises MediaError as `read_metadata` does.
    """
    return wanted_by(read_metadata(source) or {}) or is_marked(source)


def carried(source: Source) -> str | None:
    """What a copy of a video has to say: its settings, or at least that AI made it."""
    settings = read_metadata(source)
    return json.dumps(settings) if settings else MARKED if is_made_by_ai(source) else None


def is_marked(source: Source) -> bool:
    """Whether a picture or video says for programs that AI made it or a part of it. Raises MediaError for damage."""
    with open_source(source) as file:
        find = FINDERS.get(kind_of(file), lambda file: b"")
        try:
            return BY_AI.search(find(file)) is not None
        except Exception as error:  # a damaged file may raise anything
            name = name_of(source)
            raise MediaError(f"{name} is damaged or cut off ({reason(error)}): copy or download it again") from error


def _mark_mp4(file: BinaryIO) -> None:
    file.seek(0, 2)
    file.write(struct.pack(">I4s", 24 + len(XMP), b"uuid") + BOX_ID + XMP)


def _mark_gif(file: BinaryIO) -> None:
    file.seek(0)
    content = file.read()
    start = 13 + colours(content[10])  # behind the last picture FFmpeg would take it for one more
    file.seek(start)
    file.write(b"!" + APPLICATION + GIF_ID + XMP + GIF_END + content[start:])


def _mark_webp(file: BinaryIO) -> None:
    file.seek(12)
    assert file.read(4) == b"VP8X", "a webp that has metadata has the extended header"
    file.seek(WEBP_FLAGS)
    flags = file.read(1)[0]
    file.seek(WEBP_FLAGS)
    file.write(bytes([flags | WEBP_HAS_XMP]))
    size = file.seek(0, 2)
    chunk = WEBP_KIND + struct.pack("<I", len(XMP)) + XMP + b"\0" * (len(XMP) % 2)
    file.write(chunk)
    file.seek(4)
    file.write(struct.pack("<I", size + len(chunk) - 8))


def _mark_png(file: BinaryIO) -> None:
    file.seek(0)
    marked = png_marked(file.read())
    file.seek(0)
    file.write(marked)


def _xmp_of_mp4(file: BinaryIO) -> bytes:
    for kind, length in boxes(file):
        if kind == b"uuid" and file.read(16) == BOX_ID:
            return file.read(min(length - 16, MAX_BYTES)) + _tags_of(file)
    return _tags_of(file)


def _tags_of(file: BinaryIO) -> bytes:
    with av.open(file, format=AV_FORMATS[kind_of(file)]) as container:
        found = [text for key, text in container.metadata.items() if key.upper() in (TAG, "DESCRIPTION")]
    return " ".join(found).encode()


def _xmp_of_png(file: BinaryIO) -> bytes:
    for kind, length in png_chunks(file):
        if kind == b"iTXt" and length <= MAX_BYTES and file.read(len(PNG_KEYWORD) + 1) == PNG_KEYWORD + b"\0":
            return file.read(length - len(PNG_KEYWORD) - 1)
    return b""


def _xmp_of_webp(file: BinaryIO) -> bytes:
    return next((file.read(min(length, MAX_BYTES)) for kind, length in webp_chunks(file) if kind == WEBP_KIND), b"")


def _xmp_of_gif(file: BinaryIO) -> bytes:
    for kind in gif_parts(file):
        if kind == APPLICATION and file.read(len(GIF_ID)) == GIF_ID:
            return file.read(MAX_BYTES).partition(GIF_END[:8])[0]
    return b""


def _xmp_of_zip(file: BinaryIO) -> bytes:
    with open_archive(file) as archive:
        return archive.read(ZIP_NAME, MAX_BYTES) if ZIP_NAME in archive.names() else b""


def _xmp_of_tiff(file: BinaryIO) -> bytes:
    """The XMP tag of the first picture (TIFF 6.0, section 2)."""
    order = "<" if file.read(2) == b"II" else ">"
    file.seek(struct.unpack(f"{order}2xI", file.read(6))[0])
    count = struct.unpack(f"{order}H", file.read(2))[0]
    entries = struct.iter_unpack(f"{order}HHII", file.read(12 * count))
    place, size = next(((place, size) for tag, _, size, place in entries if tag == TIFF_XMP), (0, 0))
    file.seek(place)
    return file.read(min(size, MAX_BYTES))


def _head_of_exr(file: BinaryIO) -> bytes:
    """The attributes of an EXR, which stand at its beginning."""
    return file.read(EXR_HEAD)


EMBEDDERS: dict[str, Callable[[BinaryIO], None]] = {
    "mp4": _mark_mp4,
    "gif": _mark_gif,
    "webp": _mark_webp,
    "apng": _mark_png,
}
FINDERS: dict[str, Callable[[BinaryIO], bytes]] = {
    "mp4": _xmp_of_mp4,
    "mkv": _tags_of,
    "png": _xmp_of_png,
    "apng": _xmp_of_png,
    "webp": _xmp_of_webp,
    "gif": _xmp_of_gif,
    "tiff": _xmp_of_tiff,
    "exr": _head_of_exr,
    "zip": _xmp_of_zip,
    "folder": _xmp_of_zip,
}
