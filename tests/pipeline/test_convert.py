"""`framepack convert`: a video in another format, rate and speed, and what goes along with it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tones import tone

from framepack.app.cli import main as cli
from framepack.files.errors import MediaError
from framepack.media.finishing import Progress
from framepack.media.marks import is_marked
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.sound import Sound, has_sound
from framepack.media.video import VideoWriter
from framepack.pipeline.finishing import convert, convert_video, finish
from framepack.spec.formats import Coding

REQUEST = {"framepack": "0.1.0", "request": {"image": "a.png", "seed": 7, "schema": 2}}


def film(file: Path, frames: int = 20, **more: object) -> Path:
    settings = {"fps": 10, "metadata": json.dumps(REQUEST), **more}
    with VideoWriter(file, size=(64, 64), **settings) as writer:  # type: ignore[arg-type]
        for number in range(frames):
            writer.write(np.full((64, 64, 3), 5 * number, np.uint8))
    return file


def levels(file: Path) -> list[int]:
    return [round(frame.mean()) for frame in read_video(file, whole=True)]


@pytest.mark.parametrize(
    ("suffix", "settings", "codec"),
    [
        (".mp4", {"codec": "h265"}, "hevc"),
        (".mov", {"codec": "prores4444"}, "prores"),
        (".webm", {"codec": "av1"}, "av1"),
        (".mkv", {"codec": "ffv1-16"}, "ffv1"),
        (".webm", {"quality": "lossless"}, "vp9"),
        (".gif", {}, "gif"),
    ],
)
def test_it_is_in_the_format_and_codec_asked_for_with_settings_and_mark(tmp_path, suffix, settings, codec):
    film(tmp_path / "v.mkv")
    events = list(convert_video(tmp_path / "v.mkv", tmp_path / f"o{suffix}", **settings))
    assert events == [Progress(frames=number, total=20) for number in range(1, 21)]
    made = tmp_path / f"o{suffix}"
    assert (probe(made).codec, probe(made).frames, probe(made).fps) == (codec, 20, 10)
    assert np.abs(np.array(levels(made)) - 5 * np.arange(20)).max() <= 3
    assert (read_metadata(made), is_marked(made)) == (REQUEST, True)


def test_rate_and_speed_are_those_of_a_request(tmp_path):
    file = film(tmp_path / "v.mkv")
    assert levels(convert(file, tmp_path / "1.mkv", speed=2)) == [10 * n for n in range(10)]
    slow = convert(file, tmp_path / "2.mkv", speed=0.5)
    assert (levels(slow), probe(slow).fps) == ([5 * (n // 2) for n in range(40)], 10)
    fast = convert(file, tmp_path / "3.mkv", fps=20, fps_mode="blend")
    assert (levels(fast)[:5], probe(fast).fps, probe(fast).frames) == ([0, 2, 5, 8, 10], 20, 40)
    found = read_metadata(fast)
    assert found is not None
    assert found["finish"] == [{"fps": 20, "fps_mode": "blend"}]
    assert probe(finish(file, tmp_path / "4.mkv", start=1, fps=20, speed=0.5)).frames == 40


def test_more_than_8_bits_stay_where_no_step_computes_in_8(tmp_path):
    levels = np.random.default_rng(0).random((3, 64, 64, 3), np.float32)
    with VideoWriter(tmp_path / "v.mkv", size=(64, 64), quality=Coding(codec="ffv1-16")) as writer:
        writer.write(levels)
    made = finish(tmp_path / "v.mkv", tmp_path / "o.zip", format="tiff", end=0.06)
    wide = np.stack(list(read_video(tmp_path / "v.mkv", wide=True)))
    assert np.array_equal(np.stack(list(read_video(made, wide=True))), wide[:2])
    eight = finish(tmp_path / "v.mkv", tmp_path / "e.zip", format="tiff", grain=0.01)
    assert not np.array_equal(next(read_video(eight, wide=True)), wide[0])


def test_sound_goes_along_where_it_can_and_is_missed_in_a_sentence(tmp_path):
    file = film(tmp_path / "v.mp4", sound=Sound(file=tone(tmp_path / "t.wav", 2.0)))
    assert has_sound(convert(file, tmp_path / "o.mov"))
    for output, settings, why in (("o.gif", {}, "gif has none"), ("s.mp4", {"speed": 2}, "plays at another speed")):
        said = list(convert_video(file, tmp_path / output, **settings))
        assert why in str(said[0])
        assert not has_sound(tmp_path / output)


def test_on_the_command_line_the_name_decides_and_nothing_is_replaced_unasked(tmp_path, capsys):
    file = film(tmp_path / "v.mkv")
    assert run("convert", file, "-o", tmp_path / "o.mp4", "--codec", "h265", "--quality", "draft", "--fps", "20") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "o.mp4")
    assert (probe(tmp_path / "o.mp4").codec, probe(tmp_path / "o.mp4").frames) == ("hevc", 40)
    assert run("convert", file, "--format", "webm") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "v.webm")
    for arguments, why in (
        ((file,), "name the new file (--output), or its format (--format)"),
        ((file, "-o", tmp_path / "o.mp4"), "is there already"),
        ((file, "-o", file, "--overwrite"), "is the video itself"),
        ((file, "-o", tmp_path / "x.mp4", "--codec", "vp9"), "mp4 holds h264, h265 or av1, got codec vp9"),
        ((file, "-o", tmp_path / "x"), "no video format has the suffix ''"),
        ((file, "-o", tmp_path / "x.mp4", "--quality", "lossless"), "h264 is never lossless"),
    ):
        assert run("convert", *arguments) == 2
        assert why in capsys.readouterr().err
    assert not list(tmp_path.glob("x*"))


def test_a_damaged_file_leaves_nothing(tmp_path):
    file = film(tmp_path / "v.mp4")
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(MediaError):
        convert(file, tmp_path / "o.mkv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.mp4"]


def run(*arguments: object) -> int:
    """The command line's status."""
    before, sys.argv = sys.argv, ["framepack", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = before
    return 0
