"""Rates as people write them, and as files have them."""

from fractions import Fraction

import pytest

from framepack.spec.formats import check_fps
from framepack.spec.output import OutputSettings
from framepack.spec.rates import exact_rate, resampled_count


@pytest.mark.parametrize(
    ("typed", "exact"),
    [
        *((29.97, Fraction(30000, 1001)), (23.976, Fraction(24000, 1001)), (23.98, Fraction(24000, 1001))),
        *(
            (59.94, Fraction(60000, 1001)),
            (119.88, Fraction(120000, 1001)),
            (30, Fraction(30)),
            (12.5, Fraction(25, 2)),
        ),
        (Fraction(2997, 100), Fraction(2997, 100)),
    ],
)
def test_a_typed_rate_means_that_of_television_and_a_file_keeps_its_own(typed, exact) -> None:
    assert exact_rate(typed) == check_fps(typed) == exact


def test_a_speed_is_no_rate() -> None:
    assert OutputSettings(speed=0.999).played(30) == 30 * Fraction(999, 1000)
    assert OutputSettings(speed=0.999).played(29.97) == Fraction(30000, 1001) * Fraction(999, 1000)


def test_hours_at_the_rate_of_television_have_as_many_frames_as_they_last() -> None:
    assert resampled_count(36000 * 30, 30, 29.97) == 36000 * 30000 // 1001 + 1
