"""Frames through FFmpeg (PyAV) into one file: one class for all of its containers and encoders."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import av.filter
from av.container import OutputContainer
from av.video.reformatter import ColorRange

from framepack.media import marks
from framepack.media.apng import apng_lasting
from framepack.media.isolated import IsolatedSink
from framepack.media.metadata import embed_metadata
from framepack.media.sinks import Frame, Sink, SinkSpec, WideFrame, picture_of
from framepack.media.sound import SoundTrack
from framepack.media.webp import webp_lasting
from framepack.spec.formats import Coding

BT709 = 1
"""The code of ITU-R BT.709 for primaries, transfer and matrix alike (ITU-T H.273)."""
Options = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class AvCodec:
    """FFmpeg's names for a format: the muxer, the encoder, its pixel format, and their options."""

    container: str
    encoder: str
    pixels: str
    exact_pixels: str = ""
    """Where the file is to be exact to the bit, in place of `pixels`."""
    options: Callable[[Coding], Options] = lambda coding: {}
    container_options: Options = field(default_factory=dict)
    embeds: bool = False
    """The container has no tags: the metadata is put into the finished file."""
    threads: int = 1
    """Never the machine's number where it changes the bytes, and with slices the size too; 0 is the machine's."""
    threading: str = "SLICE"
    """What a thread works on: "FRAME" or "SLICE"."""
    tag: str = ""
    """The name of the codec inside an mp4, where players want another than FFmpeg's."""
    isolated: bool = False
    """The encoder needs a process of its own: libx265 fails after other sizes, libsvtav1 talks on standard error."""

    def __call__(self, path: Path, spec: SinkSpec) -> Sink:
        return IsolatedSink(path, spec) if self.isolated and not spec.alone else AvSink(path, spec, self)

    def open(self, path: Path, *, draft: bool = False) -> OutputContainer:
        """An empty file of this container at `path`; a draft's table of contents stays at its end."""
        options = {"fflags": "+bitexact", **({} if draft else self.container_options)}  # else Matroska's ids are random
        return av.open(str(path.absolute()), "w", format=self.container, options=options)  # 12:30.mp4 is no address


class AvSink:
    """Frames through PyAV into one file. Starts with a key frame and refers to nothing outside (a closed GOP)."""

    def __init__(self, path: Path, spec: SinkSpec, codec: AvCodec) -> None:
        self.path, self.spec, self.codec, self.frames = path, spec, codec, 0
        self.pixels = codec.exact_pixels if spec.coding.lossless and codec.exact_pixels else codec.pixels
        self.container = codec.open(path)
        stream: Any = self.container.add_stream(codec.encoder, rate=spec.fps, options=dict(codec.options(spec.coding)))
        stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, self.pixels
        context = stream.codec_context
        context.thread_count, context.thread_type = codec.threads, codec.threading
        if codec.tag:
            context.codec_tag = codec.tag
        if self.pixels.startswith("yuv"):
            context.color_primaries = context.color_trc = context.colorspace = BT709
            context.color_range = ColorRange.MPEG
        if not codec.embeds:
            self.container.metadata.update(marks.tags(spec.metadata, codec.container))
        self.stream = stream
        self.track = SoundTrack(spec.sound, self.container, codec.container) if spec.sound else None
        self.palette = PaletteGraph(spec) if self.pixels == "pal8" else None

    def write(self, frame: Frame | WideFrame) -> None:
        """Encode one (H, W, 3) frame."""
        picture = picture_of(frame, "rgb24" if self.palette else self.pixels)
        picture.pts, picture.time_base = self.frames, 1 / self.spec.fps
        self._mux(self.stream.encode(self.palette(picture) if self.palette else picture))
        self.frames += 1
        if self.track:
            self.track.upto(float(self.frames / self.spec.fps))

    def close(self) -> None:
        """Flush the encoder, write the index, embed what has no tag of its own."""
        self._mux(self.stream.encode())
        if self.track:
            self.track.close()
        self.container.close()
        if self.codec.container == "webp":
            lasting = webp_lasting(self.path.read_bytes(), round(1000 * self.frames / self.spec.fps))
            self.path.write_bytes(lasting)
        if self.codec.container == "apng":
            self.path.write_bytes(apng_lasting(self.path.read_bytes(), self.spec.fps))
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
