"""Joining clips: the weights of the cross-fade, and each frame settling once, in both orders."""

import numpy as np
import pytest
import torch

from framepack.pipeline.clip import ClipJoiner, crossfade


def clip(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 2, 2, 3).contiguous()


def values(frames: torch.Tensor) -> list[float]:
    return [round(float(f), 4) for f in frames[:, 0, 0, 0]]


def test_crossfade_runs_from_the_earlier_clip_to_the_later_one():
    earlier, later = np.random.default_rng(0).standard_normal((2, 5, 2, 2, 3)).astype(np.float32)
    blended = crossfade(torch.from_numpy(earlier), torch.from_numpy(later)).numpy()
    for index, weight in enumerate([1, 0.75, 0.5, 0.25, 0]):
        assert blended[index] == pytest.approx(weight * earlier[index] + (1 - weight) * later[index], abs=1e-6)


def test_backward_blends_the_new_clips_end_with_the_held_start():
    joiner = ClipJoiner("backward")
    assert values(joiner.join(clip(0, 0, 0, 9), 0, 3)) == [9]
    settled = joiner.join(clip(5, 6, 1, 1, 1), 3, 1)
    assert values(settled) == [6, 1.0, 0.5, 0.0]
    assert values(joiner.provisional) == [5]


def test_forward_blends_the_held_end_with_the_new_clips_start():
    joiner = ClipJoiner("forward")
    assert values(joiner.join(clip(9, 1, 1, 1), 0, 3)) == [9]
    settled = joiner.join(clip(0, 0, 0, 5, 6), 3, 0)
    assert values(settled) == [1.0, 0.5, 0.0, 5, 6]


@pytest.mark.parametrize("direction", ["backward", "forward"])
def test_picking_up_holds_what_a_join_would_have_held(direction: str):
    first, second = ClipJoiner(direction), ClipJoiner(direction)
    frames = clip(*range(8))
    first.join(frames, 0, 5)
    second.hold(frames, 5)
    assert torch.equal(first.provisional, second.provisional)
