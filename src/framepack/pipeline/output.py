"""From settled frames to the file: each frame is encoded once, and what exists is joined without encoding again.

The work folder holds a file of settled frames for each section; beside the request's name, a file with `.part` before
its suffix plays all frames so far. That is written less often as it grows, so that a section's work does not grow with
the video. What cannot be joined by copying (gif, webp, pictures, most codecs, frames blended or
moved to another rate) grows losslessly, in 16 bits where the file holds more than 8, and is encoded once at the end.
Knows frames and files, no latents.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from framepack.files.atomic import make_folder, require_space, require_writable, sweep_parts
from framepack.files.errors import MediaError
from framepack.media.join import Segment, join_segments, joined_frames, scan_segment
from framepack.media.read import read_video
from framepack.media.retime import retimed
from framepack.media.sheet import save_png
from framepack.media.timing import resample_fps
from framepack.media.video import VideoWriter
from framepack.pipeline.beside import NOTHING, Beside, Clips, sounding
from framepack.pipeline.output_file import (
    dated_name,
    is_made_of,
    kept_as,
    metadata_of,
    part_of,
    put_aside,
    require_place,
)
from framepack.pipeline.seal import DamagedError, sum_of
from framepack.pipeline.section_store import SectionStore
from framepack.spec.formats import FORMATS
from framepack.spec.plan import SectionPlan, final_frames
from framepack.spec.rates import resampled_count
from framepack.spec.request import GenerationRequest

AGAIN = "with a work folder (--work), the same job makes it again from the finished sections"
OTHERS_WRITE = 600.0
"""Seconds for which a temporary file of this name is another run's that may be at work on it."""
SMALL, SHARE = 2**20, 1 / 50
"""Bytes of a part that is written after each section; what a larger one may take of the work since the last time."""
LEAST_FREE = 16 * 1024**2
"""Bytes that must be free before a job begins."""


class VideoOutput:
    """The files of one job. `frames_encoded` counts the encoder's work, provisional tails included."""

    def __init__(
        self,
        request: GenerationRequest,
        path: Path,
        folder: SectionStore,
        sections: tuple[SectionPlan, ...],
        clips: Clips = NOTHING,
    ) -> None:
        self.settings, self.still = request.output, request.still is not None
        self.path = path
        self.keeping = kept_as(request)
        self.suffix = FORMATS[self.keeping.format].suffix
        self.part = part_of(path, request)
        self.folder = folder
        self.backward = sections[0].direction == "backward"
        self.beside = Beside(clips, sections, request.frame_count)
        before = self.beside.before
        self.settled = [range(before + part.start, before + part.stop) for part in final_frames(sections)]
        self.rate = request.output.played(request.geometry.fps)
        """at which the model's frames, and a source's, go by in the file"""
        self.frames = before + request.frame_count
        """frames of the model's rate up to the new part's last; what was made behind them is dropped"""
        self.request = request
        self.metadata = metadata_of(request, before)
        self.frames_encoded = 0
        self.pieces: dict[int, Segment] = {}
        """by section, the files of settled frames as this run has written or checked them"""
        self.sums: dict[int, str] = {}
        """their SHA-256"""
        self.shown, self.shown_at, self.behind = 0, 0.0, False
        """frames in the part, when it was written, and whether there are more by now"""
        self.pace = 0.0
        """seconds that a byte of it took"""
        self.kept: Path | None = None
        """what another run had left under the part's name, under its new one"""

    @classmethod
    @contextmanager
    def open(
        cls,
        request: GenerationRequest,
        outputs: Path,
        folder: SectionStore,
        sections: tuple[SectionPlan, ...],
        clips: Clips = NOTHING,
    ) -> "Iterator[VideoOutput]":
        """Choose the file's name and see that it can be written. Whatever ends the block early, the part stays.

        The part of another run gets another name. Raises ValueError for a folder, a file that may not be replaced and
        one the video is made from, OSError (DiskFullError) where nothing can be written.
        """
        before = folder.output()
        path = request.output.path or before or dated_name(request, outputs)
        own = before == path.absolute() or (folder.lost_output and is_made_of(path, request))
        require_place(path, request, own=own)
        make_folder(path.parent)
        require_space(path, LEAST_FREE)
        output = cls(request, path, folder, sections, clips)
        require_writable(output.part)
        sweep_parts(path.parent, unwritten=0 if own else OTHERS_WRITE, names={path.name, output.part.name})
        if not own or not folder.finished():
            output.kept = put_aside(output.part)
        folder.remember_output(path)
        try:
            yield output
        finally:
            if output.part.exists() and not output.part.stat().st_size:
                output.part.unlink()
            elif output.part.exists() and output.behind:
                with suppress(OSError, MediaError):  # what ended the block is what is said; the part before plays
                    output.join(output.in_order(), output.part, draft=True)

    def lost(self, sums: Sequence[str]) -> str:
        """Why the frames that settle with the first sections are not all in their files, of these SHA-256.

        Empty where they are. Such files are used from now on, and no others.
        """
        said = next(filter(None, (self._lost(index, settled) for index, settled in enumerate(sums))), "")
        if said:
            self.pieces, self.sums = {}, {}
        return said

    def _lost(self, index: int, settled: str) -> str:
        planned, file = self.planned(range(index, index + 1)), self.piece(index)
        if not planned:
            return ""
        if not settled:
            return f"{file.name} was written by a version without checksums"
        try:
            if sum_of(file) != settled:
                return f"{file.name} is damaged"
            segment = scan_segment(file, self.keeping.fps)
        except (DamagedError, MediaError) as error:
            return str(error)
        if segment.frames != planned:
            return f"{file.name} has {segment.frames} frames of {planned}"
        self.pieces[index], self.sums[index] = segment, settled
        return ""

    def planned(self, sections: range) -> int:
        """How many frames settle with these sections."""
        settled = [range(s.start, min(s.stop, self.frames)) for s in self.settled[sections.start : sections.stop]]
        settled += [source.place for index in sections for source in self.beside.at(index)]
        return sum(resampled_count(len(s), self.rate, self.keeping.fps, start=s.start) for s in settled)

    def write(self, index: int, frames: np.ndarray) -> None:
        """Encode section `index`'s settled frames once, into a file of their own.

        (T, H, W, 3): uint8, or float32 in 0..1 where the request's file is wide.
        """
        first = self.settled[index].start
        new = self.encode(self.folder.path / f"new{self.suffix}", frames[: max(self.frames - first, 0)], first)
        for source in self.beside.at(index):
            file = self.folder.path / f"{source.side}{self.suffix}"
            encoded = self.encode(file, source.clip, source.place.start)
            new = [*encoded, *new] if source.side == "before" else [*new, *encoded]
        if new:
            self.pieces[index] = self.join(new, self.piece(index))
            self.sums[index] = sum_of(self.piece(index))
        for file in new:
            file.unlink(missing_ok=True)

    def publish(self, index: int, provisional: np.ndarray) -> tuple[Path | None, int]:
        """Make all frames up to section `index` playable; return the file and its frames, None and 0 while empty.

        The provisional frames are its tail, if the request wants a live file: they will be encoded again once they are
        blended. A large file that was written lately stays as it is.
        """
        size = sum(piece.path.stat().st_size for piece in self.pieces.values())
        began = time.monotonic()
        if self.shown and size > SMALL and size * self.pace > SHARE * (began - self.shown_at):
            self.behind = True
            return self.part, self.shown
        tail: list[Path] = []
        if self.settings.live and len(provisional):
            edge = self.settled[index]
            first = edge.start - len(provisional) if self.backward else edge.stop
            shown = provisional[: max(self.frames - first, 0)]
            tail = self.encode(self.folder.path / f"tail{self.suffix}", shown, first)
        self.require_unchanged()
        if pieces := self.in_order(tail):
            self.shown = self.join(pieces, self.part, draft=True).frames
            self.shown_at, self.behind = time.monotonic(), False
            self.pace = (self.shown_at - began) / max(size, 1)
        for file in tail:
            file.unlink()
        return (self.part, self.shown) if self.shown else (None, 0)

    def finish(self) -> tuple[Path, int]:
        """Give the settled frames their final name, metadata and format; return the file and the frame count.

        Raises ValueError rather than to publish fewer frames than were planned, or others.
        """
        settled = self.all_settled()
        if self.still:
            picture, *_ = read_video(settled[0].path)  # more of them at another rate or speed, all alike
            save_png(self.path, picture, self.metadata)
            frames = 1
        else:
            with sounding(self.request, self.beside, self.path, self.folder.path, self.metadata) as file:
                frames = self.copied(settled, file) if self.keeping.copies else self.encoded(settled, file)
        self.part.unlink(missing_ok=True)
        return self.path, frames

    def copied(self, settled: list[Segment], file: Path) -> int:
        """Copy the settled frames to `file`; return their number."""
        return join_segments(
            settled,
            file,
            metadata=self.metadata,
            fps=self.settings.fps,
            format=self.settings.format,
            quality=self.settings.coding,
        ).frames

    def encoded(self, settled: list[Segment], file: Path) -> int:
        """Encode the settled frames at the file's rate into `file`; return their number."""
        frames = joined_frames(settled, wide=self.settings.wide)
        with VideoWriter(
            file,
            size=settled[0].size,
            fps=self.settings.fps,
            format=self.settings.format,
            quality=self.settings.coding,
            metadata=self.metadata,
        ) as writer:
            for frame in retimed(frames, self.keeping.fps, self.settings.fps, self.settings.fps_mode):
                writer.write(frame)
        return writer.frames_encoded

    def all_settled(self) -> list[Segment]:
        """The files of all frames in the order of time.

        ValueError where they have not those that were planned, DamagedError where they are not what was written.
        """
        planned, settled = self.planned(range(len(self.settled))), self.in_order()
        if sum(piece.frames for piece in settled) != planned:
            raise ValueError(f"the files of finished frames do not hold the {planned} that were planned; {AGAIN}")
        self.require_unchanged()
        return settled

    def require_unchanged(self) -> None:
        """Raises DamagedError where a file of settled frames is not what this run has written or checked."""
        for index, piece in self.pieces.items():
            if sum_of(piece.path) != self.sums[index]:
                raise DamagedError(f"{piece.path} was changed while the job ran; {AGAIN}")

    def encode(self, file: Path, frames: Iterable[np.ndarray], first: int) -> list[Path]:
        """Encode frames from the video's frame `first` on, at the output's rate: [file], or [] where none falls in."""
        wanted = resample_fps(frames, self.rate, self.keeping.fps, start=first)
        if (frame := next(wanted, None)) is None:
            return []
        height, width = frame.shape[:2]
        with VideoWriter(
            file, fps=self.keeping.fps, size=(width, height), format=self.keeping.format, quality=self.keeping.coding
        ) as writer:
            for one in itertools.chain([frame], wanted):
                writer.write(one)
        self.frames_encoded += writer.frames_encoded
        return [file]

    def join(self, pieces: Sequence[Path | Segment], file: Path, *, draft: bool = False) -> Segment:
        """Copy the frames of `pieces` into `file`."""
        return join_segments(
            pieces,
            file,
            metadata=self.metadata,
            fps=self.keeping.fps,
            format=self.keeping.format,
            quality=self.keeping.coding,
            draft=draft,
        )

    def piece(self, index: int) -> Path:
        """Where the frames are that settle with section `index`."""
        return self.folder.path / f"settled-{index:04d}{self.suffix}"

    def in_order(self, tail: Sequence[Path] = ()) -> list[Any]:
        """The files of settled frames in the order of time, and `tail` at their growing edge."""
        made = [*(piece for _, piece in sorted(self.pieces.items())), *tail]
        return made[::-1] if self.backward else made
