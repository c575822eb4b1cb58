"""Warps go where their names say."""

import math

import pytest
import torch

from framepack.training.data.motions import MOTIONS, RIPPLE_PIXELS, RIPPLE_WAVELENGTH, render, state_at


def moved(motion, frame, image):
    row = MOTIONS[motion].row()[None]
    return render(image.clone(), state_at(torch.tensor([0, frame]), row, row, torch.zeros(1)))[0]


@pytest.fixture
def dot():
    image = torch.full((1, 3, 64, 64), -1.0)
    image[:, :, 20:24, 40:44] = 1.0
    return image


def centre(frame):
    weight = frame[0] + 1
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return float((weight * y).sum() / weight.sum()), float((weight * x).sum() / weight.sum())


@pytest.mark.parametrize("motion", MOTIONS)
def test_frame_zero_is_the_image(motion, dot):
    torch.testing.assert_close(moved(motion, 8, dot)[:, 0], dot[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("motion", "down", "right"),
    [("pan left", 0, 8), ("pan right", 0, -8), ("pan up", 8, 0), ("pan down", -8, 0)],
)
def test_the_content_moves_against_the_camera_half_a_pixel_a_frame(motion, down, right, dot):
    before, after = centre(dot[0]), centre(moved(motion, 16, dot)[:, 1])
    assert after[0] - before[0] == pytest.approx(down, abs=0.05)
    assert after[1] - before[1] == pytest.approx(right, abs=0.05)


def test_zooming_in_moves_content_away_from_the_middle(dot):
    y, x = centre(moved("zoom in", 30, dot)[:, 1])
    assert y < 20
    assert x > 43


def test_a_clockwise_roll_turns_the_upper_right_towards_the_lower_right(dot):
    y, x = centre(moved("roll clockwise", 50, dot)[:, 1])
    assert y > 22
    assert x > 42


def test_light_and_warmth_change_levels_and_nothing_else_does(dot):
    image = dot * 0.5
    assert moved("brighten", 30, image)[:, 1].mean() > image.mean() + 0.1
    assert moved("darken", 30, image)[:, 1].mean() < image.mean() - 0.1
    warm, cool = moved("warmer", 30, image)[:, 1], moved("cooler", 30, image)[:, 1]
    assert (warm[0] - warm[2]).mean() > 0.1
    assert (cool[0] - cool[2]).mean() < -0.1


def test_motion_that_changes_on_the_way_continues_where_it_was():
    left, up = MOTIONS["pan left"].row()[None], MOTIONS["pan up"].row()[None]
    state = state_at(torch.tensor([4, 10, 14]), left, up, torch.tensor([10.0]))[0]
    assert state[:, 0].tolist() == [-2, -5, -5]
    assert state[:, 1].tolist() == [0, 0, -2]


def test_a_ripple_is_a_wave_from_the_corner_on_that_grows_and_runs():
    line = torch.linspace(-1, 1, 128)
    image = line.expand(1, 3, 96, 128).contiguous()  # its levels tell where a pixel came from, from left to right
    shift = (moved("ripple", 24, image)[0, 1, :, 40:88] - image[0, 0, :, 40:88]).mean(1) / (line[1] - line[0])
    wave = RIPPLE_PIXELS * torch.sin(2 * math.pi * (torch.arange(96) + 0.5) / RIPPLE_WAVELENGTH)
    torch.testing.assert_close(shift, wave, atol=0.1, rtol=0)  # 24 frames are one turn
    early = moved("ripple", 2, image)[0, 1] - image[0, 0]
    assert early.abs().max() < 0.3 * RIPPLE_PIXELS * (line[1] - line[0])
