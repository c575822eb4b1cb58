"""How long a video is, at how many frames a second, and whether its end is there, by what its file says."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

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


def announced_end(container: InputContainer, stream: Any) -> Fraction:
    """When the picture ends by what the file says, on the clock of its frames; 0 where that is not known.

    Sound may end later. Matroska says ends, others how long a stream is from its start, which need not be 0.
    """
    if stream.duration is not None:
        return (stream.duration + (stream.start_time or 0)) * Fraction(stream.time_base)
    if said := DURATION.fullmatch(stream.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, seconds = said.groups()
        return (int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)
    return Fraction(container.duration or 0, av.time_base) if len(container.streams) == 1 else Fraction(0)


def shown_packets(container: InputContainer, stream: Any) -> list[tuple[int, int]]:
    """Begin and length in ticks of all frames in the order they are shown; those before an edit's start are not."""
    packets = [packet for packet in container.demux(stream) if not packet.is_discard]
    if says_order(container):
        return sorted((packet.dts, 0) for packet in packets if packet.dts is not None)
    return sorted((packet.pts, packet.duration or 0) for packet in packets if packet.pts is not None)


def says_order(container: InputContainer) -> bool:
    """Whether a file says only when each frame is decoded, as AVI: neither when it is shown nor how long."""
    return container.format.name == "avi"


def decoded(container: InputContainer, stream: Any) -> Iterator[tuple[Any, float | None]]:
    """Each frame, and the second at which it is shown, as `shown_packets` has it; None where the file says neither."""
    if not says_order(container):
        yield from ((picture, picture.time) for picture in container.decode(stream))
        return
    waiting: deque[int] = deque()
    for packet in container.demux(stream):
        if packet.dts is not None:
            waiting.append(packet.dts)
        for picture in packet.decode():
            yield picture, float(waiting.popleft() * stream.time_base) if waiting else None
