"""Every format and codec, written and decoded again: counts, durations, colours, what is exact, two writes alike.

The whole matrix, six sizes by three rates, is a proof; a corner of it runs by default.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exiftool import says_made_by_ai

from framepack.media.marks import is_marked
from framepack.media.metadata import read_metadata_text
from framepack.media.read import probe, read_video
from framepack.media.sequence import linear
from framepack.media.video import VideoWriter
from framepack.spec.formats import CODECS, FORMATS, Coding

EVERY = [(form, codec) for form, row in FORMATS.items() for codec in row.codecs]
LOSSY = [(form, codec) for form, codec in EVERY if CODECS[codec].lossless != "always"]
EXACT = [(form, codec) for form, codec in EVERY if CODECS[codec].lossless != "never"]
SIZES = [(64, 64), (160, 96), (112, 176), (320, 320), (640, 352), (66, 130)]
RATES = [12.5, 29.97, 60]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40), (17, 99, 203)]
SETTINGS = json.dumps({"framepack": "9", "request": {"prompt": "ä", "output": {"mark": True}}})
FFPROBE = shutil.which("ffprobe")


def waves(count: int, width: int, height: int) -> np.ndarray:
    """(T, H, W, 3) float32 in 0..1: waves that travel, no two frames equal."""
    t = np.arange(count)[:, None, None, None]
    y, x, c = np.mgrid[:height, :width, :3]
    value = np.sin(x / 17 + t / 5 + c) + np.cos(y / 11 - t / 7 + 2 * c)
    return (0.5 + 0.22 * value).astype(np.float32)


def bytes_of(frames: np.ndarray) -> np.ndarray:
    return np.rint(frames * 255).astype(np.uint8)


def written(path: Path, frames: np.ndarray, form: str, coding: Coding, fps: float = 30) -> Path:
    height, width = frames.shape[1:3]
    with VideoWriter(path, size=(width, height), fps=fps, format=form, quality=coding, metadata=SETTINGS) as writer:
        writer.write(frames)
    return path


def path_of(folder: Path, form: str) -> Path:
    return folder / f"v{FORMATS[form].suffix}"


def check_counts(folder: Path, form: str, codec: str, size: tuple[int, int], fps: float) -> None:
    """Frames, size, duration, tags and the mark."""
    frames = bytes_of(waves(13, *size))
    rate = min(fps, FORMATS[form].most_fps)
    path = written(path_of(folder, form), frames, form, Coding(codec=codec), rate)
    info = probe(path)
    assert (info.frames, info.width, info.height) == (13, *size)
    coarse = {"gif": 0.06, "webp": 0.013, "apng": 2e-4}.get(form, 2e-3)
    assert info.duration == pytest.approx(13 / rate, abs=coarse)
    assert sum(1 for _ in read_video(path)) == 13
    assert read_metadata_text(path) == SETTINGS
    assert is_marked(path)


def check_flat(folder: Path, form: str, codec: str, size: tuple[int, int]) -> None:
    """A flat colour is what it was, within 2 levels of 255, and where there are more bits within a step of those."""
    for colour in COLOURS:
        flat = np.broadcast_to(np.array(colour, np.float32) / 255, (2, size[1], size[0], 3))
        wide = CODECS[codec].wide
        path = written(path_of(folder, form), flat if wide else bytes_of(flat), form, Coding(codec=codec, crf=8))
        error = max(float(np.abs(frame - flat[0]).max()) for frame in read_video(path, wide=True))
        steps = {"ffv1-16": 0.51 / 65535, "tiff": 0.51 / 65535, "exr": 1e-6, "prores": 2 / 255, "prores4444": 2 / 255}
        assert error <= steps.get(codec, 2.001 / 255), (colour, error * 255)


@pytest.mark.parametrize(("form", "codec"), EVERY)
def test_count_duration_and_mark_of_every_codec(tmp_path, form, codec):
    check_counts(tmp_path, form, codec, (66, 130), 29.97)
    assert says_made_by_ai(path_of(tmp_path, form))


@pytest.mark.parametrize(("form", "codec"), EVERY)
def test_flat_colours_of_every_codec(tmp_path, form, codec):
    check_flat(tmp_path, form, codec, (64, 64))


@pytest.mark.proof
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("form", "codec"), EVERY)
def test_the_matrix_of_counts_and_durations(tmp_path, form, codec, size, fps):
    check_counts(tmp_path, form, codec, size, fps)


@pytest.mark.proof
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("form", "codec"), EVERY)
def test_the_matrix_of_flat_colours(tmp_path, form, codec, size):
    check_flat(tmp_path, form, codec, size)


def check_exact(folder: Path, form: str, codec: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, size[1], size[0], 3), dtype=np.uint8)
    path = written(path_of(folder, form), noise, form, Coding(codec=codec, lossless=True))
    assert np.array_equal(np.stack(list(read_video(path))), noise)


@pytest.mark.parametrize(("form", "codec"), EXACT)
def test_lossless_is_exact_to_the_bit_even_for_noise(tmp_path, form, codec):
    check_exact(tmp_path, form, codec, (66, 130))


@pytest.mark.proof
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("form", "codec"), EXACT)
def test_the_matrix_of_what_is_exact(tmp_path, form, codec, size):
    check_exact(tmp_path, form, codec, size)


@pytest.mark.parametrize("codec", ["ffv1-16", "tiff", "exr"])
def test_wide_formats_hold_floats_to_their_step(tmp_path, codec):
    form = "mkv" if codec == "ffv1-16" else codec
    frames = waves(3, 47, 33)
    frames[0, 0, :3] = [0, 1, 0.5]
    path = written(path_of(tmp_path, form), frames, form, Coding(codec=codec))
    read = np.stack(list(read_video(path, wide=True)))
    assert np.abs(read - frames).max() <= (1e-6 if codec == "exr" else 0.51 / 65535)
    assert np.array_equal(np.stack(list(read_video(path))), bytes_of(frames))


@pytest.mark.parametrize("codec", ["prores", "prores4444"])
def test_prores_is_nearer_than_eight_bits(tmp_path, codec):
    frames = waves(4, 160, 96)
    path = written(path_of(tmp_path, "mov"), frames, "mov", Coding(codec=codec))
    error = np.stack(list(read_video(path, wide=True))) - frames
    assert np.sqrt(np.mean(error**2)) < 0.8 / 255


def test_exr_is_linear_light(tmp_path):
    levels = np.array([0, 10, 128, 188, 255], np.uint8)
    assert np.allclose(linear(levels), [0, 10 / 255 / 12.92, 0.21586, 0.50289, 1], atol=1e-5)


def check_again(folder: Path, form: str, codec: str, size: tuple[int, int], count: int) -> None:
    frames = waves(count, *size)
    noise = np.random.default_rng(1).normal(0, 0.02, frames.shape).astype(np.float32)
    frames = (frames + noise).clip(0, 1)
    made = frames if CODECS[codec].wide else bytes_of(frames)
    path, files = path_of(folder, form), set()
    for coding in (Coding(codec=codec), Coding(codec=codec), Coding(codec=codec)):
        files.add(written(path, made, form, coding).read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize(("form", "codec"), LOSSY)
def test_three_writes_are_one_file(tmp_path, form, codec):
    check_again(tmp_path, form, codec, (160, 96), 12)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [(640, 352), (1280, 704)])
@pytest.mark.parametrize(("form", "codec"), LOSSY)
def test_three_writes_of_a_large_video_are_one_file(tmp_path, form, codec, size):
    check_again(tmp_path, form, codec, size, 30)


@pytest.mark.parametrize(("form", "codec"), [(form, codec) for form, codec in EVERY if CODECS[codec].bitrate])
def test_the_bitrate_is_about_what_was_asked(tmp_path, form, codec):
    noise = np.random.default_rng(0).normal(0, 0.1, (60, 96, 160, 3)).astype(np.float32)
    frames = bytes_of((waves(60, 160, 96) + noise).clip(0, 1))
    sizes = {}
    for rate in (0.3, 1.2):
        path = written(path_of(tmp_path, form), frames, form, Coding(codec=codec, bitrate=rate))
        sizes[rate] = path.stat().st_size * 8 / 2 / 1e6
    assert sizes[1.2] > 1.5 * sizes[0.3]
    assert all(0.5 < found / asked < 2 for asked, found in sizes.items())


@pytest.mark.skipif(FFPROBE is None, reason="ffprobe is not there")
@pytest.mark.parametrize(
    ("form", "codec"), [(form, codec) for form, codec in EVERY if form in ("mp4", "mkv", "webm", "mov")]
)
def test_ffprobe_reads_the_tags(tmp_path, form, codec):
    path = written(path_of(tmp_path, form), bytes_of(waves(3, 64, 64)), form, Coding(codec=codec))
    command = [str(FFPROBE), "-v", "error", "-show_format", "-of", "json", str(path)]
    tags = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["format"]["tags"]
    assert {key.lower(): value for key, value in tags.items()}["comment"] == SETTINGS
