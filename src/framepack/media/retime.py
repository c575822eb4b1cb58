"""A whole video's frames at another rate and speed, in one of three ways: a row for each."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from framepack.media.motion import moved
from framepack.media.timing import blended, resample_fps
from framepack.spec.formats import FpsMode
from framepack.spec.rates import exact_rate

MODES: dict[FpsMode, Callable[[Iterable[np.ndarray], Fraction, Fraction], Iterator[Any]]] = {
    "repeat": resample_fps,
    "blend": blended,
    "motion": moved,
}


def retimed(
    frames: Iterable[np.ndarray], fps_in: Fraction | float, fps_out: Fraction | float, mode: FpsMode = "repeat"
) -> Iterator[Any]:
    """`frames` (H, W, 3), uint8 or float32 in 0..1, that go by at `fps_in`, at `fps_out` over the same time.

    The same number of frames in every mode (`spec.rates.resampled_count`); at the same rate they are untouched.
    """
    source, target = exact_rate(fps_in), exact_rate(fps_out)
    return iter(frames) if source == target else MODES[mode](frames, source, target)
