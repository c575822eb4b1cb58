import errno
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from framepack.files.atomic import atomic_write
from framepack.files.errors import DiskFullError
from framepack.media.read import probe, read_video
from framepack.media.video import VideoWriter, format_of
from framepack.spec.formats import CODECS, FORMATS, SUFFIXES, check_fps, codec_of

LEAST_PSNR = {
    "mp4": 40,
    "mkv": 99,
    "webm": 38,
    "mov": 48,
    "gif": 28,
    "webp": 35,
    "apng": 99,
    "png": 99,
    "tiff": 99,
    "exr": 99,
}


@pytest.fixture(params=list(FORMATS))
def name(request):
    return request.param


def test_every_format_gives_back_its_frames_its_rate_and_its_length(tmp_path, clip, decibels, name):
    path = tmp_path / f"clip{FORMATS[name].suffix}"
    with VideoWriter(path, size=(96, 64), fps=24, format=name) as writer:
        writer.write(clip(10))
        writer.write(clip(1, start=10)[0])
    assert writer.frames_encoded == 11
    frames = np.stack(list(read_video(path)))
    assert frames.shape == (11, 64, 96, 3)
    assert decibels(frames, clip(11)) >= LEAST_PSNR[name]
    info = probe(path)
    assert (info.frames, info.fps, info.width, info.height) == (11, 24, 96, 64)
    assert info.duration == pytest.approx(11 / 24, abs=0.01)


@pytest.mark.parametrize("name", ["mkv", "apng", "png", "tiff"])
def test_lossless_formats_are_identical_to_the_bit_even_for_noise_and_odd_sizes(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (5, 33, 47, 3), dtype=np.uint8)
    path = tmp_path / f"noise{FORMATS[name].suffix}"
    with VideoWriter(path, size=(47, 33), format=name) as writer:
        writer.write(noise)
    assert np.array_equal(np.stack(list(read_video(path))), noise)


def test_quality_changes_the_file_of_the_formats_that_use_it_and_of_no_other(tmp_path, clip, name):
    frames = []
    for quality in (1, 51):
        path = tmp_path / f"{quality}{FORMATS[name].suffix}"
        with VideoWriter(path, size=(96, 64), quality=quality, format=name) as writer:
            writer.write(clip(5))
        frames.append(np.stack(list(read_video(path))))
    assert np.array_equal(*frames) != CODECS[codec_of(name)].crf


def test_mp4_is_what_browsers_play(tmp_path, clip):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, size=(96, 64)) as writer:
        writer.write(clip(20))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # faststart
    with av.open(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (stream.codec_context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert stream.start_time == 0


@pytest.mark.parametrize("name", ["mp4", "webm"])
def test_colours_are_not_shifted(tmp_path, name):
    patches = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128]], np.uint8)
    frame = np.repeat(np.repeat(patches[None], 32, 0), 16, 1)
    path = tmp_path / f"patches.{name}"
    with VideoWriter(path, size=(96, 32), quality=4) as writer:
        writer.write(np.stack([frame] * 3))
    seen = next(read_video(path))[16, 8::16]
    assert np.abs(seen.astype(int) - patches).max() <= 4


def test_quality_decides_the_size(tmp_path, clip):
    sizes = []
    for quality in (10, 40):
        with VideoWriter(tmp_path / f"{quality}.mp4", size=(96, 64), quality=quality) as writer:
            writer.write(clip(20))
        sizes.append((tmp_path / f"{quality}.mp4").stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_nothing_is_visible_before_the_end_and_nothing_else_after_it(tmp_path, clip, name):
    path = tmp_path / f"clip{FORMATS[name].suffix}"
    with VideoWriter(path, size=(96, 64), format=name) as writer:
        writer.write(clip(3))
        assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_error_leaves_the_old_file_and_no_trace(tmp_path, clip, name):
    path = tmp_path / f"clip{FORMATS[name].suffix}"
    path.write_text("the old one")
    with pytest.raises(ValueError, match="got float64"), VideoWriter(path, size=(96, 64), format=name) as writer:
        writer.write(np.concatenate([clip(3), np.zeros((1, 64, 96, 3))]))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "the old one"


def test_closing_twice_is_harmless_and_writing_after_it_is_not(tmp_path, clip):
    writer = VideoWriter(tmp_path / "clip.mp4", size=(96, 64))
    writer.write(clip(1))
    assert writer.close() == writer.close() == tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match="is closed"):
        writer.write(clip(1))


def test_a_video_without_frames_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        VideoWriter(tmp_path / "clip.mp4", size=(96, 64)).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (95, 64)}, r"even width and height, got 95x64: use 96x64, or mkv"),
        ({"size": (0, 64)}, r"1\.\.16384"),
        ({"fps": float("nan")}, r"fps must be 1\.\.240, got nan"),
        ({"fps": 0}, r"fps must be"),
        ({"quality": 0}, r"1\.\.51, got 0"),
        ({"format": "ogv"}, "format must be one of mp4, mkv"),
        ({"metadata": "[1]"}, "JSON object"),
    ],
)
def test_what_cannot_be_encoded_is_refused_with_the_bound_and_the_fix(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        VideoWriter(tmp_path / "clip.mp4", **{"size": (96, 64), **options})
    assert not list(tmp_path.iterdir())


def test_frames_of_another_size_or_type_are_refused(tmp_path, clip):
    with VideoWriter(tmp_path / "clip.mp4", size=(96, 64)) as writer:
        writer.write(clip(1))
        with pytest.raises(ValueError, match=r"\(T, 64, 96, 3\), got uint8 \(1, 32, 96, 3\)"):
            writer.write(clip(1, height=32))
        with pytest.raises(ValueError, match="got float32"):
            writer.write(clip(1).astype(np.float32))


def test_the_suffix_names_the_format_and_an_unknown_one_gets_the_list():
    assert {format_of(Path(f"a{row.suffix}")) for row in FORMATS.values()} == {names[0] for names in SUFFIXES.values()}
    with pytest.raises(ValueError, match=r"'.ogv' of 'a.ogv': use one of .mp4, .mkv"):
        format_of(Path("a.ogv"))


def test_common_rates_become_their_exact_fractions():
    assert check_fps(29.97) == Fraction(30000, 1001)
    assert check_fps(23.976) == Fraction(24000, 1001)
    assert (check_fps(30), check_fps(12.5)) == (30, Fraction(25, 2))
    assert [check_fps(rate) for rate in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert all(check_fps(check_fps(rate / 8)) == check_fps(rate / 8) for rate in range(8, 960))


def test_a_gif_has_no_more_frames_than_are_shown(tmp_path):
    with pytest.raises(ValueError, match=r"fps must be 1\.\.50, got 60"):
        VideoWriter(tmp_path / "a.gif", size=(16, 16), fps=60)


@pytest.mark.parametrize("name", ["12:30.mp4", "crypto:x.gif"])
def test_a_name_with_a_colon_is_no_address(tmp_path, clip, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with VideoWriter(Path(name), size=(96, 64)) as writer:
        writer.write(clip(2))
    assert probe(Path(name)).frames == 2


def test_a_disk_without_room_is_said_beforehand_with_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("framepack.files.atomic.free_bytes", lambda folder: 1_500_000)
    words = r"2\.0 MB needed, 1\.5 MB free in .* for 'a\.mp4': free some space"
    with pytest.raises(DiskFullError, match=words) as caught, atomic_write(tmp_path / "a.mp4", 2_000_000):
        pytest.fail("it must not begin")
    assert (caught.value.free, caught.value.needed) == (1_500_000, 2_000_000)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).startswith("the disk is full")


FILL = """
import sys, numpy as np
from pathlib import Path
from framepack.files.errors import DiskFullError
from framepack.media.video import VideoWriter
folder, noise = Path(sys.argv[1]), np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
for suffix in sys.argv[2:]:
    try:
        with VideoWriter(folder / f"a{suffix}", size=(128, 128)) as writer:
            for _ in range(20):
                writer.write(noise)
    except DiskFullError as error:
        assert "the disk is full" in str(error), error
    else:
        sys.exit(f"{suffix} did not notice")
    assert not list(folder.iterdir()), list(folder.iterdir())
"""


LIMITED = FILL.replace("DiskFullError", "FileTooLargeError").replace(
    "the disk is full", "larger than a single file may"
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_limit_of_a_files_size_is_said_as_what_it_is(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    suffixes = [row.suffix for row in FORMATS.values()]
    command = [sys.executable, "-c", limit + LIMITED, str(tmp_path), *suffixes]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs a disk of its own")
def test_a_disk_that_fills_up_is_said_so_and_nothing_half_written_stays(tmp_path):
    mount = f"mount -t tmpfs -o size=200k tmpfs {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk")
    suffixes = [row.suffix for row in FORMATS.values()]
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", FILL, str(tmp_path)]
    result = subprocess.run([*command, *suffixes], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
