"""Sound of a file laid under a video while that is written: decoded, resampled and encoded as far as the picture is.

Never longer than the picture; where it is shorter, the rest is silent.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError

from framepack.files.errors import MediaError, reason
from framepack.media.source import Source, head_of, name_of, open_source

RATE = 48_000
"""Samples a second: what AAC, FLAC and Opus all have."""
ENCODERS = {"mp4": ("aac", "fltp"), "mov": ("aac", "fltp"), "matroska": ("flac", "s16"), "webm": ("libopus", "flt")}
"""By container: encoder, and its sample format. FLAC is lossless, as the picture in mkv is."""
DEMUXERS = (
    (b"RIFF", 0, "wav"),
    (b"ID3", 0, "mp3"),
    *((bytes((0xFF, layer)), 0, "mp3") for layer in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2)),
    (b"fLaC", 0, "flac"),
    (b"OggS", 0, "ogg"),
    (b"\x1aE\xdf\xa3", 0, "matroska"),
    (b"ftyp", 4, "mov"),
    (b"moov", 4, "mov"),
)
"""What a file begins with, where, and the one demuxer that may read it: none opens another file or address."""
LOUDEST = "192k"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """The sound of `file` from a second on: of the sound itself, or, where `origin` is said, from it on.

    origin: a second on the clock of `file`, where a picture begins; sound that begins later is preceded by silence.
    """

    file: Source
    start: float = 0.0
    origin: float | None = None


def has_sound(file: Source) -> bool:
    """Whether there is sound in a file that can be read."""
    try:
        with opened(file):
            return True
    except MediaError:
        return False


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
            head = head_of(source)
            demuxer = next((name for magic, at, name in DEMUXERS if head[at : at + len(magic)] == magic), None)
            if demuxer is None or head[8:12] == b"WEBP":
                raise MediaError(
                    f"{name_of(self.file)} is no sound that can be read: use wav, mp3, flac, ogg, m4a or a video"
                )
            container = self.stack.enter_context(av.open(source, "r", format=demuxer))
            if not container.streams.audio:
                raise MediaError(
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

    def upto(self, second: float) -> None:
        """Write all blocks that end by then."""
        if self.blocks is None:
            self.stream.codec_context.open(strict=False)  # by the first picture, or not yet
            self.size = self.stream.codec_context.frame_size or 1024
            self.blocks = self.decoded()
        while (self.samples + self.size) / RATE <= second:
            block = next(self.blocks, None)
            if block is None:
                return
            block.pts, block.time_base = self.samples, Fraction(1, RATE)
            self.samples += block.samples
            self.output.mux(self.stream.encode(block))

    def close(self) -> None:
        """Write what the encoder still has; let go of the file."""
        if self.blocks is not None:
            self.output.mux(self.stream.encode(None))
            self.blocks.close()  # type: ignore[attr-defined]

    def decoded(self) -> Iterator[Any]:
        """Blocks of `size` samples from the start on. MediaError for damage."""
        resampler = av.AudioResampler(format=self.form, layout="stereo", rate=RATE)
        fifo, passed = av.AudioFifo(), None
        with opened(self.sound.file) as (container, stream):
            try:
                for frame in container.decode(stream):
                    if passed is None:
                        ahead = self.ahead(frame)
                        passed = max(ahead, 0)
                        yield from (self.silence(self.size) for _ in range(-ahead // self.size))
                        if ahead < 0 and (rest := -ahead % self.size):
                            fifo.write(self.silence(rest))
                    frame.pts = None
                    for part in resampler.resample(frame):
                        part.pts = None
                        fifo.write(part)
                    while passed and fifo.samples:
                        dropped = fifo.read(min(passed, fifo.samples))
                        passed -= dropped.samples if dropped else passed
                    while fifo.samples >= self.size:
                        yield fifo.read(self.size)
            except FFmpegError as error:
                raise MediaError(
                    f"the sound of {name_of(self.sound.file)} is damaged ({reason(error)}): copy it again"
                ) from error
            if fifo.samples:
                yield fifo.read(self.size, partial=True)

    def ahead(self, first: Any) -> int:
        """Samples of the sound that are not heard, by its first frame; below 0 there are so many silent ones before."""
        origin = self.sound.origin
        later = 0.0 if origin is None or first.time is None else origin - first.time
        return round((self.sound.start + later) * RATE)

    def silence(self, samples: int) -> Any:
        """A silent block."""
        block = av.AudioFrame(format=self.form, layout="stereo", samples=samples)
        for plane in block.planes:
            plane.update(bytes(plane.buffer_size))
        block.sample_rate = RATE
        return block
