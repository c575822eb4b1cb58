"""Videos as phones write them: frames that last unequally long, and sound that is longer than the picture."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepack.files.errors import MediaError
from framepack.media.pace import Pace, pace_of
from framepack.media.read import probe, read_video
from framepack.pipeline.finishing import convert_video

EVEN = [index / 30 for index in range(30)]
SLOWER = [*EVEN, *(1 + index / 10 for index in range(10))]
"""Thirty frames in the first second, ten in the next one."""


def written(file: Path, times: list[float], sound: float = 0.0) -> Path:
    """A grey video, brighter with each frame, each shown at its second; with so many seconds of silence."""
    with av.open(str(file), "w") as container:
        video: Any = container.add_stream("libx264", rate=30, options={"bf": "0"})
        video.width = video.height = 64
        video.pix_fmt, video.time_base = "yuv420p", Fraction(1, 90000)
        audio: Any = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 + 5 * index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time * 90000), Fraction(1, 90000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for index in range(round(sound * 48000 / 1024)):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts = 48000, index * 1024
            container.mux(audio.encode(block))
        if audio:
            container.mux(audio.encode(None))
    return file


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_sound_that_is_longer_than_the_picture_is_no_sign_of_a_cut(tmp_path: Path, suffix: str) -> None:
    file = written(tmp_path / f"a{suffix}", EVEN, sound=1.5)
    assert len(list(read_video(file, whole=True))) == 30
    assert pace_of(file, probe(file)) is None


def test_a_picture_that_is_cut_off_is_still_found_beside_its_sound(tmp_path: Path) -> None:
    file = written(tmp_path / "a.mkv", EVEN)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size * 2 // 3)
    with pytest.raises(MediaError, match="cut off"):
        list(read_video(file, whole=True))


def test_frames_of_unequal_length_are_written_anew_by_their_times(tmp_path: Path) -> None:
    file = written(tmp_path / "a.mp4", SLOWER)
    assert pace_of(file, probe(file)) == Pace(fps=Fraction(30), frames=60)
    said = list(convert_video(file, tmp_path / "b.mkv"))
    assert any("last unequally long" in str(one) for one in said)
    info = probe(tmp_path / "b.mkv")
    assert (info.frames, info.fps) == (60, 30)
    shown = [frame[0, 0, 0] for frame in read_video(tmp_path / "b.mkv")]
    source = [frame[0, 0, 0] for frame in read_video(file)]
    assert shown[:30] == source[:30]
    assert shown[30:] == [level for level in source[30:] for _ in range(3)]
