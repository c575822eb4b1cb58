from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepack.media.timing import resample_fps
from framepack.spec.rates import resampled_count

RATES = st.sampled_from([8, 12.5, 15, 24, Fraction(30000, 1001), 30, 48, 60, 120])


def numbered(count, start=0):
    return (np.full((1, 1, 3), start + index, np.uint8) for index in range(count))


def numbers(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def test_half_the_rate_keeps_every_second_frame_and_twice_the_rate_doubles_each():
    assert numbers(resample_fps(numbered(9), 30, 15)) == [0, 2, 4, 6, 8]
    assert numbers(resample_fps(numbered(3), 30, 60)) == [0, 0, 1, 1, 2, 2]
    assert numbers(resample_fps(numbered(5), 30, 30)) == [0, 1, 2, 3, 4]


@given(st.integers(1, 200), RATES, RATES)
def test_every_frame_is_the_one_on_screen_then_and_their_number_is_foretold(count, fps_in, fps_out):
    shown = numbers(resample_fps(numbered(count), fps_in, fps_out))
    assert len(shown) == resampled_count(count, fps_in, fps_out)
    for index, number in enumerate(shown):
        assert 0 <= Fraction(index) * Fraction(fps_in) / Fraction(fps_out) - number < 1
    assert 0 <= len(shown) / Fraction(fps_out) - count / Fraction(fps_in) < 1 / Fraction(fps_out)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), RATES, RATES)
def test_parts_resampled_alone_are_the_whole_resampled(lengths, fps_in, fps_out):
    whole, start = [], 0
    for length in lengths:
        whole += numbers(resample_fps(numbered(length, start), fps_in, fps_out, start=start))
        start += length
    assert whole == numbers(resample_fps(numbered(start), fps_in, fps_out))


def test_only_two_frames_are_asked_for_ahead():
    asked = []

    def endless():
        for index in range(10**9):
            asked.append(index)
            yield np.zeros((1, 1, 3), np.uint8)

    frames = resample_fps(endless(), 30, 24)
    for _ in range(8):
        next(frames)
    assert len(asked) <= 12


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_refused(fps):
    with pytest.raises(ValueError, match="fps must be above 0"):
        list(resample_fps(numbered(2), 30, fps))
