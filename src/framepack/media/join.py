"""Segments into one file: compressed packets are copied, nothing is encoded again.

Each segment starts with a key frame and refers to nothing outside itself, so any order of segments plays. Time stamps
are counted anew: frame n of the whole is shown at n / fps, and packet i is decoded at i - d, d being the deepest
reordering of any segment: decoding times rise across the seams though a short segment has a smaller d of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from framepack.files.atomic import atomic_write
from framepack.files.errors import MediaError
from framepack.media.av_sink import AvCodec
from framepack.media.codecs import WRITERS
from framepack.media.marks import embed_mark, tags
from framepack.media.metadata import check_metadata
from framepack.media.read import open_container, read_video, reading, require_frames
from framepack.media.source import open_source
from framepack.media.source_sound import SourceSound, beside, holds
from framepack.media.video import VideoWriter, format_of
from framepack.spec.formats import CODECS, Coding, check_coding, check_format, check_fps, codec_of


@dataclass(frozen=True)
class Segment:
    """A file that can be joined: what must agree with the others, and what the copy needs to know of it."""

    path: Path
    frames: int
    reorder: int
    """the most places a packet comes before its turn"""
    codec: str
    header: bytes
    size: tuple[int, int]
    fps: Fraction
    pixels: str = ""
    """FFmpeg's name of the pixels that the packets hold"""

    def holds(self, sink: AvCodec) -> bool:
        """Whether its packets are what `sink` writes."""
        return self.codec == DECODED_BY.get(sink.encoder) and self.pixels == sink.pixels


def join_segments(
    segments: Sequence[Path | Segment],
    path: Path,
    *,
    metadata: str | None = None,
    fps: Fraction | float | None = None,
    format: str | None = None,  # noqa: A002
    quality: int | Coding = 16,
    draft: bool = False,
) -> Segment:
    """Writes the frames of `segments`, in that order, to `path`; returns what is there now.

    Copies packets when the segments are what the format holds (mp4, mkv and webm made by VideoWriter with equal
    settings). A joined file can be joined again: a growing video costs two files a time, however many its parts were;
    given as the `Segment` that an earlier call returned, a file is not looked through again. For gif, webp and png, or
    from lossless segments to another format, it encodes once. `format` is a key of FORMATS, by default that of the
    suffix. The file appears whole or not at all, and may be one of the segments. `draft`: a file that will soon be
    replaced; it is not forced to the disk, and its table of contents stays at its end.

    Raises ValueError for no segments, MediaError for one that is damaged or does not match, DiskFullError.
    """
    if not segments:
        raise ValueError(f"nothing to join into '{path}': give at least one segment")
    path = Path(path)
    scanned = [segment if isinstance(segment, Segment) else scan_segment(segment, fps) for segment in segments]
    form = check_format(format or format_of(path))
    coding = Coding(crf=quality) if isinstance(quality, int) else quality
    sink = WRITERS[form, codec_of(form, coding.codec)]
    first = scanned[0]
    if metadata is not None:
        check_metadata(metadata)
    for segment in scanned:
        _check_match(first, segment)
    if isinstance(sink, AvCodec) and can_copy(form, coding) and first.holds(sink):
        _copy(scanned, path, sink, metadata, draft=draft)
    else:
        wide = check_coding(form, coding).wide
        with VideoWriter(
            path, size=first.size, fps=first.fps, format=form, quality=coding, metadata=metadata
        ) as writer:
            for frame in joined_frames(scanned, wide=wide):
                writer.write(frame)
    frames, reorder = sum(segment.frames for segment in scanned), max(segment.reorder for segment in scanned)
    return replace(first, path=path, frames=frames, reorder=reorder)


DECODED_BY = {"libx264": "h264", "ffv1": "ffv1", "libvpx-vp9": "vp9"}
"""The codec that each encoder writes, for those whose packets can be copied from file to file."""


def can_copy(form: str, coding: Coding) -> bool:
    """Whether segments of such files are joined without encoding again."""
    row = CODECS[codec_of(form, coding.codec)]
    return row.joins and not (coding.lossless and row.lossless == "asked")


def joined_frames(segments: Sequence[Segment], *, wide: bool = False) -> Iterator[Any]:
    """The frames of segments one after another, as `read_video` has them. Raises MediaError where some are missing."""
    for segment in segments:
        count = 0
        for frame in read_video(segment.path, wide=wide):
            count += 1
            yield frame
        _require_all(segment, count)


def scan_segment(path: Path, fps: Fraction | float | None = None) -> Segment:
    """What is in the file at `path`. Raises MediaError where it is no segment that `VideoWriter` has written."""
    path = Path(path)
    with reading(path) as (file, _), open_container(file) as (container, stream):
        rate = stream.average_rate if fps is None else check_fps(fps)
        shown = [number for _, number in _numbered(container, stream, rate)]
        codec, header = stream.codec_context.name, stream.codec_context.extradata or b""
        size, pixels = (stream.width, stream.height), stream.codec_context.pix_fmt or ""
    if not shown or sorted(shown) != list(range(len(shown))):
        raise MediaError(f"'{path}' has gaps or doubles between its frames: it is not a segment written here")
    reorder = max(index - number for index, number in enumerate(shown))
    return Segment(path, len(shown), reorder, codec, header, size, rate, pixels)


def _check_match(first: Segment, segment: Segment) -> None:
    for what in ("codec", "size", "fps", "header"):
        if getattr(first, what) != getattr(segment, what):
            detail = "" if what == "header" else f" ({getattr(segment, what)}, not {getattr(first, what)})"
            raise MediaError(
                f"'{segment.path}' cannot follow '{first.path}': another {what}{detail}; encode both alike"
            )


def holds_sound(format: str, coding: Coding, sound: SourceSound) -> bool:  # noqa: A002
    """Whether a file of that format can have a source's sound."""
    sink = WRITERS[format, codec_of(format, coding.codec)]
    return isinstance(sink, AvCodec) and holds(sink.container, sound)


def lay_sound(
    silent: Path,
    path: Path,
    sound: SourceSound,
    *,
    format: str,  # noqa: A002
    coding: Coding,
    fps: Fraction | float,
    metadata: str | None = None,
) -> None:
    """Copies the frames of `silent` to `path` with a source's sound beside them, in a format that `holds_sound`.

    Raises MediaError for a damaged file, DiskFullError.
    """
    sink = WRITERS[format, codec_of(format, coding.codec)]
    assert isinstance(sink, AvCodec)
    _copy([scan_segment(silent, fps)], path, sink, metadata, draft=False, sound=sound)


def _copy(
    segments: list[Segment],
    path: Path,
    codec: AvCodec,
    metadata: str | None,
    *,
    draft: bool,
    sound: SourceSound | None = None,
) -> None:
    reorder = max(segment.reorder for segment in segments)
    needed = sum(segment.path.stat().st_size for segment in segments)
    with atomic_write(path, needed, durable=not draft) as temporary:
        with codec.open(temporary, draft=draft) as output:
            output.metadata.update(tags(metadata, codec.container))
            with open_source(segments[0].path) as file, open_container(file) as (_, stream):
                target: Any = output.add_stream_from_template(stream)
            base, tick = 0, 1 / segments[0].fps
            target.time_base = tick
            with beside(sound, output) as write_sound:
                for segment in segments:
                    with open_source(segment.path) as file, open_container(file) as (container, stream):
                        index = -1
                        for index, (packet, number) in enumerate(_numbered(container, stream, segment.fps)):
                            packet.stream, packet.time_base = target, tick
                            packet.pts, packet.dts, packet.duration = base + number, base + index - reorder, 1
                            write_sound(float((base + number) * tick))
                            output.mux(packet)
                    _require_all(segment, index + 1)
                    base += segment.frames
                write_sound(float("inf"))
        embed_mark(temporary, metadata)
        if not draft:
            require_frames(temporary, base, segments[0].fps)


def _require_all(segment: Segment, found: int) -> None:
    """Raises MediaError where a segment has not the frames any more that it was found to have."""
    if found != segment.frames:
        raise MediaError(f"'{segment.path}' has {found} frames now, not {segment.frames}: it was changed meanwhile")


def _numbered(container: InputContainer, stream: VideoStream, fps: Fraction) -> Iterator[tuple[av.Packet, int]]:
    """Each packet, and which frame of its file it holds; Matroska rounds times to a millisecond, so this rounds back.

    In whole numbers: with fractions this loop would cost more than all else about a long video.
    """
    places = (stream.time_base or Fraction(0)) * fps
    times, half, whole = 2 * places.numerator, places.denominator, 2 * places.denominator
    for packet in container.demux(stream):
        if packet.size:
            if packet.pts is None:
                raise MediaError("a packet has no time stamp")
            yield packet, (packet.pts * times + half) // whole
