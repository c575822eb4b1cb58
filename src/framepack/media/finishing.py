"""A finished video once more, with steps done to its frames: cut, joined, filtered, enlarged, encoded once.

A generator, frame after frame: memory does not grow with the video, closing it leaves nothing, and a file appears whole
or not at all. A network that enlarges comes as a function, as this room has no torch.
"""

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from framepack.files.errors import MediaError
from framepack.media.convert import carried
from framepack.media.filters import filtered, filters_after, filters_before, reach_of, scaled, steadied
from framepack.media.marks import is_made_by_ai, wanted
from framepack.media.read import VideoInfo, probe, read_video
from framepack.media.sinks import Frame
from framepack.media.sound import Sound, has_sound, opened
from framepack.media.source import Source, name_of, open_source
from framepack.media.video import VideoWriter
from framepack.spec.finish import FileFinish, Finish, check_sound
from framepack.spec.formats import CODECS, Coding, codec_of

Enlarge = Callable[[Frame], Frame]
"""(H, W, 3) uint8 to a whole multiple of it."""
FINISH = "finish"
"""Key in a video's metadata, beside its request: what was done to it afterwards, one entry a time."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How many frames are written, of how many."""

    frames: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Footage:
    """What a video's frames will be: their number, size and rate before the steps, and its sound."""

    frames: int
    size: tuple[int, int]
    fps: Fraction
    read: Callable[[], Iterator[Frame]]
    sound: Sound | None = None
    notices: tuple[str, ...] = ()


def footage_of(file: Source, finish: FileFinish, again: Source | None = None) -> Footage:
    """The frames of `file`, cut, and of what is joined to it. MediaError for what cannot be read or does not fit.

    again: the same file opened once more, for its sound, where `file` is an open one.
    """
    info = probe(file)
    end = info.frames if finish.end is None else min(round(finish.end * info.fps), info.frames)
    kept = range(round(finish.start * info.fps), end)
    if not kept:
        raise MediaError(
            f"{name_of(file)} lasts {info.duration:.2f} s, so nothing of it is left: choose another start or end"
        )
    others = [joined_info(other, file, info) for other in finish.join]
    fade = round(finish.fade * info.fps)
    counts = [len(kept), *(count for _, count in others)]
    if fade and min(counts) < fade * (2 if len(counts) > 2 else 1):
        raise MediaError(f"a fade of {finish.fade:g} s is longer than one of the videos: shorten it")

    def read() -> Iterator[Frame]:
        stop = None if kept.stop == info.frames else kept.stop  # only at its end a file is seen to be cut off
        parts = [islice(read_video(file, whole=True), kept.start, stop)]
        parts += [read_video(other, fps=info.fps, whole=True) for other, _ in others]
        return joined(parts, fade)

    sound, notices = sound_of(file if again is None else again, finish, kept, info)
    total = sum(counts) - fade * len(others)
    return Footage(
        frames=total, size=(info.width, info.height), fps=info.fps, read=read, sound=sound, notices=tuple(notices)
    )


def joined_info(other: Path, file: Source, info: VideoInfo) -> tuple[Path, int]:
    """A video that follows, and its number of frames at the first one's rate. MediaError for another size."""
    found = probe(other)
    if (found.width, found.height) != (info.width, info.height):
        raise MediaError(
            f"'{other}' is {found.width}x{found.height}, {name_of(file)} {info.width}x{info.height}: "
            "videos that are joined have one size"
        )
    same = found.fps == info.fps
    return other, found.frames if same else sum(1 for _ in read_video(other, fps=info.fps))


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


def sound_of(file: Source, finish: FileFinish, kept: range, info: VideoInfo) -> tuple[Sound | None, list[str]]:
    """The sound that is asked for, else the file's own; it is lost where others are joined, with a notice."""
    if finish.audio is not None:
        with opened(finish.audio):
            return Sound(file=finish.audio), []
    if not has_sound(file):
        return None, []
    if finish.join:
        return None, [f"the sound of {name_of(file)} is left out, as others are joined to it: give one with audio"]
    return Sound(file=file, start=float(kept.start / info.fps)), []


def joined(parts: list[Iterator[Frame]], fade: int) -> Iterator[Frame]:
    """The frames of all parts one after another, the last `fade` of each mixed with the first of the next."""
    tail: deque[Frame] = deque()
    for number, part in enumerate(parts):
        for place, frame in enumerate(part):
            mixed = frame
            if number and place < fade:
                share = (place + 1) / (fade + 1)
                before = tail.popleft()
                mixed = np.rint(before * (1 - share) + frame * share).astype(np.uint8)
            tail.append(mixed)
            if len(tail) > fade:
                yield tail.popleft()
    yield from tail


def final_size(finish: Finish, size: tuple[int, int], format_: str, coding: Coding) -> tuple[int, int]:
    """(width, height) after the steps; even where the format needs it."""
    if finish.enlarge == 1:
        return size
    step = 2 if CODECS[codec_of(format_, coding.codec)].even else 1
    width, height = (max(round(side * finish.enlarge / step), 1) * step for side in size)
    return width, height


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


def write_finished(
    source: Footage,
    finish: Finish,
    path: Path,
    *,
    format_: str,
    coding: Coding,
    metadata: str | None,
    enlarge: Enlarge | None = None,
    alone: bool = False,
) -> Generator[Progress]:
    """Do the steps and write `path`, saying after each frame how far it is. Closing it leaves nothing of the file.

    ValueError for sound in a format that has none, MediaError for damage, DiskFullError.
    """
    check_sound(finish, format_)
    sizes = source.size, final_size(finish, source.size, format_, coding)
    with VideoWriter(
        path,
        size=sizes[1],
        fps=source.fps,
        format=format_,
        quality=coding,
        metadata=metadata,
        alone=alone,
        sound=source.sound,
    ) as writer:
        for number, frame in enumerate(finished(source.read(), finish, source.fps, sizes, enlarge), 1):
            writer.write(frame)
            yield Progress(frames=number, total=source.frames)
        if writer.frames_encoded != source.frames:
            raise MediaError(f"{writer.frames_encoded} frames were finished of {source.frames}, so nothing is kept")


def metadata_after(file: Source, finish: FileFinish) -> str | None:
    """What the result says: the file's own settings and steps, these, and the mark where any part has it."""
    settings: dict[str, Any] = json.loads(carried(file) or "{}")
    by_ai = any(is_made_by_ai(other) for other in (file, *finish.join))
    if not settings and not by_ai:
        return None
    said = finish.without_folders().model_dump(mode="json", exclude_defaults=True)
    earlier = settings.get(FINISH)
    after = {**settings, FINISH: [*(earlier if isinstance(earlier, list) else []), said]}
    if by_ai and not wanted(json.dumps(after)):
        after["mark"] = True
    return json.dumps(after)


def finish_open_file(
    file: BinaryIO, again: BinaryIO, target: Path, format_: str, coding: Coding, steps: dict[str, Any]
) -> int:
    """Finish an open file; returns the number of frames. again: the same, opened once more, for its sound."""
    finish = FileFinish.model_validate(steps)
    footage, metadata = footage_of(file, finish, again), metadata_after(file, finish)
    for _ in write_finished(footage, finish, target, format_=format_, coding=coding, metadata=metadata, alone=True):
        pass
    return footage.frames
