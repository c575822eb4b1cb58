from typing import get_args

import numpy as np
import pytest
import torch

from framepack.sampling import GUIDES, guide, needs_negative, x0_of, zero_steps
from framepack.sampling.guidance import APG_LIMIT
from framepack.spec.parts import GuidanceMode


@pytest.fixture
def branches():
    generator = torch.Generator().manual_seed(1)
    positive = torch.randn(2, 4, 3, 5, 6, generator=generator) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1, 1)
    return positive, torch.randn(2, 4, 3, 5, 6, generator=generator)


def spread(v):
    return v.std(dim=(1, 2, 3, 4))


def test_scale_one_is_the_positive_branch_and_scale_zero_the_negative(branches):
    positive, negative = branches
    assert torch.allclose(guide(positive, negative, 1.0), positive, atol=1e-6)
    assert torch.equal(guide(positive, negative, 0.0), negative)


def test_scale_one_is_the_positive_branch_whatever_the_rescale(branches):
    positive, negative = branches
    assert torch.allclose(guide(positive, negative, 1.0, 0.7), positive, atol=1e-5)


def test_scale_three_goes_three_times_as_far_from_the_negative(branches):
    positive, negative = branches
    assert torch.allclose(guide(positive, negative, 3.0) - negative, 3 * (positive - negative), atol=1e-5)


def test_equal_branches_are_left_alone(branches):
    positive, _ = branches
    assert torch.allclose(guide(positive, positive, 7.0, 0.5), positive, atol=1e-5)


def test_full_rescale_restores_the_spread_of_each_sample_of_the_batch(branches):
    positive, negative = branches
    assert not torch.allclose(spread(guide(positive, negative, 4.0)), spread(positive), rtol=0.1)
    assert torch.allclose(spread(guide(positive, negative, 4.0, 1.0)), spread(positive), rtol=1e-5)


def test_rescale_blends_between_none_and_full(branches):
    positive, negative = branches
    none, full = guide(positive, negative, 4.0, 0.0), guide(positive, negative, 4.0, 1.0)
    assert torch.allclose(guide(positive, negative, 4.0, 0.25), 0.75 * none + 0.25 * full, atol=1e-5)


def test_the_negative_is_needed_for_any_scale_but_one():
    assert not needs_negative(1.0)
    assert needs_negative(0.0)
    assert needs_negative(6.0)


def test_x0_undoes_the_noise_and_is_float32():
    x0, noise, sigma = torch.randn(1, 4, 2, 3, 3), torch.randn(1, 4, 2, 3, 3), 0.7
    x = (1 - sigma) * x0 + sigma * noise
    assert torch.allclose(x0_of(x, noise - x0, sigma), x0, atol=1e-6)
    assert x0_of(x.bfloat16(), (noise - x0).bfloat16(), sigma).dtype == torch.float32


def test_the_modes_are_those_a_request_may_name():
    assert get_args(GuidanceMode) == tuple(GUIDES)


@pytest.mark.parametrize("mode", list(GUIDES))
def test_no_mode_changes_anything_at_scale_one_or_where_the_branches_are_equal(branches, mode):
    positive, negative = branches
    assert torch.allclose(guide(positive, negative, 1.0, mode=mode), positive, atol=1e-5)
    assert torch.allclose(guide(positive, positive, 5.0, mode=mode), positive, atol=1e-5)
    assert guide(torch.zeros_like(positive), torch.zeros_like(positive), 5.0, mode=mode).isfinite().all()


def test_zero_star_scales_the_negative_of_each_sample_to_fit(branches):
    positive, negative = (x.double() for x in branches)
    made = guide(positive, negative, 4.0, mode="zero-star")
    for plus, minus, guided in zip(positive.numpy(), negative.numpy(), made.numpy(), strict=True):
        fit = np.vdot(plus, minus) / np.vdot(minus, minus)
        np.testing.assert_allclose(guided, fit * minus + 4.0 * (plus - fit * minus), rtol=1e-10)
    assert torch.allclose(guide(positive, 7.0 * negative, 4.0, mode="zero-star"), made)


def test_apg_adds_what_is_across_the_positive_and_no_more_of_it_than_its_limit(branches):
    positive, negative = (x.double() for x in branches)
    for near in (1.0, 0.01):  # the difference is beyond the limit, and within
        other = positive + near * (negative - positive)
        made = guide(positive, other, 4.0, mode="apg")
        for plus, minus, guided in zip(positive.numpy(), other.numpy(), made.numpy(), strict=True):
            apart = plus - minus
            apart = apart * min(1.0, APG_LIMIT * np.linalg.norm(plus) / np.linalg.norm(apart))
            across = apart - np.vdot(apart, plus) / np.vdot(plus, plus) * plus
            np.testing.assert_allclose(guided, plus + 3.0 * across, rtol=1e-10)
            assert abs(np.vdot(guided - plus, plus)) <= 1e-9 * np.vdot(plus, plus)


def test_zero_star_stands_still_in_one_step_of_25_and_in_none_of_a_few():
    assert [zero_steps("zero-star", steps) for steps in (2, 12, 13, 25, 50)] == [0, 0, 1, 1, 2]
    assert zero_steps("cfg", 50) == zero_steps("apg", 50) == 0
