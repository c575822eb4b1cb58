"""Frames between frames, moved along the motion between the two beside them: FFmpeg's minterpolate, shot by shot.

Frames of the input that fall on an output's time are handed on untouched. The others are computed in 8 bits. The filter
needs some frames around those it moves, so a shot is held still before and after; what is computed there is dropped.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from typing import Any

import av
import av.filter
import numpy as np
from av.error import BlockingIOError, EOFError  # noqa: A004

from framepack.media.pixels import to_8_bits
from framepack.media.timing import is_cut

HELD = 3
"""Frames that a shot is held before and after."""
OPTIONS = "mi_mode=mci:mc_mode=aobmc:me_mode=bidir:mb_size=8:scd=none"
ORDER, BACK = [1, 2, 0], [2, 0, 1]
"""Green, blue, red stand in for the filter's luma and chroma, and back: it finds motion in the first, and a conversion
would round every colour twice."""
LEAST = 32
"""Pixels a side; smaller frames have too few blocks to be moved, and are enlarged by repeating their edge."""


def moved(frames: Iterable[np.ndarray], fps_in: Fraction, fps_out: Fraction) -> Iterator[np.ndarray]:
    """A whole video, (H, W, 3) each, uint8 or float32 in 0..1, at another rate over the same time."""
    step = fps_in / fps_out
    shot: Shot | None = None
    before = None
    for number, frame in enumerate(frames):
        if before is None or shot is None or is_cut(before, frame):
            if shot is not None:
                yield from shot.end()
            shot = Shot(frame, number, fps_in, step)
        yield from shot.add(frame)
        before = frame
    if shot is not None:
        yield from shot.end()


class Shot:
    """What lies between two hard cuts: frames in, frames at the other rate out, a few of either in memory.

    A frame of the input lasts `ticks`, one of the output `every`, both whole numbers. Outputs are counted from the
    video's first frame on.
    """

    def __init__(self, frame: np.ndarray, first: int, fps_in: Fraction, step: Fraction) -> None:
        self.next, self.last = first, frame
        self.step, self.every, self.ticks = step, step.numerator, step.denominator
        self.index = ceil(first / step)
        self.originals: dict[int, np.ndarray] = {}
        self.between: dict[int, np.ndarray] = {}
        self.graph = Graph(frame, fps_in * self.ticks, fps_in / step)
        self.begin = (first - HELD) * self.ticks // self.every * self.every  # the filter counts from its first frame on
        for held in range(first - HELD, first):
            self.graph.push(frame, held * self.ticks - self.begin if held > first - HELD else 0)

    def add(self, frame: np.ndarray) -> Iterator[np.ndarray]:
        """The next frame of the shot; yields what is known by then."""
        self.graph.push(frame, self.next * self.ticks - self.begin)
        self.originals[self.next] = self.last = frame
        self.next += 1
        yield from self._ready()

    def end(self) -> Iterator[np.ndarray]:
        """The rest, which the last frame holds."""
        for held in range(HELD):
            self.graph.push(self.last, (self.next + held) * self.ticks - self.begin)
        self.graph.push(None, 0)
        yield from self._ready(ended=True)

    def _ready(self, *, ended: bool = False) -> Iterator[np.ndarray]:
        for tick, frame in self.graph.pull(self.last.shape):
            self.between[(tick + self.begin) // self.every] = frame
        while (place := self.index * self.step) < self.next:
            if place.denominator == 1:
                frame = self.originals[int(place)]
            elif place > self.next - 1 and not ended:
                return
            elif place > self.next - 1:
                frame = self.last
            elif self.index in self.between:
                frame = self._of_kind(self.between[self.index])
            else:
                return
            yield frame
            self.index += 1
            self.originals = {number: one for number, one in self.originals.items() if number >= int(place)}
            self.between = {index: one for index, one in self.between.items() if index >= self.index}

    def _of_kind(self, frame: np.ndarray) -> np.ndarray:
        """As the input is: 8 bits or floats."""
        return frame if self.last.dtype == np.uint8 else frame.astype(np.float32) / np.float32(255)


class Graph:
    """minterpolate from `1 / rate` a tick to `fps_out`."""

    def __init__(self, frame: np.ndarray, rate: Fraction, fps_out: Fraction) -> None:
        self.height, self.width = (max(side, LEAST) for side in frame.shape[:2])
        self.tick = 1 / rate
        graph = av.filter.Graph()
        graph.threads = 1
        form = av.VideoFormat("yuv444p", self.width, self.height)
        self.source = graph.add_buffer(width=self.width, height=self.height, format=form, time_base=self.tick)
        between = graph.add("minterpolate", f"fps={fps_out}:{OPTIONS}")
        self.sink = graph.add("buffersink")
        self.source.link_to(between)
        between.link_to(self.sink)
        graph.configure()
        self.graph = graph  # its filters do not keep it alive

    def push(self, frame: np.ndarray | None, tick: int) -> None:
        """Hand in a frame at that tick, or the end."""
        if frame is None:
            self.source.push(None)
            return
        shown = frame if frame.dtype == np.uint8 else to_8_bits(frame)
        height, width = shown.shape[:2]
        padding = ((0, self.height - height), (0, self.width - width), (0, 0))
        planes = np.pad(shown, padding, "edge")[..., ORDER].transpose(2, 0, 1)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv444p")
        picture.pts, picture.time_base = tick, self.tick
        self.source.push(picture)

    def pull(self, shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames that are ready, each with its tick."""
        while True:
            try:
                picture: Any = self.sink.pull()
            except (BlockingIOError, EOFError):
                return
            tick = round(picture.pts * picture.time_base / self.tick)
            planes = picture.to_ndarray()[BACK, : shape[0], : shape[1]]
            yield tick, np.ascontiguousarray(planes.transpose(1, 2, 0))
