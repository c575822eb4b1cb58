"""Frames out of a video: which there are, when each is shown, and single ones as PNG that say what they are.

A frame is named by its number, from 0 in the order shown, or by a second it is on screen at. What is saved is the
decoded frame to the bit, with its video's request and its place in it, and marked as made by AI where the video is.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from av.error import FFmpegError

from framepack.files.atomic import make_folder
from framepack.files.errors import MediaError
from framepack.media.image import ImageRGB
from framepack.media.marks import is_made_by_ai
from framepack.media.metadata import read_metadata
from framepack.media.pixels import pending, squared
from framepack.media.read import open_container, pending_frames, reading, timed_frames
from framepack.media.sheet import save_png
from framepack.media.source import Source, name_of
from framepack.media.tail import SEEKABLE

Which = int | Literal["first", "last"]
"""A frame's number, or one of the ends."""
ROUNDING = 0.001
"""Seconds that Matroska's times are rounded to."""


@dataclass(frozen=True, kw_only=True)
class Still:
    """One frame: `pixels` (H, W, 3) sRGB, its `number`, the `second` it appears at, and of how many it is one."""

    pixels: ImageRGB
    number: int
    second: float
    frames: int


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When each frame is shown, in seconds after the first; `stamps`: the container's own times, where it has any."""

    name: str
    starts: Sequence[float]
    end: float
    stamps: Sequence[int]

    def number(self, which: Which | None, at: float | None) -> int:
        """The frame's number. Raises MediaError where there is no such frame."""
        count = len(self.starts)
        if at is not None:
            if not 0 <= at < self.end:  # false for NaN too
                raise MediaError(
                    f"{self.name} lasts {self.end:.2f} s, so nothing is shown at {at:g} s: ask for a second from 0 to "
                    f"{self.starts[-1]:.2f}, or for the last frame"
                )
            return max(bisect_right(self.starts, at + ROUNDING) - 1, 0)
        number = {"first": 0, "last": count - 1}.get(which, which) if isinstance(which, str) else which
        if not isinstance(number, int) or not 0 <= number < count:
            raise MediaError(f"{self.name} has frames 0 to {count - 1}: there is no frame {which}")
        return number


def timeline(source: Source) -> Timeline:
    """Of all frames of a video, without decoding what need not be. Raises MediaError: not a video, damaged."""
    with reading(source) as (file, kind):
        if kind in SEEKABLE:
            starts, end, stamps = _demuxed(file)
        else:
            starts, stamps = [start for start, _ in timed_frames(file, kind)], []
            end = starts[-1] + (starts[-1] - starts[-2] if len(starts) > 1 else 1 / 30) if starts else 0.0
        if not starts:
            raise MediaError("it has no frames")
    return Timeline(name=name_of(source), starts=starts, end=end, stamps=stamps)


def still(source: Source, *, which: Which | None = None, at: float | None = None) -> Still:
    """The frame of a number, or one of the ends, or the one on screen `at` a second. Raises MediaError."""
    times = timeline(source)
    number = times.number(which, at)
    with reading(source) as (file, kind):
        pixels = _sought(file, times.stamps[number]) if kind in SEEKABLE and times.stamps else None
        if pixels is None:
            found = next(islice(pending_frames(file, kind, None), number, None), None)
            if found is None:
                raise MediaError(f"frame {number} is missing")
            pixels = found()
    return Still(pixels=pixels, number=number, second=times.starts[number], frames=len(times.starts))


def stills(source: Source, every: int) -> Iterator[Still]:
    """Every so manyth frame, from the first on; one at a time is in memory."""
    times = timeline(source)
    with reading(source) as (file, kind):
        for number, convert in enumerate(pending_frames(file, kind, None)):
            if number % every == 0 and number < len(times.starts):
                yield Still(pixels=convert(), number=number, second=times.starts[number], frames=len(times.starts))


def described(still: Still, name: str, settings: Mapping[str, Any] | None, *, by_ai: bool) -> str:
    """A still's metadata: which frame it is of which video, made with which request.

    The request is not where a video has it: a still is a picture to start from, not settings to go back to.
    """
    settings = settings or {}
    frame = {"of": name, "number": still.number, "second": round(still.second, 4), "frames": still.frames}
    frame |= {"request": settings["request"]} if "request" in settings else {}
    made_with = {"framepack": settings["framepack"]} if "framepack" in settings else {}
    return json.dumps({**made_with, "frame": frame, "mark": by_ai})


def extract_frames(
    file: Path | str,
    output: Path | str | None = None,
    *,
    at: float | None = None,
    which: Which | None = None,
    every: int | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Save the frame `at` a second, the one `which` (a number, "first" or "last"), or `every` so manyth, as PNG.

    `output`: a file for one frame, else a folder; by default beside the video, named after it. Returns the files.
    Raises MediaError where there is no such frame, ValueError for a file that is there already.
    """
    file, folder = Path(file), None if output is None else Path(output)
    if sum(choice is not None for choice in (at, which, every)) != 1:
        raise ValueError("choose the frames: at a second, the first, the last, a number, or every Nth")
    settings, by_ai = read_metadata(file), is_made_by_ai(file)

    def save(path: Path, frame: Still) -> Path:
        save_png(path, frame.pixels, described(frame, file.name, settings, by_ai=by_ai))
        return path

    if every is None:
        frame = still(file, which=which, at=at)
        path = one_file(folder or file.parent, file.stem, frame.number)
        require_free([path], overwrite=overwrite)
        make_folder(path.parent)
        return [save(path, frame)]
    if every < 1:
        raise ValueError(f"every must be 1 (all frames) or more, got {every}")
    folder = folder or file.with_name(f"{file.stem}-frames")
    if folder.suffix.lower() == ".png":
        raise ValueError(f"{folder} is a name for one picture: several frames need a folder")
    wanted = range(0, len(timeline(file).starts), every)
    require_free((numbered(folder, number) for number in wanted), overwrite=overwrite)
    make_folder(folder)
    return [save(numbered(folder, frame.number), frame) for frame in stills(file, every)]


def require_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """ValueError where a picture would replace another one without leave."""
    for path in paths:
        if path.exists() and not overwrite:
            raise ValueError(f"{path} is there already: give another name or folder, or use --overwrite to replace it")


def one_file(output: Path, stem: str, number: int) -> Path:
    """Where one frame goes: `output` itself, or into it where it is a folder. ValueError for what is no PNG."""
    if output.is_dir() or not output.suffix:
        return output / f"{stem}-{number:06d}.png"
    if output.suffix.lower() != ".png":
        raise ValueError(f"frames are saved as .png, got {output.name!r}: name a .png file or a folder")
    return output


def numbered(folder: Path, number: int) -> Path:
    """A frame's file in a folder of several."""
    return folder / f"frame_{number:06d}.png"


def _demuxed(file: BinaryIO) -> tuple[list[float], float, list[int]]:
    """Starts, end and the container's stamps; the last empty where packets have none."""
    with open_container(file) as (container, stream):
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        shown = [(packet.pts, packet.duration or 0) for packet in packets]
        rate, tick = float(stream.average_rate or 30), float(stream.time_base)
    spans = sorted((stamp, length) for stamp, length in shown if stamp is not None)
    if len(spans) != len(shown):
        return [number / rate for number in range(len(shown))], len(shown) / rate, []
    stamps = [stamp for stamp, _ in spans]
    starts = [(stamp - stamps[0]) * tick for stamp in stamps]
    return starts, (starts[-1] + (spans[-1][1] * tick or 1 / rate)) if starts else 0.0, stamps


def _sought(file: BinaryIO, stamp: int) -> ImageRGB | None:
    """The frame with this stamp, from the key frame before it on; None where none can be sought."""
    with open_container(file) as (container, stream):
        try:
            container.seek(stamp, stream=stream)
        except FFmpegError:
            return None
        # what is shown before the key frame may need frames that were passed over
        for picture in dropwhile(lambda picture: not picture.key_frame, container.decode(stream)):
            if picture.pts == stamp:
                return pending(picture, squared(stream))()
            if picture.pts is None or picture.pts > stamp:
                return None
    return None
