"""Other rates and speeds: how many frames, which of them are the input's own, and how near the others come."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from framepack.media.retime import MODES, retimed
from framepack.media.timing import is_cut
from framepack.spec.rates import resampled_count

RATES = [(30, 60), (30, 24), (30, 25), (30, Fraction(30000, 1001)), (7.5, 30), (60, 24), (30, 50), (30, 12), (30, 30)]


def scene(seed: int, height: int = 96, width: int = 320) -> np.ndarray:
    """(H, W, 3) uint8: hills of all sizes, so that motion is to be seen everywhere and edges are soft."""
    noise, y, x = np.random.default_rng(seed), *np.mgrid[:height, :width]
    picture = np.zeros((height, width, 3)) + noise.uniform(40, 215, 3)
    for size in (5, 9, 17, 40):
        for channel in range(3):
            angle, phase = noise.uniform(0, 2 * np.pi, 2)
            along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            picture[..., channel] += 22 * np.sin(2 * np.pi * along / size + phase) * np.cos(across / size)
    return picture.clip(0, 255).astype(np.uint8)


def pan(frames: int, step: int, seed: int = 0) -> list[np.ndarray]:
    """A window of 96x160 that moves over a scene by `step` pixels a frame."""
    whole = scene(seed)
    return [np.ascontiguousarray(whole[:, step * i : step * i + 160]) for i in range(frames)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("fps_in", "fps_out"), RATES)
@pytest.mark.parametrize("count", [1, 2, 9])
def test_every_mode_gives_as_many_frames_as_were_counted(mode, fps_in, fps_out, count):
    out = list(retimed(pan(count, 1), fps_in, fps_out, mode))
    assert len(out) == resampled_count(count, fps_in, fps_out)
    assert {(frame.shape, frame.dtype.name) for frame in out} == {((96, 160, 3), "uint8")}


@pytest.mark.parametrize("mode", MODES)
def test_the_same_rate_touches_nothing(mode):
    frames = pan(5, 2)
    assert all(a is b for a, b in zip(retimed(frames, 30, 30, mode), frames, strict=True))


@pytest.mark.parametrize("mode", ["blend", "motion"])
@pytest.mark.parametrize("wide", [False, True])
def test_frames_that_fall_on_the_inputs_time_are_the_inputs(mode, wide):
    frames = [frame.astype(np.float32) / 255 if wide else frame for frame in pan(9, 2)]
    out = list(retimed(frames, 30, 60, mode))
    assert all(np.array_equal(a, b) for a, b in zip(out[::2], frames, strict=True))
    assert {frame.dtype for frame in out} == {frames[0].dtype}
    assert np.array_equal(out[-1], frames[-1])  # there is nothing after the last to move to


def test_blended_frames_are_the_mean_of_those_beside_them():
    frames = [np.full((8, 8, 3), 10 * i, np.uint8) for i in range(5)]
    assert [int(f[0, 0, 0]) for f in retimed(frames, 30, 60, "blend")] == [0, 5, 10, 15, 20, 25, 30, 35, 40, 40]
    assert [int(f[0, 0, 0]) for f in retimed(frames, 30, 90, "blend")][:5] == [0, 3, 7, 10, 13]
    assert [int(f[0, 0, 0]) for f in retimed(frames, 30, 15, "blend")] == [5, 25, 40]


@pytest.mark.parametrize("step", [1, 3])
def test_moved_frames_are_within_a_quarter_of_what_repeating_is_off(step):
    """30 to 60 frames a second; each is held against the frame that is really there, half a frame later."""
    n = 12
    truth = pan(2 * n, step)
    moved, repeated = (list(retimed(truth[::2], 30, 60, mode)) for mode in ("motion", "repeat"))
    assert len(moved) == len(repeated) == 2 * n

    def off(frames: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(frames[i].astype(float) - truth[i]).mean() for i in range(1, 2 * n - 2, 2)]))

    assert off(moved) <= off(repeated) / 4


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("fps_in", "fps_out"), [(30, 60), (30, 24), (15, 60), (30, 12)])
def test_a_hard_cut_stays_hard(mode, fps_in, fps_out):
    before, after = pan(6, 2, seed=0), pan(6, 2, seed=1)
    assert is_cut(before[-1], after[0])
    assert not any(is_cut(a, b) for a, b in pairwise(before))
    out = list(retimed(before + after, fps_in, fps_out, mode))
    shown = [
        min((np.abs(frame.mean((0, 1)) - scene[0].mean((0, 1))).max(), i) for i, scene in enumerate((before, after)))
        for frame in out
    ]
    assert max(distance for distance, _ in shown) < 6  # none lies between the scenes
    assert [which for _, which in shown].count(0) == resampled_count(6, fps_in, fps_out)


def test_motion_gives_the_same_frames_again():
    one, other = (list(retimed(pan(6, 3), 30, 50, "motion")) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (8, 120)])
def test_small_and_odd_frames_can_be_moved(size):
    frames = [np.ascontiguousarray(frame[: size[0], : size[1]]) for frame in pan(4, 2)]
    assert {frame.shape[:2] for frame in retimed(frames, 30, 60, "motion")} == {size}
