"""Frames along time: another frame rate than the model's 30. Knows nothing of files.

Output j shows what is at j / fps_out. Repeated frames are the input's own; blended and moved ones (`motion`) lie
between two of them, and never across a hard cut.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

from framepack.spec.rates import exact_rate

Frames = Iterable[np.ndarray]
"""(H, W, 3) each, all uint8, or all float32 in 0..1."""
CUT = 24 / 255
"""Of full scale: how far the means of two frames' parts are from each other, on average, at a hard cut. Pans of a
twelfth of the width reach 0.05."""
PARTS = 8
"""Into so many parts a side a frame is divided for that."""


def resample_fps(
    frames: Frames, fps_in: Fraction | float, fps_out: Fraction | float, *, start: int = 0
) -> Iterator[Any]:
    """`frames` (H, W, 3) at another rate, over the same time: output j is the input on screen at j / fps_out.

    `start` is the number of the first frame in its whole video: parts of a video resampled each with its own start are,
    put together, the whole resampled. Frames are repeated or left out, never mixed.
    """
    step = exact_rate(fps_in) / exact_rate(fps_out)
    if step == 1:
        yield from frames
    else:
        index = ceil(start / step)
        for number, frame in enumerate(frames, start):
            while floor(index * step) == number:
                yield frame
                index += 1


def blended(frames: Frames, fps_in: Fraction, fps_out: Fraction) -> Iterator[np.ndarray]:
    """A whole video at another rate: output j is the mean of what is on screen for its time.

    At a higher rate that is between the two frames beside it, in proportion; at a lower one all that it takes in.
    """
    step = fps_in / fps_out
    shown: deque[tuple[int, np.ndarray]] = deque()
    index, last = 0, -1
    for last, frame in enumerate(frames):
        shown.append((last, frame))
        while index * step + max(step, 1) <= last:  # nothing later has a share in it
            yield mean_of(shown, index * step, step)
            index += 1
            while shown[0][0] < floor(index * step):
                shown.popleft()
    while index * step <= last + 1 - Fraction(1, 10**9) and floor(index * step) <= last:
        yield mean_of(shown, index * step, step)
        index += 1


def mean_of(shown: "deque[tuple[int, np.ndarray]]", place: Fraction, step: Fraction) -> np.ndarray:
    """The mean around `place`, in frames; up to a hard cut."""
    within = [(number, frame) for number, frame in shown if floor(place) <= number < place + max(step, 1)]
    first = within[0][1]
    shares = [(share(number, place, step), frame) for number, frame in until_cut(within)]
    total = sum(part for part, _ in shares)
    if len([part for part, _ in shares if part]) == 1 or not total:
        return first
    mixed = sum(np.float32(part / total) * frame.astype(np.float32) for part, frame in shares)
    return np.rint(mixed).astype(np.uint8) if first.dtype == np.uint8 else np.asarray(mixed, np.float32)


def share(number: int, place: Fraction, step: Fraction) -> Fraction:
    """How much of a frame is in the output at `place`: by nearness at a higher rate, by time at a lower one."""
    if step <= 1:
        return max(1 - abs(number - place), Fraction(0))
    return max(min(place + step, Fraction(number + 1)) - max(place, Fraction(number)), Fraction(0))


def until_cut(frames: list[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames before the first hard cut among them."""
    before = None
    for number, frame in frames:
        if before is not None and is_cut(before, frame):
            return
        before = frame
        yield number, frame


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two frames are of two scenes: their parts, seen from afar, have little to do with each other."""
    scale = 255 if before.dtype == np.uint8 else 1
    return float(np.abs(from_afar(before) - from_afar(after)).mean()) > CUT * scale


def from_afar(frame: np.ndarray) -> np.ndarray:
    """Means of a frame's parts, (PARTS, PARTS, 3), fewer where it is smaller."""
    rows, columns = (max(side // PARTS, 1) for side in frame.shape[:2])
    height, width = (side // part * part for side, part in zip(frame.shape[:2], (rows, columns), strict=True))
    parts = frame[:height, :width].reshape(height // rows, rows, width // columns, columns, 3)
    return parts.mean(axis=(1, 3), dtype=np.float64)
