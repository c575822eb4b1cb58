"""The end of a video without the long way there: from a key frame near it on, and only what is kept becomes RGB."""

from collections import deque
from fractions import Fraction
from itertools import dropwhile
from typing import BinaryIO

import av
import numpy as np
from av.error import FFmpegError

from framepack.media.pixels import Pending, pending, squared
from framepack.media.read import alike, open_container, pending_frames, reading
from framepack.media.source import Source

SEEKABLE = ("mp4", "mkv", "avi")
"""Kinds whose key frames need nothing before them."""
MARGIN = 1.0
"""Seconds to begin earlier than the frames ask for, as rates and durations are rounded."""


def read_tail(source: Source, count: int, *, fps: Fraction | float | None = None) -> np.ndarray:
    """The last `count` frames (fewer when there are fewer): (T, H, W, 3) uint8; `fps` as in `read_video`.

    Reads through where no key frame can be sought. Raises MediaError: no such file, not a video, damaged.
    """
    with reading(source) as (file, kind):
        tail = sought(file, count) if fps is None and kind in SEEKABLE else None
        return np.stack(list(alike(tail or deque(pending_frames(file, kind, fps), maxlen=count))))


def sought(file: BinaryIO, count: int) -> deque[Pending] | None:
    """The last `count` frames, from a key frame near the end on; None where there is none or it comes too late."""
    with open_container(file) as (container, stream):
        if not container.duration:
            return None
        seconds = MARGIN + count / float(stream.average_rate or 30)
        end = (container.start_time or 0) + container.duration
        try:
            container.seek(end - round(seconds * av.time_base))
        except FFmpegError:
            return None
        # what is shown before the key frame may need frames that were passed over
        shown = dropwhile(lambda picture: not picture.key_frame, container.decode(stream))
        square = squared(stream)
        tail = deque((pending(picture, square) for picture in shown), maxlen=count)
    return tail if len(tail) == count else None
