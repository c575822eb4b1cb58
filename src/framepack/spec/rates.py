"""Frames a second: how many frames there are at another rate over the same time."""

import math
from fractions import Fraction

GIF_FPS = 50
"""Frames a second of a gif at most: it counts hundredths of a second, and browsers show no frame for one alone."""

NTSC_WITHIN = Fraction(1, 200)
"""29.97 is 30000/1001 = 29.97003 with two digits, and some write three."""


def resampled_count(frames: int, fps_in: Fraction | float, fps_out: Fraction | float, *, start: int = 0) -> int:
    """How many of `frames`, the first of them number `start`, there are at another rate over the same time."""
    step = exact_rate(fps_in) / exact_rate(fps_out)
    return math.ceil((start + frames) / step) - math.ceil(start / step)


def exact_rate(fps: Fraction | float) -> Fraction:
    """Frames a second as a fraction; 29.97 and the like, as people write them, are 30000/1001.

    ValueError for what is no rate.
    """
    if not 0 < fps < float("inf"):  # false for NaN too
        raise ValueError(f"fps must be above 0, got {fps}")
    exact = exact_factor(fps)
    if isinstance(fps, Fraction) or exact.denominator == 1:
        return exact
    ntsc = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    return ntsc if abs(ntsc - Fraction(fps)) < NTSC_WITHIN else exact


def exact_factor(number: Fraction | float) -> Fraction:
    """A number as a fraction."""
    return Fraction(number).limit_denominator(1001)
