"""The frames of a video that is there, as they are to be written anew: cut, joined to others, at another rate or speed.

Nothing is decoded before it is asked for, and one frame at a time is in memory, those of a cross-fade beside it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from framepack.files.errors import MediaError
from framepack.media.credentials import has_credentials, lost
from framepack.media.losses import losses
from framepack.media.pace import pace_of
from framepack.media.read import VideoInfo, probe, read_video
from framepack.media.retime import retimed
from framepack.media.sinks import Frame, WideFrame
from framepack.media.sound import Sound, has_sound, opened, picture_begins
from framepack.media.source import Source, name_of
from framepack.spec.finish import SOUNDING, FileFinish
from framepack.spec.formats import FORMATS
from framepack.spec.output import FileCoding
from framepack.spec.rates import exact_factor, exact_rate, resampled_count


@dataclass(frozen=True, kw_only=True)
class Footage:
    """What a video's frames will be: their number, size and rate before the steps, and its sound.

    `read` yields them, (H, W, 3) each: uint8, or, asked for wide ones, float32 in 0..1.
    """

    frames: int
    size: tuple[int, int]
    fps: Fraction
    read: Callable[[bool], Iterator[Any]]
    sound: Sound | None = None
    notices: tuple[str, ...] = ()


def footage_of(file: Source, finish: FileFinish, output: FileCoding, again: Source | None = None) -> Footage:
    """The frames of `file`, cut, and of what is joined to it, at the rate and speed of `output`.

    again: the same file opened once more, for its sound, where `file` is an open one. MediaError for what cannot be
    read or does not fit.
    """
    info, uneven = paced(file)
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
    played, fps = info.fps * exact_factor(output.speed), rate_of(info, output)

    def read(wide: bool) -> Iterator[Any]:
        stop = None if kept.stop == info.frames else kept.stop  # only at its end a file is seen to be cut off
        own = read_video(file, fps=info.fps if uneven else None, whole=True, wide=wide)
        parts = [islice(own, kept.start, stop)]
        parts += [read_video(other, fps=info.fps, whole=True, wide=wide) for other, _ in others]
        return retimed(joined(parts, fade), played, fps, output.fps_mode)

    sound, notices = sound_of(file if again is None else again, finish, float(kept.start / info.fps), output)
    notices += [sentence for other in (file, *finish.join) for sentence in losses(other)]
    notices += [
        lost(other, "only those of the first video do; begin with it, or run framepack sign on the new file")
        for other in finish.join
        if has_credentials(other)
    ]
    if uneven:
        notices.append(
            f"the frames of {name_of(file)} last unequally long: {float(info.fps):.5g} of them are read a second"
        )
    if output.fps is None and fps != info.fps:
        notices.append(
            f"{name_of(file)} has {float(info.fps):.5g} frames a second: the new file gets {float(fps):.5g}, "
            f"as {output.format} has 1 to {FORMATS[output.format].most_fps}"
        )
    total = resampled_count(sum(counts) - fade * len(others), played, fps)
    size = info.width, info.height
    return Footage(frames=total, size=size, fps=fps, read=read, sound=sound, notices=tuple(notices))


def paced(file: Source) -> tuple[VideoInfo, bool]:
    """What is in a video, and whether its frames are to be read by their times, as they do not last equally long."""
    info = probe(file)
    pace = pace_of(file, info)
    return (pace.of(info), True) if pace else (info, False)


def rate_of(info: VideoInfo, output: FileCoding) -> Fraction:
    """Frames a second of the new file: the one that is asked for, else the source's as far as the format has it."""
    most = Fraction(FORMATS[output.format].most_fps)
    return max(min(info.fps, most), Fraction(1)) if output.fps is None else exact_rate(output.fps)


def joined_info(other: Path, file: Source, info: VideoInfo) -> tuple[Path, int]:
    """A video that follows, and its number of frames at the first one's rate. MediaError for another size."""
    found, uneven = paced(other)
    if (found.width, found.height) != (info.width, info.height):
        raise MediaError(
            f"'{other}' is {found.width}x{found.height}, {name_of(file)} {info.width}x{info.height}: "
            "videos that are joined have one size"
        )
    same = found.fps == info.fps and not uneven
    return other, found.frames if same else sum(1 for _ in read_video(other, fps=info.fps))


def sound_of(file: Source, finish: FileFinish, start: float, output: FileCoding) -> tuple[Sound | None, list[str]]:
    """The sound that is asked for, else the file's own; why it is lost where it cannot go along."""
    if finish.audio is not None:
        with opened(finish.audio):
            return Sound(file=finish.audio), []
    if not has_sound(file):
        return None, []
    lost = ""
    if output.format not in SOUNDING:
        lost = f"{output.format} has none"
    elif finish.join:
        lost = "others are joined to it: give one with audio"
    elif output.speed != 1:
        lost = "the picture plays at another speed: give one with audio"
    if lost:
        return None, [f"the sound of {name_of(file)} is left out, as {lost}"]
    return Sound(file=file, start=start, origin=picture_begins(file)), []


def joined(parts: list[Iterator[Any]], fade: int) -> Iterator[Any]:
    """The frames of all parts one after another, the last `fade` of each mixed with the first of the next."""
    tail: deque[Frame | WideFrame] = deque()
    for number, part in enumerate(parts):
        for place, frame in enumerate(part):
            mixed = frame
            if number and place < fade:
                share = (place + 1) / (fade + 1)
                mixed = mixed_as(frame, tail.popleft() * (1 - share) + frame * share)
            tail.append(mixed)
            if len(tail) > fade:
                yield tail.popleft()
    yield from tail


def mixed_as(frame: Frame | WideFrame, mixed: np.ndarray) -> Frame | WideFrame:
    """A mix in the numbers that `frame` has."""
    return np.rint(mixed).astype(np.uint8) if frame.dtype == np.uint8 else mixed.astype(np.float32)
