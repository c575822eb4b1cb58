"""Numbered pictures, `frame_000000` and so on, in a zip or a folder, for editors that take image sequences.

PNG as it is, 16-bit TIFF, or EXR, whose floats are scene-linear (BT.709 primaries). Beside the pictures lie
`request.json` and the mark; a zip's comment, in a folder `about.txt`, says the rate.
"""

import zipfile
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from framepack.media import marks
from framepack.media.archive import ABOUT, STEM
from framepack.media.image import encode_image
from framepack.media.metadata import ZIP_NAME
from framepack.media.sinks import Frame, SinkSpec, WideFrame, words_of
from framepack.media.tagged import exr_tagged, tiff_tagged
from framepack.spec.formats import PICTURE_SUFFIXES

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of a zip's entries: the earliest there is, rather than that of the writing."""


class SequenceSink:
    """A zip or folder of numbered pictures, `request.json` and the mark."""

    def __init__(self, path: Path, spec: SinkSpec) -> None:
        self.frames, self.suffix = 0, PICTURE_SUFFIXES[spec.form]
        marked = marks.wanted(spec.metadata)
        self.encode: Callable[[Any], bytes] = PICTURES[spec.form](spec, marked)
        self.store: ZipStore | FolderStore = (FolderStore if spec.folder else ZipStore)(path)
        self.store.about(f"{spec.fps} fps{f'; {marks.DESCRIPTION}' if marked else ''}")
        if spec.metadata is not None:
            self.store.add(ZIP_NAME, spec.metadata.encode())
        if marked:
            self.store.add(marks.ZIP_NAME, marks.XMP)

    def write(self, frame: Frame | WideFrame) -> None:
        """Add one (H, W, 3) frame."""
        self.store.add(f"{STEM}{self.frames:06d}{self.suffix}", self.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the zip."""
        self.store.close()

    def discard(self) -> None:
        """Let go of what there is without caring for it."""
        with suppress(OSError, ValueError):
            self.store.close()


class ZipStore:
    """Files in a zip, as they are."""

    def __init__(self, path: Path) -> None:
        self.archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def about(self, text: str) -> None:
        self.archive.comment = text.encode()

    def add(self, name: str, data: bytes) -> None:
        self.archive.writestr(zipfile.ZipInfo(name, EPOCH), data)

    def close(self) -> None:
        self.archive.close()


class FolderStore:
    """Files in a new folder."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path

    def about(self, text: str) -> None:
        self.add(ABOUT, f"{text}\n".encode())

    def add(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def close(self) -> None:
        pass


def png_encoder(spec: SinkSpec, marked: bool) -> Callable[[Frame], bytes]:
    """8-bit pictures as they are."""
    return lambda frame: marks.png_marked(encode_image(frame, "png")) if marked else encode_image(frame, "png")


def tiff_encoder(spec: SinkSpec, marked: bool) -> Callable[[Frame | WideFrame], bytes]:
    """16 bits a colour."""
    encoder = PictureEncoder("tiff", "rgb48le", spec, {"compression_algo": "deflate"})
    return lambda frame: tiff_tagged(encoder(words_of(frame)), marked=marked)


def exr_encoder(spec: SinkSpec, marked: bool) -> Callable[[Frame | WideFrame], bytes]:
    """Linear light, 32-bit floats."""
    encoder = PictureEncoder("exr", "gbrpf32le", spec, {"compression": "zip16", "format": "float"})
    return lambda frame: exr_tagged(encoder(linear(frame)), spec.height, spec.fps, marked=marked)


class PictureEncoder:
    """FFmpeg's encoder of single pictures: each array (H, W, 3) is a file of its own."""

    def __init__(self, name: str, pixels: str, spec: SinkSpec, options: dict[str, str]) -> None:
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = spec.width, spec.height, pixels
        context.time_base, context.thread_count, context.options = Fraction(1, 1000), 1, options
        self.context, self.pixels, self.frames = context, pixels, 0

    def __call__(self, array: np.ndarray) -> bytes:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=self.pixels)
        picture.pts, self.frames = self.frames, self.frames + 1
        (packet,) = self.context.encode(picture)
        return bytes(packet)


def linear(frame: Frame | WideFrame) -> WideFrame:
    """sRGB, as 8 bits or 0..1, to linear light; what lies below 0 is the curve's straight part (IEC 61966-2-1)."""
    shown = frame.astype(np.float64) / 255 if frame.dtype == np.uint8 else frame.astype(np.float64)
    curved = ((np.maximum(shown, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(shown <= 0.04045, shown / 12.92, curved).astype(np.float32)


PICTURES: dict[str, Callable[[SinkSpec, bool], Callable[[Any], bytes]]] = {
    "png": png_encoder,
    "tiff": tiff_encoder,
    "exr": exr_encoder,
}
"""What makes a sequence's frames into files."""
