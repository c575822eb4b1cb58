"""Seams: a border that cannot be seen, and one of each kind that can."""

import numpy as np
import pytest

from framepack.training.evaluate.seams import seam

WIDE = np.arange(64)


def moving(frames: int = 40, speed: float = 1.0) -> np.ndarray:
    """Waves that move to the right."""
    waves = [127 + 60 * np.sin((WIDE[None] - speed * frame) / 5) * np.ones((48, 1)) for frame in range(frames)]
    return np.stack(waves).round().astype(np.uint8)[..., None].repeat(3, 3)


def test_an_even_motion_has_no_seam() -> None:
    found = seam(moving(), 20)
    assert found.unseen
    assert found.step == pytest.approx(1, abs=0.1)


def test_a_jump_a_blur_and_a_tint_are_seen() -> None:
    jump = np.concatenate([moving()[:20], moving()[26:]])
    assert seam(jump, 20).step > 2
    flat = moving()
    flat[20:] = (flat[20:].astype(float) * 0.8 + 127 * 0.2).astype(np.uint8)
    assert seam(flat, 20).sharpness == pytest.approx(0.2, abs=0.03)
    tinted = moving()
    tinted[20:, ..., 0] += 3
    assert seam(tinted, 20).colour == pytest.approx(3, abs=0.5)
    assert not any(seam(video, 20).unseen for video in (jump, flat, tinted))


def test_a_border_at_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="4 frames on either side, got frame 38 of 40"):
        seam(moving(), 38)
