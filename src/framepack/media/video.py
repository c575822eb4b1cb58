"""Videos out: the table of formats, and a writer that encodes each frame once and shows nothing half-written.

Knows nothing of sections; joining files is `join`, reading them `read`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from framepack.files.atomic import AtomicFile
from framepack.media.metadata import check_metadata
from framepack.media.read import require_frames
from framepack.media.sinks import Codec, Sink, SinkSpec, ZipSink
from framepack.spec.rates import GIF_FPS

MAX_FPS = 240


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """A kind of file to write: its `suffix`, its media type, what writes it, and in which format its segments are kept.

    `segments` is the format itself where segments are joined without encoding again, and a lossless one otherwise.
    """

    suffix: str
    mime: str
    sink: Callable[[Path, SinkSpec], Sink]
    segments: str
    lossless: bool = False
    uses_quality: bool = False
    """Whether `quality` (crf) changes the file."""
    even: bool = False
    """Width and height must be even: colour is stored at half the size."""
    description: str
    most_fps: int = MAX_FPS
    """Frames a second at most."""


def x264(crf: int) -> Mapping[str, str]:
    """H.264 that plays everywhere; `preset` is x264's default.

    x264's AVX-512 code of the macroblock tree gives other numbers from write to write; `cpu-independent` takes the
    plain code of that part, which all machines share, and the fast code of all others.
    """
    return {"crf": str(crf), "preset": "medium", "x264-params": "cpu-independent=1"}


def vp9(crf: int) -> Mapping[str, str]:
    """VP9's scale of quality goes to 63, x264's to 51."""
    return {"crf": str(round(crf * 63 / 51)), "b": "0", "row-mt": "1", "cpu-used": "4"}


H264 = Codec(
    container="mp4",
    encoder="libx264",
    pixel_format="yuv420p",
    options=x264,
    container_options={"movflags": "+faststart"},
    threads=8,
    threading="FRAME",
)
FFV1 = Codec(
    container="matroska",
    encoder="ffv1",
    pixel_format="bgr0",
    options=lambda crf: {"level": "3", "slices": "4", "slicecrc": "1"},
    threads=4,
)
VP9 = Codec(container="webm", encoder="libvpx-vp9", pixel_format="yuv420p", options=vp9, threads=8)
WEBP = Codec(
    container="webp",
    encoder="libwebp_anim",
    pixel_format="bgra",
    options=lambda crf: {"quality": str(100 - crf)},
    container_options={"loop": "0"},
    embeds=True,
)
GIF = Codec(container="gif", encoder="gif", pixel_format="pal8", container_options={"loop": "0"}, embeds=True)

FORMATS: dict[str, VideoFormat] = {
    "mp4": VideoFormat(
        suffix=".mp4",
        mime="video/mp4",
        sink=H264,
        segments="mp4",
        uses_quality=True,
        even=True,
        description="H.264, plays everywhere",
    ),
    "mkv": VideoFormat(
        suffix=".mkv",
        mime="video/x-matroska",
        sink=FFV1,
        segments="mkv",
        lossless=True,
        description="FFV1, lossless, for editing",
    ),
    "webm": VideoFormat(
        suffix=".webm",
        mime="video/webm",
        sink=VP9,
        segments="webm",
        uses_quality=True,
        even=True,
        description="VP9, small, for the web",
    ),
    "gif": VideoFormat(
        suffix=".gif",
        mime="image/gif",
        sink=GIF,
        segments="mkv",
        description="256 colours, for chats",
        most_fps=GIF_FPS,
    ),
    "webp": VideoFormat(
        suffix=".webp",
        mime="image/webp",
        sink=WEBP,
        segments="mkv",
        uses_quality=True,
        description="an animated picture",
    ),
    "png": VideoFormat(
        suffix=".zip",
        mime="application/zip",
        sink=ZipSink,
        segments="mkv",
        lossless=True,
        description="a zip of numbered PNG pictures",
    ),
}


def format_of(path: Path) -> str:
    """The name of the format that `path`'s suffix asks for. Raises ValueError when there is none."""
    found = next((name for name, row in FORMATS.items() if row.suffix == path.suffix.lower()), None)
    if found is None:
        known = ", ".join(row.suffix for row in FORMATS.values())
        raise ValueError(f"no video format has the suffix {path.suffix!r} of '{path.name}': use one of {known}")
    return found


class VideoWriter:
    """Encodes frames into `path` as they come; the file appears when it is complete, and never before.

    `size` is (width, height); `quality` x264's crf, 1 (best) to 51; not all formats use it; `format` a key of FORMATS,
    by default that of the suffix; `metadata` a JSON object as text. An error inside the `with` block discards the file,
    as does a finished one that does not hold all frames.
    Raises ValueError for what cannot be encoded, DiskFullError when the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        fps: Fraction | float = 30,
        format: str | None = None,  # noqa: A002
        quality: int = 16,
        metadata: str | None = None,
    ) -> None:
        path = Path(path)
        row = FORMATS[check_format(format or format_of(path))]
        self.width, self.height = check_size(size, row)
        if not 1 <= quality <= 51:
            raise ValueError(f"quality (crf) must be 1..51, got {quality}: 16 is nearly perfect, 28 small")
        if metadata is not None:
            check_metadata(metadata)
        self.path, self.fps, self.frames_encoded = path, check_fps(fps, row.most_fps), 0
        spec = SinkSpec(width=self.width, height=self.height, fps=self.fps, crf=quality, metadata=metadata)
        self.file = AtomicFile(path)
        with self.file.guard():
            self.sink = row.sink(self.file.temporary, spec)
        self.open = True

    def write(self, frames: NDArray[np.uint8]) -> None:
        """Encode `frames`: (T, H, W, 3) or one (H, W, 3), uint8 RGB."""
        if not self.open:
            raise ValueError(f"'{self.path}' is closed: open a new VideoWriter")
        frames = frames[None] if frames.ndim == 3 else frames
        if frames.dtype != np.uint8 or frames.shape[1:] != (self.height, self.width, 3):
            raise ValueError(
                f"frames must be uint8 (T, {self.height}, {self.width}, 3), got {frames.dtype} {frames.shape}: "
                "the size was fixed when the file was opened"
            )
        try:
            with self.file.guard():
                for frame in frames:
                    self.sink.write(np.ascontiguousarray(frame))
                    self.frames_encoded += 1
        except BaseException:
            self.abort()
            raise

    def close(self) -> Path:
        """Finish the file and make it visible under its name. A second call does nothing."""
        if not self.open:
            return self.path
        if self.frames_encoded == 0:
            self.abort()
            raise ValueError(f"no frames for '{self.path}': write at least one")
        try:
            with self.file.guard():
                self.sink.close()
                require_frames(self.file.temporary, self.frames_encoded, self.fps)
                self.file.publish()
        finally:
            self.abort()
        return self.path

    def abort(self) -> None:
        """Drop what was written; harmless after `close`."""
        if not self.open:
            return
        self.open = False
        self.sink.discard()
        self.file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def check_format(name: str) -> str:
    """`name`, a key of FORMATS. Raises ValueError otherwise."""
    if name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")
    return name


def check_fps(fps: Fraction | float, most: int = MAX_FPS) -> Fraction:
    """`fps` as an exact fraction, so that 29.97 is 30000/1001. Raises ValueError outside 1..most."""
    if not 1 <= fps <= most:  # false for NaN too
        raise ValueError(f"fps must be 1..{most}, got {fps}")
    exact = Fraction(fps).limit_denominator(1001)
    if exact.denominator == 1:
        return exact
    ntsc = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    return ntsc if abs(ntsc - Fraction(fps)) < Fraction(1, 200) else exact


def check_size(size: tuple[int, int], row: VideoFormat) -> tuple[int, int]:
    """`size`, fit for `row`. Raises ValueError where it is not."""
    width, height = size
    if not (1 <= width <= 16384 and 1 <= height <= 16384):
        raise ValueError(f"width and height must be 1..16384, got {width}x{height}")
    if row.even and (width % 2 or height % 2):
        raise ValueError(
            f"{row.suffix} needs an even width and height, got {width}x{height}: "
            f"use {width + width % 2}x{height + height % 2}, or mkv"
        )
    return width, height
