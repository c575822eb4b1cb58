"""Sound of a file laid under a video while that is written: decoded, resampled and encoded as far as the picture is.

Never longer than the picture; where it is shorter, the rest is silent.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError

from framepack.files.errors import MediaError, reason
from framepack.media.source import Source, head_of, kind_of, name_of, open_source

RATE = 48_000
"""Samples a second: what AAC, FLAC and Opus all have."""
ENCODERS = {"mp4": ("aac", "fltp"), "mov": ("aac", "fltp"), "matroska": ("flac", "s16"), "webm": ("libopus", "flt")}
"""By container: encoder, and its sample format. FLAC is lossless, as the picture in mkv is."""
STARTS = (
    (b"ID3", "mp3"),
    *((bytes((0xFF, layer)), "mp3") for layer in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2)),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
)
"""What a file of sound alone begins with."""
DEMUXERS = {"mp4": "mov", "mkv": "matroska", "avi": "avi"}
"""By what a video is: the one demuxer that may read it, as none of them opens another file or address."""
GAP = 0.015
"""Seconds that a frame of sound lies behind those before it beyond which there is silence between; less is rounding."""
LOUDEST = "192k"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """The sound of `file` from a second on: of the sound itself, or, where `origin` is said, from it on.

    origin: a second on the clock of `file`, where a picture begins; sound that begins later is preceded by silence.
    """

    file: Source
    start: float = 0.0
    origin: float | None = None


class NoSoundError(MediaError):
    """A file that has no sound, or is none that can have it."""


def has_sound(file: Source) -> bool:
    """Whether there is sound in a file. MediaError where it is damaged."""
    try:
        with opened(file):
            return True
    except NoSoundError:
        return False


def demuxer_of(file: BinaryIO) -> str | None:
    """Which demuxer reads the sound of a file; None for what has none."""
    head, kind = head_of(file), kind_of(file)
    if kind in DEMUXERS:
        return DEMUXERS[kind]
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "wav"
    return next((name for start, name in STARTS if head.startswith(start)), None)


def picture_begins(file: Source) -> float | None:
    """The second at which the picture beside a file's sound begins; None where there is none."""
    with opened(file) as (container, _):
        video = next(iter(container.streams.video), None)
        return None if video is None or video.start_time is None else float(video.start_time * (video.time_base or 1))


class opened:  # noqa: N801 - used as a function
    """The container in `file` and its first sound stream, in a `with`. MediaError where there is none."""

    def __init__(self, file: Source) -> None:
        self.file, self.stack = file, ExitStack()

    def __enter__(self) -> tuple[InputContainer, Any]:
        try:
            source = self.stack.enter_context(open_source(self.file))
            demuxer = demuxer_of(source)
            source.seek(0)
            if demuxer is None:
                raise NoSoundError(
                    f"{name_of(self.file)} is no sound that can be read: use wav, mp3, flac, ogg, m4a or a video"
                )
            container = self.stack.enter_context(av.open(source, "r", format=demuxer))
            if not container.streams.audio:
                raise NoSoundError(
                    f"{name_of(self.file)} has no sound in it: use wav, mp3, flac, ogg, m4a or another video"
                )
            return container, container.streams.audio[0]
        except (FFmpegError, ValueError) as error:
            self.stack.close()
            if isinstance(error, MediaError):
                raise
            raise MediaError(
                f"the sound of {name_of(self.file)} is damaged ({reason(error)}): copy it again"
            ) from error

    def __exit__(self, *_: object) -> None:
        self.stack.close()


class SoundTrack:
    """A sound stream of an output that is being written; made before the first picture is."""

    def __init__(self, sound: Sound, output: OutputContainer, container: str) -> None:
        if container not in ENCODERS:
            raise ValueError(f"{container} has no sound: leave it out, or use mp4, mkv, webm or mov")
        encoder, form = ENCODERS[container]
        self.output, self.sound = output, sound
        options = {} if encoder == "flac" else {"b": LOUDEST}
        self.stream: Any = output.add_stream(encoder, rate=RATE, layout="stereo", options=options)
        self.stream.codec_context.format = form
        self.stream.codec_context.time_base = Fraction(1, RATE)
        self.form, self.samples = form, 0
        self.size = 0
        self.blocks: Iterator[Any] | None = None
        self.until = 0.0

    def upto(self, second: float) -> None:
        """Write all blocks that end by then."""
        self.until = second
        if self.blocks is None:
            self.stream.codec_context.open(strict=False)  # by the first picture, or not yet
            self.size = self.stream.codec_context.frame_size or 1024
            self.blocks = self.decoded()
        while (self.samples + self.size) / RATE <= second:
            block = next(self.blocks, None)
            if block is None:
                return
            self.write(block)

    def write(self, block: Any) -> None:
        """Encode a block behind those before it."""
        block.pts, block.time_base = self.samples, Fraction(1, RATE)
        self.samples += block.samples
        self.output.mux(self.stream.encode(block))

    def close(self) -> None:
        """Write the rest up to the picture's end, a part of a block, and what the encoder still has."""
        if self.blocks is not None:
            left = round(self.until * RATE) - self.samples
            if left > 0 and (block := next(self.blocks, None)):
                rest, block.pts = av.AudioFifo(), None
                rest.write(block)
                self.write(rest.read(min(left, block.samples)))
            self.output.mux(self.stream.encode(None))
            self.blocks.close()  # type: ignore[attr-defined]

    def decoded(self) -> Iterator[Any]:
        """Blocks of `size` samples from the start on. MediaError for damage."""
        fifo = av.AudioFifo()
        with opened(self.sound.file) as (container, stream):
            try:
                for part in self.in_time(container, stream):
                    part.pts = None
                    fifo.write(part)
                    while fifo.samples >= self.size:
                        yield fifo.read(self.size)
            except FFmpegError as error:
                raise MediaError(
                    f"the sound of {name_of(self.sound.file)} is damaged ({reason(error)}): copy it again"
                ) from error
            if fifo.samples:
                yield fifo.read(self.size, partial=True)

    def in_time(self, container: InputContainer, stream: Any) -> Iterator[Any]:
        """Pieces from the start on, as they are encoded, silence where the file has none between two frames."""
        resampler = av.AudioResampler(format=self.form, layout="stereo", rate=RATE)
        passed, ends = -1, 0.0
        for frame in container.decode(stream):
            begins, silent = ends if frame.time is None else frame.time, 0
            if passed < 0:
                ahead, ends = self.ahead(frame), begins
                passed, silent = max(ahead, 0), max(-ahead, 0)
            elif begins - ends > GAP:
                silent, ends = round((begins - ends) * RATE), begins
            ends += frame.samples / frame.sample_rate
            frame.pts = None
            for part in (*self.silence(silent), *resampler.resample(frame)):
                kept = without(part, passed)
                passed -= part.samples - (kept.samples if kept else 0)
                if kept:
                    yield kept
        if passed == 0:
            yield from filter(None, resampler.resample(None))

    def ahead(self, first: Any) -> int:
        """Samples of the sound that are not heard, by its first frame; below 0 there are so many silent ones before."""
        origin = self.sound.origin
        later = 0.0 if origin is None or first.time is None else origin - first.time
        return round((self.sound.start + later) * RATE)

    def silence(self, samples: int) -> Iterator[Any]:
        """So many silent ones, a second at a time."""
        for begin in range(0, samples, RATE):
            block = av.AudioFrame(format=self.form, layout="stereo", samples=min(RATE, samples - begin))
            for plane in block.planes:
                plane.update(bytes(plane.buffer_size))
            block.sample_rate = RATE
            yield block


def without(block: Any, samples: int) -> Any:
    """A block without its first samples; None where nothing is left."""
    if not samples:
        return block
    if samples >= block.samples:
        return None
    rest, block.pts = av.AudioFifo(), None
    rest.write(block)
    rest.read(samples)
    return rest.read(block.samples - samples)
