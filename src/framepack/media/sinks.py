"""Where encoded frames go: one class for all of FFmpeg's containers (PyAV), one for a zip of PNGs.

A sink writes to the path it is given, frame by frame, and keeps none. Colours: RGB becomes BT.709, limited, tagged.
The same frames give the same bytes, whatever the machine: no clock, no random ids, a fixed number of threads.
"""

import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import av.error
import av.filter
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from framepack.media import marks
from framepack.media.image import encode_image
from framepack.media.metadata import ZIP_NAME, embed_metadata
from framepack.media.webp import webp_lasting

Frame = NDArray[np.uint8]
"""(H, W, 3), sRGB."""

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""FFmpeg's quick conversions lose 10 dB and darken by one level; measured on a gradient: 43.5 against 53.0 dB."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of a zip's entries: the earliest there is, rather than that of the writing."""
BT709 = 1
"""The code of ITU-R BT.709 for primaries, transfer and matrix alike (ITU-T H.273)."""


@dataclass(frozen=True, kw_only=True)
class SinkSpec:
    """What a sink needs: the frames' `width` and `height` in pixels, frames a second, x264's `crf`, text to embed."""

    width: int
    height: int
    fps: Fraction
    crf: int
    metadata: str | None = None


class Sink(Protocol):
    """Takes frames in order; `close` finishes the file, `discard` lets go of one that nobody wants."""

    def write(self, frame: Frame) -> None: ...
    def close(self) -> None: ...
    def discard(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Codec:
    """FFmpeg's names for a format: the muxer, the encoder, its pixel format, and their options."""

    container: str
    encoder: str
    pixel_format: str
    options: Callable[[int], Mapping[str, str]] = lambda crf: {}
    container_options: Mapping[str, str] = field(default_factory=dict)
    embeds: bool = False
    """The container has no tags: the metadata is put into the finished file."""
    threads: int = 1
    """Never the machine's number: it changes the bytes, and with slices the size too."""
    threading: str = "SLICE"
    """What a thread works on: "FRAME" or "SLICE"."""

    def __call__(self, path: Path, spec: SinkSpec) -> Sink:
        return AvSink(path, spec, self)

    def open(self, path: Path, *, draft: bool = False) -> OutputContainer:
        """An empty file of this container at `path`; a draft's table of contents stays at its end."""
        options = {"fflags": "+bitexact", **({} if draft else self.container_options)}  # else Matroska's ids are random
        return av.open(str(path.absolute()), "w", format=self.container, options=options)  # 12:30.mp4 is no address


class AvSink:
    """Frames through PyAV into one file. Starts with a key frame and refers to nothing outside (a closed GOP)."""

    def __init__(self, path: Path, spec: SinkSpec, codec: Codec) -> None:
        self.path, self.spec, self.codec, self.frames = path, spec, codec, 0
        self.container = codec.open(path)
        stream: Any = self.container.add_stream(codec.encoder, rate=spec.fps, options=dict(codec.options(spec.crf)))
        stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, codec.pixel_format
        context = stream.codec_context
        context.thread_count, context.thread_type = codec.threads, codec.threading
        if codec.pixel_format.startswith("yuv"):
            context.color_primaries = context.color_trc = context.colorspace = BT709
            context.color_range = ColorRange.MPEG
        if not codec.embeds:
            self.container.metadata.update(marks.tags(spec.metadata, codec.container))
        self.stream = stream
        self.palette = PaletteGraph(spec) if codec.pixel_format == "pal8" else None

    def write(self, frame: Frame) -> None:
        """Encode one (H, W, 3) frame."""
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = self.frames, 1 / self.spec.fps
        self._mux(self.stream.encode(self.palette(picture) if self.palette else self._reformat(picture)))
        self.frames += 1

    def close(self) -> None:
        """Flush the encoder, write the index, embed what has no tag of its own."""
        self._mux(self.stream.encode())
        self.container.close()
        if self.codec.container == "webp":
            lasting = webp_lasting(self.path.read_bytes(), round(1000 * self.frames / self.spec.fps))
            self.path.write_bytes(lasting)
        if self.spec.metadata is not None and self.codec.embeds:
            embed_metadata(self.path, self.spec.metadata)
        marks.embed_mark(self.path, self.spec.metadata)

    def discard(self) -> None:
        """Let go of the file without caring for it."""
        with suppress(av.error.FFmpegError):  # a full disk, which was reported already
            self.container.close()

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if not packet.duration and packet.time_base:  # else the last frame of an mp4 is shown too briefly
                packet.duration = round(1 / (self.spec.fps * packet.time_base))
            self.container.mux(packet)

    def _reformat(self, picture: av.VideoFrame) -> av.VideoFrame:
        if not self.codec.pixel_format.startswith("yuv"):
            return picture.reformat(format=self.codec.pixel_format, interpolation=EXACT, threads=1)
        return picture.reformat(
            format=self.codec.pixel_format,
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=EXACT,
            threads=1,
        )


class PaletteGraph:
    """RGB frames to 256 colours, each with a palette of its own, so that no second pass over the video is needed."""

    def __init__(self, spec: SinkSpec) -> None:
        graph = av.filter.Graph()
        graph.threads = 1
        rgb = av.VideoFormat("rgb24", spec.width, spec.height)
        self.source = graph.add_buffer(width=spec.width, height=spec.height, format=rgb, time_base=1 / spec.fps)
        split, self.sink = graph.add("split"), graph.add("buffersink")
        palette = graph.add("palettegen", "stats_mode=single")
        apply = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4")
        for origin, target, port in (
            (self.source, split, (0, 0)),
            (split, palette, (0, 0)),
            (split, apply, (1, 0)),
            (palette, apply, (0, 1)),
            (apply, self.sink, (0, 0)),
        ):
            origin.link_to(target, *port)
        graph.configure()
        self.graph = graph  # its filters do not keep it alive

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The frame (H, W) in pal8."""
        self.source.push(picture)
        result: Any = self.sink.pull()
        return result


class ZipSink:
    """A zip of numbered PNGs, as they are, `request.json` and the mark; for editors that take image sequences."""

    def __init__(self, path: Path, spec: SinkSpec) -> None:
        self.frames, self.marked = 0, marks.wanted(spec.metadata)
        self.archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        if spec.metadata is not None:
            self.archive.writestr(zipfile.ZipInfo(ZIP_NAME, EPOCH), spec.metadata)
        if self.marked:
            self.archive.writestr(zipfile.ZipInfo(marks.ZIP_NAME, EPOCH), marks.XMP)
        self.archive.comment = f"{spec.fps} fps{f'; {marks.DESCRIPTION}' if self.marked else ''}".encode()

    def write(self, frame: Frame) -> None:
        """Add one (H, W, 3) frame."""
        png = encode_image(frame, "png")
        png = marks.png_marked(png) if self.marked else png
        self.archive.writestr(zipfile.ZipInfo(f"frame_{self.frames:06d}.png", EPOCH), png)
        self.frames += 1

    def close(self) -> None:
        """Write the zip's directory."""
        self.archive.close()

    def discard(self) -> None:
        """Let go of the file without caring for it."""
        with suppress(OSError, ValueError):
            self.archive.close()
