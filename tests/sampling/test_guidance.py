import pytest
import torch

from framepack.sampling import guide, needs_negative, x0_of


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
