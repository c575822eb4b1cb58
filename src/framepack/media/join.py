"""Segments into one file: compressed packets are copied, nothing is encoded again.

Each segment starts with a key frame and refers to nothing outside itself, so any order of segments plays. Time stamps
are counted anew: frame n of the whole is shown at n / fps, and packet i is decoded at i - d, d being the deepest
reordering of any segment: decoding times rise across the seams though a short segment has a smaller d of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av

from framepack.media.atomic import atomic_write
from framepack.media.errors import MediaError
from framepack.media.metadata import check_metadata
from framepack.media.read import open_container, read_video, reading
from framepack.media.sinks import Codec
from framepack.media.source import open_source
from framepack.media.video import FORMATS, VideoWriter, check_format, check_fps, format_of


@dataclass(frozen=True)
class _Segment:
    """What must agree between segments, and what the copy needs to know of each."""

    path: Path
    frames: int
    reorder: int
    codec: str
    header: bytes
    size: tuple[int, int]
    fps: Fraction


def join_segments(
    segments: Sequence[Path],
    path: Path,
    *,
    metadata: str | None = None,
    fps: Fraction | float | None = None,
    format: str | None = None,  # noqa: A002
    quality: int = 16,
) -> int:
    """Writes the frames of `segments`, in that order, to `path`; returns their number.

    Copies packets when the segments are what the format holds (mp4, mkv and webm made by VideoWriter with equal
    settings). A joined file can be joined again: a growing video costs two files a time, however many its parts were.
    For gif, webp and png, or from lossless segments to another format, it encodes once. `format` is a key of FORMATS,
    by default that of the suffix. The file appears whole or not at all, and may be one of the segments.

    Raises ValueError for no segments, MediaError for one that is damaged or does not match, DiskFullError.
    """
    if not segments:
        raise ValueError(f"nothing to join into '{path}': give at least one segment")
    path, scanned = Path(path), [_scan(Path(segment), fps) for segment in segments]
    row = FORMATS[check_format(format or format_of(path))]
    first = scanned[0]
    if metadata is not None:
        check_metadata(metadata)
    for segment in scanned:
        _check_match(first, segment)
    if isinstance(row.sink, Codec) and first.codec == DECODED_BY.get(row.sink.encoder):
        _copy(scanned, path, row.sink, metadata)
    else:
        with VideoWriter(
            path, size=first.size, fps=first.fps, format=format, quality=quality, metadata=metadata
        ) as writer:
            for frame in chain.from_iterable(read_video(segment.path) for segment in scanned):
                writer.write(frame)
    return sum(segment.frames for segment in scanned)


DECODED_BY = {"libx264": "h264", "ffv1": "ffv1", "libvpx-vp9": "vp9"}
"""The codec that each encoder writes, for those whose packets can be copied from file to file."""


def _scan(path: Path, fps: Fraction | float | None) -> _Segment:
    """Counts the packets of `path` and how far they are reordered: the most places a packet comes before its turn."""
    with reading(path) as (file, _), open_container(file) as (container, stream):
        rate = stream.average_rate if fps is None else check_fps(fps)
        shown = [_frame_number(packet, rate) for packet in container.demux(stream) if packet.size]
        codec, header = stream.codec_context.name, stream.codec_context.extradata or b""
        size = stream.width, stream.height
    if not shown or sorted(shown) != list(range(len(shown))):
        raise MediaError(f"'{path}' has gaps or doubles between its frames: it is not a segment written here")
    reorder = max(index - number for index, number in enumerate(shown))
    return _Segment(path, len(shown), reorder, codec, header, size, rate)


def _check_match(first: _Segment, segment: _Segment) -> None:
    for what in ("codec", "size", "fps", "header"):
        if getattr(first, what) != getattr(segment, what):
            detail = "" if what == "header" else f" ({getattr(segment, what)}, not {getattr(first, what)})"
            raise MediaError(
                f"'{segment.path}' cannot follow '{first.path}': another {what}{detail}; encode both alike"
            )


def _copy(segments: list[_Segment], path: Path, codec: Codec, metadata: str | None) -> None:
    reorder = max(segment.reorder for segment in segments)
    needed = sum(segment.path.stat().st_size for segment in segments)
    with atomic_write(path, needed) as temporary:
        options = dict(codec.container_options)
        with av.open(str(temporary), "w", format=codec.container, options=options) as output:
            if metadata is not None:
                output.metadata["comment"] = metadata
            target: Any = None
            base = 0
            for segment in segments:
                with open_source(segment.path) as file, open_container(file) as (container, stream):
                    if target is None:
                        target = output.add_stream_from_template(stream)
                        target.time_base = 1 / segment.fps
                    packets = (packet for packet in container.demux(stream) if packet.size)
                    for index, packet in enumerate(packets):
                        number = _frame_number(packet, segment.fps)
                        packet.stream = target
                        packet.time_base = 1 / segment.fps
                        packet.pts, packet.dts, packet.duration = base + number, base + index - reorder, 1
                        output.mux(packet)
                base += segment.frames


def _frame_number(packet: av.Packet, fps: Fraction) -> int:
    """Which frame of its file a packet holds; Matroska rounds times to a millisecond, so this rounds back."""
    if packet.pts is None:
        raise MediaError("a packet has no time stamp")
    return round(packet.pts * packet.time_base * fps)
