"""From settled frames to the file: each section's frames are encoded once as a segment, and segments are joined.

The file that plays while the job runs has `.part` before its suffix; the finished one takes the request's name. Formats
that cannot be joined by copying (gif, webp, png) keep lossless segments and are encoded once at the end.
Knows frames and files, no latents.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np

from framepack import __version__
from framepack.media.join import join_segments
from framepack.media.video import FORMATS, VideoWriter
from framepack.pipeline.work import WorkFolder
from framepack.spec.plan import SectionPlan, settled_frames
from framepack.spec.request import GenerationRequest
from framepack.spec.shapes import FPS


class VideoOutput:
    """Segments of one job and the files joined from them."""

    def __init__(
        self, request: GenerationRequest, path: Path, folder: WorkFolder, sections: tuple[SectionPlan, ...]
    ) -> None:
        self.settings = request.output
        self.path = path
        self.kept_as = FORMATS[request.output.format].segments
        self.part = path.with_name(f"{path.stem}.part{FORMATS[self.kept_as].suffix}")
        self.folder = folder
        self.backward = sections[0].grows == "backward"
        self.settled = settled_frames(sections)
        self.metadata = json.dumps({"framepack": __version__, "request": request.model_dump(mode="json")})
        self.sources = resample(sum(map(len, self.settled)), self.settings.fps)
        self.frames_encoded = 0

    @classmethod
    @contextmanager
    def open(
        cls, request: GenerationRequest, outputs: Path, folder: WorkFolder, sections: tuple[SectionPlan, ...]
    ) -> "Iterator[VideoOutput]":
        """Choose the file's name. Whatever ends the block early, the playable part stays."""
        path = request.output.path or dated_name(request, outputs)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield cls(request, path, folder, sections)

    def write(self, index: int, frames: np.ndarray) -> None:
        """Encode section `index`'s settled frames, uint8 (T, H, W, 3), once and for all."""
        first = self.settled[index].start
        self.encode(self.segment(index), frames, first)

    def publish(self, index: int, unsettled: np.ndarray) -> tuple[Path | None, int]:
        """Make all frames up to section `index` playable; return the file, None while it would be empty, and its frames.

        The unsettled frames are part of it only if the request wants a live file, or if there is nothing else.
        """
        segments = self.segments(index)
        tail = self.segment(len(self.settled))
        if len(unsettled) and (self.settings.live or not segments):
            edge = self.settled[index]
            first = edge.start - len(unsettled) if self.backward else edge.stop
            if self.encode(tail, unsettled, first):
                segments = [tail, *segments] if self.backward else [*segments, tail]
        if not segments:
            return None, 0
        frames = join_segments(segments, self.part, metadata=self.metadata)
        tail.unlink(missing_ok=True)
        return self.part, frames

    def finish(self) -> tuple[Path, int]:
        """Join all segments under the final name; return it and the frame count."""
        frames = join_segments(
            self.segments(len(self.settled) - 1),
            self.path,
            metadata=self.metadata,
            format=self.settings.format,
            quality=self.settings.crf,
        )
        self.part.unlink(missing_ok=True)
        return self.path, frames

    def encode(self, file: Path, frames: np.ndarray, first: int) -> bool:
        """Encode frames that start at the video's frame `first`, at the output's rate; False where none falls in."""
        wanted = self.sources[(self.sources >= first) & (self.sources < first + len(frames))] - first
        if not len(wanted):
            return False
        height, width = frames.shape[1:3]
        with VideoWriter(
            file, fps=self.settings.fps, size=(width, height), format=self.kept_as, quality=self.settings.crf
        ) as writer:
            writer.write(frames if len(wanted) == len(frames) else frames[wanted])
        self.frames_encoded += len(wanted)
        return True

    def segment(self, index: int) -> Path:
        """Where section `index`'s frames are."""
        return self.folder.segment(index, FORMATS[self.kept_as].suffix)

    def segments(self, index: int) -> list[Path]:
        """The segments up to section `index` in timeline order."""
        files = [self.segment(i) for i in range(index + 1) if self.segment(i).exists()]
        return files[::-1] if self.backward else files


def resample(frames: int, fps: float) -> np.ndarray:
    """For each frame of the output, the model's frame nearest in time: int64 (round(frames * fps / 30),)."""
    count = max(round(frames * fps / FPS), 1)
    return np.minimum(np.round(np.arange(count) * FPS / fps).astype(np.int64), frames - 1)


def dated_name(request: GenerationRequest, outputs: Path) -> Path:
    """A name no file has yet: the date, the time, the model."""
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{request.model}"
    suffix = FORMATS[request.output.format].suffix
    names = (outputs / f"{stem}{f'_{i}' if i else ''}{suffix}" for i in range(10_000))
    return next(name for name in names if not name.exists() and not list(outputs.glob(f"{name.stem}.part.*")))
