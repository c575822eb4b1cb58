"""At which rate a video is read whose frames do not last equally long, as phones and screen recorders write them."""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil
from statistics import median

from framepack.media.lengths import ROUNDING, shown_packets, whole_rate
from framepack.media.read import VideoInfo, open_container, reading, timed_frames
from framepack.media.source import Source


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Frames a second, and how many frames there are at that rate."""

    fps: Fraction
    frames: int

    def of(self, info: VideoInfo) -> VideoInfo:
        """What is in a video that is read so."""
        return replace(info, fps=self.fps, frames=self.frames)


def pace_of(source: Source, info: VideoInfo) -> Pace | None:
    """How a video is read by the times of its frames; None where these lie evenly at its rate. Raises MediaError.

    Most frames then come once: the rate is that of the usual distance between two of them.
    """
    shown = times_of(source)
    period = float(1 / info.fps)
    if all(abs(time - shown[0] - index * period) <= period / 2 for index, time in enumerate(shown)):
        return None
    steps = [after - before for before, after in pairwise(shown)]
    fps = whole_rate(1 / median(step for step in steps if step > 0))
    return Pace(fps=fps, frames=ceil((shown[-1] - shown[0] + steps[-1] - 2 * ROUNDING) * fps))


def times_of(source: Source) -> list[float]:
    """The second at which each frame is shown."""
    with reading(source) as (file, kind):
        if kind in ("zip", "folder", "webp"):
            return [time for time, _ in timed_frames(file, kind)]
        with open_container(file) as (container, stream):
            tick = Fraction(stream.time_base or 1)
            return [float(begin * tick) for begin, _ in shown_packets(container, stream)]
