"""How long a video is, at how many frames a second, and whether its end is there, by what its file says."""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.container import InputContainer

DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
ROUNDING = 0.001
"""Seconds by which a time may be off, a length by twice as much: Matroska's are whole milliseconds."""


def whole_rate(fps: float) -> Fraction:
    """Pictures last whole milliseconds or hundredths: a rate within 1% of a whole number is that number."""
    near = max(round(fps), 1)
    return Fraction(near) if abs(fps - near) < 0.01 * near else Fraction(fps).limit_denominator(1001)


def shown_seconds(shown: Sequence[tuple[int, int]], fixed: Fraction | None, tick: Fraction, slack: Fraction) -> float:
    """How long frames are shown, of which each begins at so many ticks and lasts so many; 0 where that is not written.

    The last one lasts as long as the one before, where it does not say. Where ticks are too coarse for the rate, as
    Matroska's milliseconds, the rate decides: within `slack`, in seconds.
    """
    if not shown:
        return 0.0
    even = len(shown) / (fixed or Fraction(30))
    (begin, _), (last, lasts) = shown[0], shown[-1]
    if not lasts:
        lasts = last - shown[-2][0] if len(shown) > 1 else even / tick
    seconds = (last + lasts - begin) * tick
    return float(even if seconds <= 0 or (fixed and abs(seconds - even) <= slack) else seconds)


def announced_seconds(container: InputContainer, stream: Any) -> Fraction:
    """How long the picture is by what the file says, whose sound may be longer; 0 where that is not known."""
    if stream.duration is not None:
        return stream.duration * Fraction(stream.time_base)
    if said := DURATION.fullmatch(stream.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, seconds = said.groups()
        return (int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)
    return Fraction(container.duration or 0, av.time_base) if len(container.streams) == 1 else Fraction(0)


def lacks_its_end(file: BinaryIO) -> bool:
    """Whether a GIF has no trailer; its length is nowhere announced."""
    file.seek(-1, 2)
    return file.read(1) != b";"
