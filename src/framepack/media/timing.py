"""Frames along time: the cross-fade between two clips, and another frame rate than the model's 30.

Pure array maths on clips (T, H, W, C); knows nothing of files.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray


def crossfade(earlier: NDArray, later: NDArray, overlap: int) -> NDArray:
    """Two clips as one, whose last and first `overlap` frames are the same moments: (T1 + T2 - overlap, H, W, C).

    The earlier clip's weight falls linearly from 1 to 0 over the overlap, as in the public FramePack application.
    `overlap` is clamped to the shorter clip. Float clips give float32; uint8 clips are blended in float32 and rounded.
    """
    if overlap < 0:
        raise ValueError(f"overlap must be at least 0 frames, got {overlap}")
    if earlier.shape[1:] != later.shape[1:] or earlier.dtype != later.dtype:
        raise ValueError(f"clips must match, got {earlier.dtype} {earlier.shape} and {later.dtype} {later.shape}")
    overlap = min(overlap, len(earlier), len(later))
    weights = np.linspace(1, 0, overlap, dtype=np.float32).reshape(-1, *[1] * (earlier.ndim - 1))
    before, fading, coming, after = (
        earlier[: len(earlier) - overlap],
        earlier[len(earlier) - overlap :],
        later[:overlap],
        later[overlap:],
    )
    blended = fading * weights + coming * (1 - weights)
    if earlier.dtype == np.uint8:
        return np.concatenate([before, np.rint(blended).astype(np.uint8), after])
    return np.concatenate([before, blended, after]).astype(np.float32)


def resample_fps(
    frames: Iterable[NDArray[np.uint8]],
    fps_in: Fraction | float,
    fps_out: Fraction | float,
    *,
    start: int = 0,
    blend: bool = False,
) -> Iterator[NDArray[np.uint8]]:
    """`frames` (H, W, 3) at another rate, over the same time: output j is the input on screen at j / fps_out.

    `start` is the number of the first frame in its whole video: parts of a video resampled each with its own start are,
    put together, the whole resampled. `blend` mixes the two inputs around j / fps_out instead (then a part's last frame
    is held, not mixed with the next part's first). At most two frames are in memory, whatever the length.
    """
    step = _check(fps_in) / _check(fps_out)
    if step == 1:
        yield from frames
    elif blend:
        yield from _blended(frames, step, start)
    else:
        index = ceil(start / step)
        for number, frame in enumerate(frames, start):
            while floor(index * step) == number:
                yield frame
                index += 1


def resampled_count(frames: int, fps_in: Fraction | float, fps_out: Fraction | float) -> int:
    """How many frames `resample_fps` makes of `frames`."""
    return ceil(frames * _check(fps_out) / _check(fps_in))


def _blended(frames: Iterable[NDArray[np.uint8]], step: Fraction, start: int) -> Iterator[NDArray[np.uint8]]:
    index, previous, number = ceil(start / step), None, start
    for number, frame in enumerate(frames, start):
        while previous is not None and floor(index * step) == number - 1:
            share = float(index * step - (number - 1))
            yield np.rint(previous * np.float32(1 - share) + frame * np.float32(share)).astype(np.uint8)
            index += 1
        previous = frame
    while previous is not None and floor(index * step) == number:
        yield previous
        index += 1


def _check(fps: Fraction | float) -> Fraction:
    if not 0 < fps < float("inf"):  # false for NaN too
        raise ValueError(f"fps must be above 0, got {fps}")
    return Fraction(fps).limit_denominator(1001)
