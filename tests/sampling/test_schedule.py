import math

import pytest
import torch

from framepack.sampling import make_sigmas, mu_of


def test_sigmas_equal_the_public_application_to_the_bit(numbers):
    for case in numbers["sigmas"]:
        sigmas = make_sigmas(case["steps"], case["seq_len"])
        assert sigmas.dtype == torch.float32
        assert sigmas.tolist() == case["sigmas"], case


def test_mu_equals_the_public_application(numbers):
    for case in numbers["sigmas"]:
        assert mu_of(case["seq_len"]) == case["mu"]


def test_mu_runs_through_both_points_of_the_line_and_stops_at_a_shift_of_seven():
    assert mu_of(256) == pytest.approx(0.5)
    assert mu_of(4096) == pytest.approx(1.15)
    assert math.exp(mu_of(1_000_000)) == pytest.approx(7.0)


@pytest.mark.parametrize("steps", [1, 2, 7, 25, 200])
def test_sigmas_fall_from_one_to_zero(steps):
    sigmas = make_sigmas(steps, 13464)
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_a_shift_of_one_makes_even_steps_whatever_the_tokens():
    assert torch.allclose(make_sigmas(8, 13464, shift=1.0), torch.linspace(1, 0, 9))


def test_a_given_shift_replaces_the_one_of_the_token_count():
    assert make_sigmas(4, 64, shift=7.0).tolist() == pytest.approx(make_sigmas(4, 14400).tolist())
    assert make_sigmas(4, 64, shift=3.0)[2] == pytest.approx(0.75)


@pytest.mark.parametrize("shift", [0.0, -1.0, math.nan, math.inf])
def test_a_shift_that_is_no_positive_number_is_refused(shift):
    with pytest.raises(ValueError, match="shift must be a positive number"):
        make_sigmas(4, 64, shift=shift)


def test_no_steps_and_no_tokens_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        make_sigmas(0, 64)
    with pytest.raises(ValueError, match="tokens must be at least 1, got 0"):
        make_sigmas(4, 0)
