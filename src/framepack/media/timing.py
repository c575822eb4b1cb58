"""Frames along time: another frame rate than the model's 30. Knows nothing of files."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from framepack.spec.rates import exact_rate


def resample_fps(
    frames: Iterable[NDArray[np.uint8]],
    fps_in: Fraction | float,
    fps_out: Fraction | float,
    *,
    start: int = 0,
) -> Iterator[NDArray[np.uint8]]:
    """`frames` (H, W, 3) at another rate, over the same time: output j is the input on screen at j / fps_out.

    `start` is the number of the first frame in its whole video: parts of a video resampled each with its own start are,
    put together, the whole resampled. Frames are repeated or left out, never mixed, which would show ghosts.
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
