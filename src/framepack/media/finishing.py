"""A finished video once more, with steps done to its frames: cut, joined, filtered, enlarged, encoded once.

A generator, frame after frame: memory does not grow with the video, closing it leaves nothing, and a file appears whole
or not at all. A network that enlarges comes as a function, as this room has no torch.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from framepack.files.errors import MediaError
from framepack.media.filters import filtered, filters_after, filters_before, reach_of, scaled, steadied
from framepack.media.footage import Footage, footage_of
from framepack.media.marks import carried, is_made_by_ai, wanted
from framepack.media.sinks import Frame
from framepack.media.sound import opened
from framepack.media.source import Source, open_source
from framepack.media.video import VideoWriter
from framepack.spec.finish import FileFinish, Finish, check_sound
from framepack.spec.formats import CODECS
from framepack.spec.output import Compression, FileCoding

Enlarge = Callable[[Frame], Frame]
"""(H, W, 3) uint8 to a whole multiple of it."""
FINISH = "finish"
"""Key in a video's metadata, beside its request: what was done to it afterwards, one entry a time."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How many frames are written, of how many."""

    frames: int
    total: int


def check_steps(finish: Finish) -> None:
    """MediaError where a file that the steps need is missing or no such file; before any work."""
    if finish.audio is not None:
        with opened(finish.audio):
            pass
    if finish.network is not None:
        with open_source(finish.network):
            pass
    if finish.lut is not None:
        black = np.zeros((32, 32, 3), np.uint8)
        list(filtered([black], filters_after(Finish(lut=finish.lut)), Fraction(30)))


def final_size(finish: Finish, size: tuple[int, int], codec: str) -> tuple[int, int]:
    """(width, height) after the steps; even where the codec, a key of CODECS, needs it."""
    if finish.enlarge == 1:
        return size
    step = 2 if CODECS[codec].even else 1
    width, height = (max(round(side * finish.enlarge / step), 1) * step for side in size)
    return width, height


def even_size(size: tuple[int, int], codec: str) -> tuple[int, int]:
    """(width, height), each a pixel more where the codec, a key of CODECS, needs it even."""
    width, height = size
    return (width + width % 2, height + height % 2) if CODECS[codec].even else size


def said_before(source: Footage, finish: Finish, output: Compression) -> Iterator[str]:
    """What whoever has a file finished is told before: what its frames lose, and that they grow by a pixel."""
    yield from source.notices
    width, height = size = final_size(finish, source.size, output.codec_name)
    if (shown := even_size(size, output.codec_name)) != size:
        yield (
            f"{output.codec_name} needs even sides: {width}x{height} becomes {shown[0]}x{shown[1]}, the last column "
            "or row shown twice; mkv keeps the size"
        )


def on_even_sides(frame: Frame, size: tuple[int, int]) -> Frame:
    """A frame with its last column and row once more, where (width, height) is a pixel more than it has."""
    height, width = frame.shape[:2]
    grown = ((0, size[1] - height), (0, size[0] - width), (0, 0))
    return frame if (width, height) == size else np.pad(frame, grown, mode="edge")


def finished(
    frames: Iterable[Frame],
    finish: Finish,
    fps: Fraction,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    enlarge: Enlarge | None = None,
) -> Iterator[Frame]:
    """`frames` with all steps done. sizes: (width, height) before and after. enlarge: the network's work."""
    before, after = sizes
    done = steadied(frames, filters_before(finish), fps, reach_of(finish))
    if enlarge is not None and after != before:
        done = map(enlarge, done)
    resized = resize(done, after, fps) if after != before else done
    return filtered(resized, filters_after(finish), fps)


def resize(frames: Iterable[Frame], size: tuple[int, int], fps: Fraction) -> Iterator[Frame]:
    """`frames` at (width, height), by Lanczos; untouched where they have it."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    whole = iter_with(first, frames)
    yield from whole if first.shape[:2] == size[::-1] else filtered(whole, scaled(size), fps)


def iter_with(first: Frame, others: Iterator[Frame]) -> Iterator[Frame]:
    """One frame, then the others."""
    yield first
    yield from others


def touches(finish: Finish) -> bool:
    """Whether a step changes what is in the frames; those that do compute in 8 bits a colour."""
    return finish.enlarge != 1 or bool(filters_before(finish) or filters_after(finish))


def write_finished(
    source: Footage,
    finish: Finish,
    path: Path,
    *,
    output: Compression,
    metadata: str | None,
    enlarge: Enlarge | None = None,
    alone: bool = False,
) -> Generator[Progress]:
    """Do the steps and write `path`, saying after each frame how far it is. Closing it leaves nothing of the file.

    output: the file's format and compression. ValueError for sound in a format that has none, MediaError for damage,
    DiskFullError.
    """
    check_sound(finish, output.format)
    sizes = source.size, final_size(finish, source.size, output.codec_name)
    shown = even_size(sizes[1], output.codec_name)
    with VideoWriter(
        path,
        size=shown,
        fps=source.fps,
        format=output.format,
        quality=output.coding,
        metadata=metadata,
        alone=alone,
        sound=source.sound,
    ) as writer:
        frames = source.read(output.wide and not touches(finish))
        for number, frame in enumerate(finished(frames, finish, source.fps, sizes, enlarge), 1):
            writer.write(on_even_sides(frame, shown))
            yield Progress(frames=number, total=source.frames)
        if writer.frames_encoded != source.frames:
            raise MediaError(f"{writer.frames_encoded} frames were finished of {source.frames}, so nothing is kept")


def metadata_after(file: Source, finish: FileFinish, output: FileCoding) -> str | None:
    """What the result says: the file's own settings and steps, these, and the mark where any part has it."""
    settings: dict[str, Any] = json.loads(carried(file) or "{}")
    by_ai = any(is_made_by_ai(other) for other in (file, *finish.join))
    if not settings and not by_ai:
        return None
    said = finish.without_folders().model_dump(mode="json", exclude_defaults=True)
    said |= output.model_dump(mode="json", include={"fps", "fps_mode", "speed"}, exclude_defaults=True)
    earlier = settings.get(FINISH)
    after = {**settings, FINISH: [*(earlier if isinstance(earlier, list) else []), said]} if said else settings
    if by_ai and not wanted(json.dumps(after)):
        after["mark"] = True
    return json.dumps(after)


def write_anew(file: Path, target: Path, output: FileCoding) -> None:
    """The frames and the sound of `file` in another format, rate or speed, with the settings and the mark it has."""
    nothing = FileFinish()
    footage, metadata = footage_of(file, nothing, output), metadata_after(file, nothing, output)
    for _ in write_finished(footage, nothing, target, output=output, metadata=metadata):
        pass


def finish_open_file(
    file: BinaryIO,
    again: BinaryIO,
    target: Path,
    output: FileCoding,
    finish: FileFinish,
    enlarge: Enlarge | None = None,
) -> Generator[Progress | str]:
    """Finish an open file; yields notices, and how far it is. again: the same, opened once more, for its sound."""
    footage, metadata = footage_of(file, finish, output, again), metadata_after(file, finish, output)
    yield from said_before(footage, finish, output)
    yield from write_finished(footage, finish, target, output=output, metadata=metadata, enlarge=enlarge, alone=True)
