"""When one motion takes over from another: found in true videos, whatever the size of either motion."""

import numpy as np
import pytest

from framepack.training.evaluate.over_time import TrueChanges, largest_step
from framepack.training.evaluate.scenes import procedural_scenes

(SCENE,) = procedural_scenes(1, (48, 48))
LATENTS, FPS = 12, 30


def noisy(video: np.ndarray) -> np.ndarray:
    return video + np.random.default_rng(1).normal(0, 6, video.shape).astype(np.float32)


@pytest.mark.parametrize(("before", "after"), [("pan left", "pan right"), ("brighten", "darken")])
def test_a_change_is_found_in_motions_of_another_size_where_normal_ones_would_be_off(before: str, after: str) -> None:
    truth, off = TrueChanges(SCENE.picture, before, after, LATENTS), []
    for change, sizes in ((20, (1.0, 1.0)), (20, (0.5, 1.4)), (30, (0.6, 1.2))):
        video = noisy(truth.small(change, sizes))
        found = truth.nearest(video)
        assert abs(found.second - change / FPS) <= 4 / FPS
        assert found.before == pytest.approx(sizes[0], rel=0.2)
        normal = min(range(0, 4 * LATENTS + 1, 2), key=lambda at: np.square(video - truth.small(at)).mean())
        off.append(abs(normal - change) / FPS)
    assert off[0] <= 4 / FPS
    assert max(off) >= 0.2


def test_the_second_motion_begins_from_the_picture_of_the_change() -> None:
    light = TrueChanges(SCENE.picture, "brighten", "darken", LATENTS).small(32).mean(axis=(1, 2, 3))
    assert (np.diff(light[:8]) > 0).all()
    assert (np.diff(light[7:]) < 0).all()
    assert light[7] - light[8] > 2 * (light[7] - light[6]), "it falls faster than it rose at last"


def test_a_still_has_no_size() -> None:
    truth = TrueChanges(SCENE.picture, "still", "darken", LATENTS)
    found = truth.nearest(truth.small(20, (1.0, 1.4)))
    assert (found.second, found.before, found.after) == (pytest.approx(20 / FPS), 1.0, 1.4)


def test_the_largest_step_is_told_with_its_time() -> None:
    video = np.arange(10, dtype=np.float32)[:, None, None, None] * np.ones((10, 2, 2, 3), np.float32)
    video[6:] += 3
    step = largest_step(video, 0.4)
    assert (step.size, step.second) == (4, pytest.approx(6 * 4 / 30))
