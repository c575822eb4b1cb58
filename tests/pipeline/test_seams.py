"""Frames drawn to a source's at a seam: as far as they show the same, and as sharp as it is elsewhere."""

import pytest
import torch

from framepack.pipeline.seams import continued, detail, likeness, mean_near

COUNT = 36


def texture(seed: int, side: int = 64) -> torch.Tensor:
    """(1, H, W, 3) in -0.5..0.5."""
    return torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(seed)) - 0.5


def softened(frames: torch.Tensor) -> torch.Tensor:
    """As a VAE makes them: less detail."""
    return mean_near(frames, 5) + 0.7 * detail(frames)


def test_a_source_that_stands_still_goes_on_unchanged_and_fades_into_what_the_vae_makes() -> None:
    source = texture(1).repeat(4, 1, 1, 1)
    made = softened(source[:1]).repeat(50, 1, 1, 1) + 0.01
    drawn = continued(made, made[:4], source, COUNT)
    shares = 1 - torch.arange(1, 51) / (COUNT + 1)
    expected = made + shares.clamp(min=0).view(-1, 1, 1, 1) * (source[:1] - made[:1])
    torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=0)
    assert torch.equal(drawn[COUNT:], made[COUNT:])


def test_where_a_frame_shows_something_else_only_its_own_detail_grows() -> None:
    source, other = texture(1).repeat(4, 1, 1, 1), softened(texture(2))
    drawn = continued(other.repeat(4, 1, 1, 1), softened(source), source, COUNT)
    own, made = (detail(part)[0, 8:-8, 8:-8] for part in (drawn[:1], other))
    assert float(own.std() / made.std()) == pytest.approx(1 / 0.7, rel=0.05)
    slope = float((own * made).sum() / made.square().sum())
    assert slope == pytest.approx(1 / 0.7, rel=0.05)
    residual = detail(source[:1] - softened(source[:1]))[0, 8:-8, 8:-8]
    assert abs(float((own * residual).sum() / residual.square().sum())) < 0.25


def test_the_colour_is_drawn_whatever_a_frame_shows() -> None:
    source = texture(1) + 0.1
    drawn = continued(softened(texture(2)), softened(texture(1)), source, COUNT)
    assert float(drawn.mean() - softened(texture(2)).mean()) == pytest.approx(0.1 * COUNT / (COUNT + 1), abs=2e-3)


def test_likeness_is_one_of_the_same_none_of_others_and_of_each_place_by_itself() -> None:
    one, other = detail(texture(1)), detail(texture(2))
    assert float(likeness(one, one).min()) == pytest.approx(1, abs=1e-4)
    assert float(likeness(one, other).mean()) < 0.1
    half = torch.cat([one[:, :, :32], other[:, :, 32:]], dim=2)
    found = likeness(half, one)[0, :, :, 0]
    assert float(found[:, :20].min()) > 0.99
    assert float(found[:, 44:].mean()) < 0.1


def test_flat_frames_stay_flat() -> None:
    grey = torch.zeros(3, 16, 16, 3)
    assert torch.equal(continued(grey, grey, grey, COUNT), grey)
