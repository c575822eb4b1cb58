"""Frames a second: how many frames there are at another rate over the same time."""

import math
from fractions import Fraction

GIF_FPS = 50
"""Frames a second of a gif at most: it counts hundredths of a second, and browsers show no frame for one alone."""


def resampled_count(frames: int, fps_in: Fraction | float, fps_out: Fraction | float, *, start: int = 0) -> int:
    """How many of `frames`, the first of them number `start`, there are at another rate over the same time."""
    step = exact_rate(fps_in) / exact_rate(fps_out)
    return math.ceil((start + frames) / step) - math.ceil(start / step)


def exact_rate(fps: Fraction | float) -> Fraction:
    """Frames a second as a fraction; ValueError for what is no rate."""
    if not 0 < fps < float("inf"):  # false for NaN too
        raise ValueError(f"fps must be above 0, got {fps}")
    return Fraction(fps).limit_denominator(1001)
