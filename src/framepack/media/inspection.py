"""What is inside a file: size, frames, rate, codec, the settings it was made with, the mark.

Of videos, and of pictures, which are a video of one frame. Reads, never writes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

from av.error import FFmpegError

from framepack.files.errors import MediaError, reason
from framepack.media.archive import FolderArchive, FolderFile
from framepack.media.image import load_image
from framepack.media.marks import is_marked, request_in
from framepack.media.metadata import read_metadata
from framepack.media.read import decoded_picture, probe
from framepack.media.source import VIDEO_KINDS, Source, kind_of, name_of, open_source
from framepack.media.whole import is_cut_off, is_quicktime, is_webm

EXR_MOST = 1 << 30
"""Bytes of an EXR picture that is looked at."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """`fps` is a fraction as text, such as 30000/1001, `seconds` the duration; both None for a picture.

    `cut_off`: whether the end of a video's file is seen to be missing. `marked`: whether it says that AI made it.
    `framepack`: the version that made it. `request`: its settings as JSON. `frame`: which frame of which video a
    picture is, where it says so.
    """

    format: str
    codec: str
    bytes: int
    width: int
    height: int
    frames: int
    fps: str | None
    seconds: float | None
    cut_off: bool
    marked: bool
    framepack: str | None
    request: dict[str, Any] | None
    frame: dict[str, Any] | None


def inspect_file(source: Source) -> Inspection:
    """Raises MediaError: no such file, neither video nor picture, damaged."""
    with open_source(source) as file:
        kind, size = kind_of(file), size_of(file)
        container, cut_off = container_of(file, kind), kind in VIDEO_KINDS and is_cut_off(file, kind)
    found = probe(source) if kind in VIDEO_KINDS else None
    height, width = (found.height, found.width) if found else size_of_picture(source, kind)
    settings = (read_metadata(source) if kind != "unknown" else None) or {}
    frame, version = settings.get("frame"), settings.get("framepack")
    return Inspection(
        format=container,
        codec=found.codec if found else kind,
        bytes=size,
        width=width,
        height=height,
        frames=found.frames if found else 1,
        fps=str(found.fps) if found else None,
        seconds=found.duration if found else None,
        cut_off=cut_off,
        marked=is_marked(source),
        framepack=version if isinstance(version, str) else None,
        request=request_in(settings),
        frame={key: value for key, value in frame.items() if key != "request"} if isinstance(frame, dict) else None,
    )


def container_of(file: BinaryIO, kind: str) -> str:
    """The kind, where Matroska and QuickTime have two names each."""
    if kind == "mkv" and is_webm(file):
        return "webm"
    return "mov" if kind == "mp4" and is_quicktime(file) else kind


def size_of_picture(source: Source, kind: str) -> tuple[int, int]:
    """(height, width) of a picture that can be read."""
    if kind != "exr":
        return load_image(source).shape[:2]
    with open_source(source) as file:
        if file.seek(0, 2) > EXR_MOST:
            raise MediaError(f"{name_of(source)} has more than {EXR_MOST >> 20} MB: it is too large")
        file.seek(0)
        try:
            return decoded_picture(file.read(), kind).shape[:2]
        except FFmpegError as error:
            raise MediaError(f"{name_of(source)} is damaged or cut off ({reason(error)}): copy it again") from error


def size_of(file: BinaryIO) -> int:
    """Bytes of a file, or of all files of a folder."""
    if isinstance(file, FolderFile):
        archive = FolderArchive(file.folder)
        return sum(map(archive.size, archive.names()))
    return file.seek(0, 2)


def lines_of(inspection: Inspection, name: str) -> Iterator[str]:
    """The same for a person, who may have got the file from anyone: no control character reaches a terminal."""
    found = inspection
    codec = f" ({found.codec})" if found.codec != found.format else ""
    yield f"{printable(name)}: {found.format}{codec}, {found.width}x{found.height}, {sized(found.bytes)}"
    if found.fps is not None and found.seconds is not None:
        frames = f"{found.frames} frame{'s' * (found.frames != 1)}"
        yield f"{frames}, {float(Fraction(found.fps)):.5g} a second, {found.seconds:.2f} s"
    if found.cut_off:
        yield "it is cut off: the end of the file is missing, so copy or download it again"
    yield "it says that AI made it" if found.marked else "nothing in it says that AI made it"
    if found.frame is not None:
        yield f"a single frame: {phrase(found.frame)}"
    if found.request is None:
        yield "no FramePack settings in it"
        return
    yield f"made by FramePack{f' {printable(found.framepack)}' if found.framepack else ''} with these settings:"
    for key, value in found.request.items():
        for entry in value if isinstance(value, list) else [value]:
            if text := phrase(entry):
                yield f"  {printable(key.replace('_', ' '))}: {text}"


def phrase(value: Any) -> str:
    """A setting in words; nothing for one that is not set."""
    if isinstance(value, Mapping):
        parts = ((key, phrase(inner)) for key, inner in value.items())
        return ", ".join(f"{printable(key)} {text}" for key, text in parts if text)
    if isinstance(value, list):
        return "; ".join(filter(None, map(phrase, value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    return "" if value is None else printable(str(value))


def sized(count: int) -> str:
    """Bytes for a person."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def printable(text: str) -> str:
    """On one line, and nothing that a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
