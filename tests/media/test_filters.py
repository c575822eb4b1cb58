"""Each step on frames: what it does in numbers, that it keeps their count, and that nothing is changed without it."""

from fractions import Fraction

import numpy as np
import pytest

from framepack.files.errors import MediaError
from framepack.media.filters import (
    BLUE,
    GREEN,
    RED,
    filtered,
    filters_after,
    filters_before,
    reach_of,
    scaled,
    steadied,
)
from framepack.spec.finish import Finish

FPS = Fraction(30)


def scene(count: int = 30, speed: int = 0) -> list[np.ndarray]:
    """Smooth pictures, floats (48, 64, 3)."""
    y, x = np.mgrid[0:48, 0:64]
    return [
        np.stack(
            [128 + 80 * np.sin((x + speed * t) / 9), 128 + 80 * np.sin(y / 7), 128 + 60 * np.sin((x + y) / 15)], -1
        )
        for t in range(count)
    ]


def as_bytes(frames: list[np.ndarray]) -> list[np.ndarray]:
    return [np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in frames]


def before(frames: list[np.ndarray], finish: Finish) -> list[np.ndarray]:
    return list(steadied(frames, filters_before(finish), FPS, reach_of(finish)))


def after(frames: list[np.ndarray], finish: Finish) -> list[np.ndarray]:
    return list(filtered(frames, filters_after(finish), FPS))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_without_steps_frames_are_the_same_objects() -> None:
    frames = as_bytes(scene(3))
    assert all(a is b for a, b in zip(before(frames, Finish()), frames, strict=True))
    assert all(a is b for a, b in zip(after(frames, Finish()), frames, strict=True))
    assert not Finish().changes


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 40])
@pytest.mark.parametrize(
    "steps", [{"denoise": 1}, {"deflicker": 5}, {"deflicker": 12, "denoise": 0.5}, {"deflicker": 2}, {"deflicker": 65}]
)
def test_steps_in_time_keep_the_number_of_frames_and_their_order(count: int, steps: dict) -> None:
    frames = [np.full((48, 48, 3), 40, np.uint8) for _ in range(count)]
    for number, frame in enumerate(frames):
        frame[number : number + 4, 10:20] = 255  # a bar that wanders down
    done = before(frames, Finish(**steps))
    assert len(done) == count
    assert [int(np.argmax(frame[:, 15, 1] > 150)) for frame in done] == list(range(count))


@pytest.mark.parametrize("steps", [{"sharpen": 0.5}, {"grain": 0.2}, {"exposure": 0.1}, {"saturation": 0.5}])
def test_steps_on_one_frame_keep_their_number(steps: dict) -> None:
    for count in (0, 1, 7):
        assert len(after(as_bytes(scene(count)), Finish(**steps))) == count


def test_noise_goes_and_the_picture_stays() -> None:
    clean = scene(30)
    rng = np.random.default_rng(0)
    noisy = as_bytes([frame + rng.normal(0, 8, frame.shape) for frame in clean])
    was = psnr(np.stack(noisy), np.stack(clean))
    gains = [psnr(np.stack(before(noisy, Finish(denoise=d))), np.stack(clean)) - was for d in (0.25, 0.5, 1.0)]
    assert gains == sorted(gains)
    assert gains[1] > 2.5
    assert gains[2] > 7
    ends = before(noisy, Finish(denoise=1.0))
    assert min(psnr(ends[0], clean[0]), psnr(ends[-1], clean[-1])) > was + 4


def test_flicker_is_evened_out_also_at_the_ends() -> None:
    frames = as_bytes([frame * (1 + 0.1 * (-1) ** t) for t, frame in enumerate(scene(40))])
    spread = np.std([frame.mean() for frame in frames])
    means = [frame.mean() for frame in before(frames, Finish(deflicker=10))]
    assert np.std(means) < spread / 8
    assert abs(means[-1] - means[20]) < 3


def test_colours_are_what_their_formula_says() -> None:
    frames = as_bytes(scene(3))
    done = after(frames, Finish(exposure=0.5, contrast=1.2, warmth=0.5))
    want = np.floor(np.clip((frames[1] * np.array([1.1, 1, 0.9]) * 2**0.5 - 127.5) * 1.2 + 127.5, 0, 255) + 0.5)
    assert np.abs(done[1] - want).max() <= 1
    grey = after(frames, Finish(saturation=0))[1]
    assert np.ptp(grey.astype(int), axis=-1).max() <= 2
    half = 0.5 * frames[1] + 0.5 * (frames[1] @ np.array([RED, GREEN, BLUE]))[..., None]
    assert np.abs(after(frames, Finish(saturation=0.5))[1] - half).max() <= 2


def test_a_colour_table_does_what_it_says_and_another_file_is_refused(tmp_path) -> None:
    lines = [
        f"{1 - r} {1 - g} {1 - b}"
        for b in (0, 0.25, 0.5, 0.75, 1)
        for g in (0, 0.25, 0.5, 0.75, 1)
        for r in (0, 0.25, 0.5, 0.75, 1)
    ]
    table = tmp_path / "it's a: [negative].cube"
    table.write_text("LUT_3D_SIZE 5\n" + "\n".join(lines) + "\n")
    frames = as_bytes(scene(2))
    assert np.abs(after(frames, Finish(lut=table))[0].astype(int) - (255 - frames[0].astype(int))).max() <= 1
    (tmp_path / "bad.cube").write_text("no table")
    with pytest.raises(MediaError, match="begins with LUT_3D_SIZE"):
        after(frames, Finish(lut=tmp_path / "bad.cube"))
    with pytest.raises(MediaError, match="no such file"):
        after(frames, Finish(lut=tmp_path / "none.cube"))


def test_grain_is_new_in_each_frame_the_same_each_time_and_as_strong_as_asked() -> None:
    frames = [np.full((64, 64, 3), 128, np.uint8)] * 6
    one, again = after(frames, Finish(grain=0.3)), after(frames, Finish(grain=0.3))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert (one[0] != one[1]).mean() > 0.5
    weak, strong = (np.std(after(frames, Finish(grain=g))[0]) for g in (0.1, 0.5))
    assert 0 < weak < strong
    assert abs(one[0].mean() - 128) < 1.5


def test_sharpening_raises_contrast_at_edges_and_nowhere_else() -> None:
    flat = np.full((32, 32, 3), 90, np.uint8)
    assert (after([flat], Finish(sharpen=1))[0] == flat).all()
    soft = as_bytes([128 + 60 * np.tanh((np.mgrid[0:32, 0:32][1] - 15.5)[..., None] / 2) * np.ones(3)])[0]
    steep = [np.abs(np.diff(f[16, :, 1].astype(int))).max() for f in (soft, after([soft], Finish(sharpen=1))[0])]
    assert steep[1] > steep[0] + 3


def test_lanczos_enlarges_as_pillow_does() -> None:
    from PIL import Image

    frame = as_bytes(scene(1))[0]
    (large,) = filtered([frame], scaled((128, 96)), FPS)
    want = np.asarray(Image.fromarray(frame).resize((128, 96), Image.Resampling.LANCZOS))
    assert large.shape == (96, 128, 3)
    assert np.abs(large.astype(int) - want)[4:-4, 4:-4].max() <= 2
