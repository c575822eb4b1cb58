"""Videos out: a writer that encodes each frame once and shows nothing half-written. The formats are `spec.formats`'.

Knows nothing of sections; joining files is `join`, reading them `read`.
"""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from framepack.files.atomic import AtomicFile, AtomicFolder
from framepack.media.archive import is_ours
from framepack.media.codecs import WRITERS
from framepack.media.metadata import check_metadata
from framepack.media.read import require_frames
from framepack.media.sinks import Frame, SinkSpec, WideFrame
from framepack.media.sound import Sound
from framepack.spec.formats import (
    FORMATS,
    SUFFIXES,
    Coding,
    check_coding,
    check_format,
    check_fps,
    check_size,
    codec_of,
)
from framepack.spec.output import is_folder


def format_of(path: Path) -> str:
    """The name of the format that `path`'s suffix asks for. Raises ValueError when there is none."""
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        known = ", ".join(SUFFIXES)
        raise ValueError(f"no video format has the suffix {path.suffix!r} of '{path.name}': use one of {known}")
    return found[0]


class VideoWriter:
    """Encodes frames into `path` as they come; the file appears when it is complete, and never before.

    `size` is (width, height); `quality` x264's crf, 1 (best) to 51, or a Coding with a codec of the format; `format` a
    key of FORMATS, by default that of the suffix; `metadata` a JSON object as text. A sequence whose name has no suffix
    becomes a folder. `alone`: this process encodes no other video. `sound`: what it sounds like. An error inside the
    `with` block discards the file, as does a finished one that does not hold all frames.
    Raises ValueError for what cannot be encoded, DiskFullError when the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        fps: Fraction | float = 30,
        format: str | None = None,  # noqa: A002
        quality: int | Coding = 16,
        metadata: str | None = None,
        alone: bool = False,
        sound: Sound | None = None,
    ) -> None:
        path = Path(path)
        form = check_format(format or format_of(path))
        coding = Coding(crf=quality) if isinstance(quality, int) else quality
        codec = codec_of(form, coding.codec)
        self.wide = check_coding(form, coding).wide
        self.width, self.height = check_size(size, codec)
        if metadata is not None:
            check_metadata(metadata)
        self.path, self.fps, self.frames_encoded = path, check_fps(fps, FORMATS[form].most_fps), 0
        folder = is_folder(path, form)
        spec = SinkSpec(
            width=self.width,
            height=self.height,
            fps=self.fps,
            form=form,
            coding=coding,
            metadata=metadata,
            folder=folder,
            alone=alone,
            sound=sound,
        )
        self.file = AtomicFolder(path, ours=is_ours) if folder else AtomicFile(path)
        with self.file.guard():
            self.sink = WRITERS[form, codec](self.file.temporary, spec)
        self.open = True

    def write(self, frames: Frame | WideFrame) -> None:
        """Encode `frames`: (T, H, W, 3) or one (H, W, 3), uint8 RGB; where the codec is wide, or float32 0..1."""
        if not self.open:
            raise ValueError(f"'{self.path}' is closed: open a new VideoWriter")
        frames = frames[None] if frames.ndim == 3 else frames
        kinds = ("uint8", "float32") if self.wide else ("uint8",)
        if frames.dtype.name not in kinds or frames.shape[1:] != (self.height, self.width, 3):
            raise ValueError(
                f"frames must be {' or '.join(kinds)} (T, {self.height}, {self.width}, 3), "
                f"got {frames.dtype} {frames.shape}: the size was fixed when the file was opened"
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
