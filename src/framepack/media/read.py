"""Videos in: what is in a file, and its frames one by one, upright RGB.

One demuxer is named for each kind of file, so that no playlist or reference inside it opens another file or address.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import InputContainer
from PIL import Image

from framepack.files.errors import MediaError, reason
from framepack.media.archive import Archive, kind_of_picture, open_archive, pictures_of
from framepack.media.image import load_image
from framepack.media.lengths import (
    ROUNDING,
    announced_end,
    decoded,
    says_order,
    shown_packets,
    shown_seconds,
    whole_rate,
)
from framepack.media.metadata import AV_FORMATS, read_metadata
from framepack.media.pixels import MAX_FRAME_PIXELS, Pending, check_size, either, pending, squared, turns_of
from framepack.media.sinks import Frame
from framepack.media.source import VIDEO_KINDS, Source, kind_of, name_of, open_source
from framepack.media.whole import has_a_hole, is_cut_off

DEMUXERS = AV_FORMATS | {"gif": "gif", "apng": "apng"}
READABLE = (
    "mp4, mov, mkv, webm, avi, gif, animated webp or png, or a zip or folder of numbered PNG, TIFF or EXR pictures"
)
PICTURE_READERS = {"tiff": "tiff_pipe", "exr": "exr_pipe"}
"""FFmpeg's names for readers of single pictures in memory."""
PICTURE_BYTES = {"png": 4, "tiff": 8, "exr": 16}
"""Bytes a pixel that a picture of a sequence may have."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is in a video file: `duration` in seconds, `codec` FFmpeg's name, `format` what the file is by content."""

    frames: int
    fps: Fraction
    width: int
    height: int
    duration: float
    format: str
    codec: str
    has_metadata: bool


def probe(source: Source) -> VideoInfo:
    """Counts the frames without decoding them. Raises MediaError: no such file, not a video, damaged."""
    with reading(source) as (file, kind):
        probed = {"zip": _probe_sequence, "folder": _probe_sequence, "webp": _probe_webp}.get(kind, _probe_container)(
            file
        )
        frames, duration, rate, (width, height), codec = probed
    if frames == 0 or duration <= 0:
        raise MediaError(f"{name_of(source)} has no video in it: use {READABLE}")
    fps = rate or whole_rate(frames / duration)
    return VideoInfo(
        frames=frames,
        fps=fps,
        width=width,
        height=height,
        duration=duration,
        format=kind,
        codec=codec,
        has_metadata=read_metadata(source) is not None,
    )


def require_frames(source: Source, frames: int, fps: Fraction) -> None:
    """Raises MediaError unless that many frames are in a file. In WebP equal ones are one that lasts."""
    info = probe(source)
    found = round(info.duration * fps) if info.format == "webp" else info.frames
    if found != frames:
        raise MediaError(f"{name_of(source)} holds {found} frames of {frames}, so it is not kept: make it again")


def read_video(
    source: Source, *, fps: Fraction | float | None = None, whole: bool = False, wide: bool = False
) -> Iterator[Any]:
    """The frames of `source`, each (H, W, 3) uint8, or `wide`: float32, 0..1; one at a time is in memory.

    `whole`: a file that was cut off, or of which a frame is seen to be damaged, is refused; players show what there is.

    With `fps`, each frame's own time stamp decides: the output's frame j is the one shown at j / fps. Turned upright
    where a phone stored them lying. Raises MediaError: no such file, not a video, damaged.
    """
    with reading(source) as (file, kind):
        yield from alike(pending_frames(file, kind, fps, whole=whole), wide=wide)


def pending_frames(
    file: BinaryIO, kind: str, fps: Fraction | float | None, *, whole: bool = False
) -> Iterator[Pending]:
    """All frames of a file of this kind, at `fps` or, where that is None, as they are."""
    frames = timed_frames(file, kind, whole=whole)
    return (frame for _, frame in frames) if fps is None else _at_rate(frames, Fraction(fps))


def timed_frames(file: BinaryIO, kind: str, *, whole: bool = False) -> Iterator[tuple[float, Pending]]:
    """All frames of a file of this kind, each with the second it is shown at."""
    readers = {"zip": _sequence_frames, "folder": _sequence_frames, "webp": _webp_frames}
    return readers.get(kind, partial(_container_frames, whole=whole))(file)


def alike(frames: Iterable[Pending], *, wide: bool = False) -> Iterator[Frame]:
    """The frames themselves. Raises MediaError where one has another size, or there is none."""
    shape = None
    for convert in frames:
        frame = convert(wide=wide)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise MediaError("its frames change their size on the way")
        yield frame
    if shape is None:
        raise MediaError("it has no frames")


@contextmanager
def open_container(file: BinaryIO) -> Iterator[tuple[InputContainer, Any]]:
    """The container in `file` and its first video stream. Raises MediaError when there is none."""
    with av.open(file, "r", format=DEMUXERS[kind_of(file)]) as container:
        if not container.streams.video:
            raise MediaError("it has sound but no picture")
        stream = container.streams.video[0]
        check_size(stream.width, stream.height)
        yield container, stream


@contextmanager
def reading(source: Source) -> Iterator[tuple[BinaryIO, str]]:
    """Turns whatever a decoder says into one sentence about `source`."""
    name = name_of(source)
    with open_source(source) as file:
        kind = kind_of(file)
        if kind not in VIDEO_KINDS:
            raise MediaError(f"{name} is not a video that can be read: use {READABLE}")
        try:
            yield file, kind
        except Exception as error:  # a decoder fed a damaged file may raise anything
            known = isinstance(error, MediaError) or kind not in ("mp4", "mkv")
            why = "it is cut off" if not known and is_cut_off(file, kind) else reason(error)
            raise MediaError(f"{name} is damaged or cannot be decoded ({why}): copy or download it again") from error


Probed = tuple[int, float, Fraction | None, tuple[int, int], str]
"""Frames, seconds, frames a second where the file says so, (width, height), codec."""


def _probe_container(file: BinaryIO) -> Probed:
    with open_container(file) as (container, stream):
        shown = shown_packets(container, stream)
        fixed = stream.average_rate if container.format.name != "gif" else None
        tick = Fraction(stream.time_base or 1)
        # FFmpeg rounds each frame of an animated PNG to its own ticks
        slack = tick * (len(shown) if container.format.name == "apng" else 1)
        frames, duration = len(shown), shown_seconds(shown, fixed, tick, slack)
        codec = stream.codec_context.codec.canonical_name
    with open_container(file) as (container, stream):
        stream.codec_context.thread_count = 1  # threads would decode ahead
        picture = next(container.decode(stream))  # only a frame knows which way is up
        width, height = squared(stream) or (picture.width, picture.height)
        upright = (height, width) if turns_of(picture) % 2 else (width, height)
    return frames, duration, fixed, upright, codec


def _probe_webp(file: BinaryIO) -> Probed:
    with Image.open(file, formats=["WEBP"]) as image:
        count, duration = getattr(image, "n_frames", 1), 0.0
        for index in range(count):
            image.seek(index)
            image.load()  # only then is the duration known
            duration += _webp_seconds(image)
        return count, duration, None, image.size, "webp"


def _probe_sequence(file: BinaryIO) -> Probed:
    with open_archive(file) as archive:
        names = pictures_of(archive)
        fps = _rate_of(archive)
        height, width = _picture(archive, names[0])().shape[:2] if names else (0, 0)
        codec = kind_of_picture(names[0]) if names else "png"
        return len(names), len(names) / float(fps), fps, (width, height), codec


def _container_frames(file: BinaryIO, *, whole: bool = False) -> Iterator[tuple[float, Pending]]:
    with open_container(file) as (container, stream):
        period, square, shown, ends = float(1 / (stream.average_rate or 30)), squared(stream), 0.0, 0.0
        if whole:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        for picture, time in decoded(container, stream):
            if whole and picture.is_corrupt:
                raise MediaError("one of its frames is damaged")
            before, shown = shown, shown + period if time is None else time
            lasts = shown - before if says_order(container) else float((picture.duration or 0) * stream.time_base)
            ends = max(ends, shown + max(period, lasts))
            yield shown, pending(picture, square)
        missing = announced_end(container, stream) - ends
    kind = kind_of(file)
    if whole and (is_cut_off(file, kind) or (kind != "mp4" and missing > period / 2)):  # an mp4's bytes say it exactly
        raise MediaError("it is cut off")
    if whole and has_a_hole(file, kind):
        raise MediaError("a part of it is damaged")


def _webp_frames(file: BinaryIO) -> Iterator[tuple[float, Pending]]:
    start = 0.0
    with Image.open(file, formats=["WEBP"]) as image:
        check_size(*image.size)
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            yield start, partial(either, np.asarray(image.convert("RGB")))
            start += _webp_seconds(image)


def _webp_seconds(image: Image.Image) -> float:
    """How long the frame that was just loaded is shown; a still has no duration."""
    return (image.info.get("duration") or 1000 / 30) / 1000


def _sequence_frames(file: BinaryIO) -> Iterator[tuple[float, Pending]]:
    with open_archive(file) as archive:
        rate = _rate_of(archive)
        for index, name in enumerate(pictures_of(archive)):
            yield float(index / rate), _picture(archive, name)


def _picture(archive: Archive, name: str) -> Pending:
    """One picture of a sequence, read and not yet decoded. Raises MediaError where it is too large."""
    kind = kind_of_picture(name)
    most = PICTURE_BYTES[kind] * MAX_FRAME_PIXELS
    if archive.size(name) > most:
        raise MediaError(f"{name} in it is too large")
    return partial(decoded_picture, archive.read(name, most), kind)


def decoded_picture(data: bytes, kind: str, *, wide: bool = False) -> Any:
    """(H, W, 3) of a picture of a sequence: uint8, or `wide`, float32. kind: png | tiff | exr."""
    if kind == "png":
        return either(load_image(data), wide=wide)
    with av.open(io.BytesIO(data), "r", format=PICTURE_READERS[kind]) as container:
        stream = container.streams.video[0]
        check_size(stream.width, stream.height)
        return pending(next(container.decode(stream)))(wide=wide)


def _rate_of(archive: Archive) -> Fraction:
    number = archive.about.partition(b" fps")[0].decode("ascii", "replace")
    try:
        rate = Fraction(number)
    except (ValueError, ZeroDivisionError):
        return Fraction(30)
    return rate if 1 <= rate <= 240 else Fraction(30)


def _at_rate(frames: Iterator[tuple[float, Pending]], fps: Fraction) -> Iterator[Pending]:
    """Of frames with their start in seconds, those seen at 0, 1 / fps ...; the last lasts as long as the one before."""
    period, begin, index, shown, start, length = float(1 / fps), None, 0, None, 0.0, 0.0
    for time, frame in frames:
        begin = time if begin is None else begin
        while shown is not None and begin + index * period < time - ROUNDING:
            yield shown
            index += 1
        length = time - start if shown is not None else period
        shown, start = frame, time
    while shown is not None and begin is not None and begin + index * period < start + length - 2 * ROUNDING:
        yield shown
        index += 1
