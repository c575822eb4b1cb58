"""The sound of a source beside a video's frames: packets are copied, nothing is encoded again.

Taken out of a stranger's file in a child process, as a Matroska file of its own that begins where its frames begin.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
from av.container import InputContainer, OutputContainer

from framepack.media.read import open_container, reading

WITH_SOUND = ("mp4", "mkv", "avi")
CODECS = {
    "mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"),
    "mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"),
    "webm": ("opus", "vorbis"),
}
"""What a container holds; Matroska holds all, others none."""


@dataclass(frozen=True, kw_only=True)
class SourceSound:
    """`data`: Matroska. It begins at a second of the video and is cut after so many."""

    data: bytes
    begin: float
    seconds: float


def taken(file: BinaryIO) -> bytes:
    """A video's first sound, as Matroska; empty where it has none."""
    out = io.BytesIO()
    with reading(file) as (source, kind):
        if kind not in WITH_SOUND:
            return b""
        with open_container(source) as (container, video):
            if not container.streams.audio:
                return b""
            stream: Any = container.streams.audio[0]
            begins = float((video.start_time or 0) * video.time_base)
            with av.open(out, "w", format="matroska") as output:
                target = output.add_stream_from_template(stream)
                _copy(container, stream, output, target, -begins, float("inf"))
    return out.getvalue()


def holds(container: str, sound: SourceSound) -> bool:
    """Whether a container, by FFmpeg's name, can have it."""
    with opened(sound) as (_, stream):
        return stream.codec_context.name in CODECS.get(container, ()) or container == "matroska"


@contextmanager
def opened(sound: SourceSound) -> Iterator[tuple[InputContainer, Any]]:
    """Its container and stream."""
    with av.open(io.BytesIO(sound.data), "r", format="matroska") as source:
        yield source, source.streams.audio[0]


@contextmanager
def beside(sound: SourceSound | None, output: OutputContainer) -> Iterator[Callable[[float], None]]:
    """Adds the sound's stream to a file that can have it, and gives what writes all of it up to a second."""
    if sound is None:
        yield lambda second: None
        return
    with opened(sound) as (source, stream):
        target = output.add_stream_from_template(stream)
        packets = _shifted(source, stream, sound.begin, sound.begin + sound.seconds)
        waiting = [next(packets, None)]

        def write(second: float) -> None:
            while waiting[0] is not None and float(waiting[0].pts * waiting[0].time_base) <= second:
                packet = waiting[0]
                waiting[0] = next(packets, None)
                packet.stream = target
                output.mux(packet)

        yield write


def _copy(container: Any, stream: Any, output: Any, target: Any, shift: float, end: float) -> None:
    for packet in _shifted(container, stream, shift, end):
        packet.stream = target
        output.mux(packet)


def _shifted(container: Any, stream: Any, shift: float, end: float) -> Iterator[Any]:
    """The packets, so many seconds later; without those before 0 and those that begin at `end` or later."""
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        ticks = round(shift / packet.time_base)
        packet.pts += ticks
        packet.dts = packet.pts
        if packet.pts >= 0 and float(packet.pts * packet.time_base) < end:
            yield packet
