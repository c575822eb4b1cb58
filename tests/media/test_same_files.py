"""The same frames give the same bytes, whatever the format, the clock and the number of processors."""

import os
import time
import zipfile
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from framepack.media.av_sink import AvCodec
from framepack.media.codecs import WRITERS
from framepack.media.join import join_segments
from framepack.media.read import probe
from framepack.media.sinks import SinkSpec
from framepack.media.video import VideoWriter
from framepack.spec.formats import CODECS, FORMATS, codec_of

WRITES = 4
"""x264 with AVX-512 gave two to four different files of four, at the sizes below."""


def written(path, frames, **options):
    with VideoWriter(path, size=frames.shape[2:0:-1], metadata='{"a": 1}', **options) as writer:
        writer.write(frames)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "width", "height"), [("mp4", 176, 144), ("webm", 176, 144), *((name, 96, 64) for name in FORMATS)]
)
def test_the_same_frames_give_the_same_file_again_and_again(tmp_path, clip, name, width, height):
    frames, path = clip(20, height, width), tmp_path / f"a{FORMATS[name].suffix}"
    assert len({written(path, frames, format=name) for _ in range(WRITES)}) == 1


@pytest.mark.parametrize("threads", [1, 2, 16, 24])
@pytest.mark.parametrize("name", ["mp4", "webm", "mkv"])
def test_with_any_number_of_threads_the_same_frames_give_the_same_file(tmp_path, clip, name, threads):
    sink, path, frames = WRITERS[name, codec_of(name)], tmp_path / "a", clip(17, 64, 96)
    assert isinstance(sink, AvCodec)
    files = set()
    for _ in range(2):
        opened = replace(sink, threads=threads)(path, SinkSpec(width=96, height=64, fps=Fraction(30)))
        for frame in frames:
            opened.write(frame)
        opened.close()
        files.add(path.read_bytes())
    assert len(files) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux can take processors away from a thread")
@pytest.mark.parametrize("name", list(FORMATS))
def test_the_machines_number_of_processors_changes_nothing(tmp_path, clip, name):
    every, path = os.sched_getaffinity(0), tmp_path / f"a{FORMATS[name].suffix}"
    if len(every) < 2:
        pytest.skip("one processor only")
    many = written(path, clip(9), format=name)
    os.sched_setaffinity(0, {min(every)})
    try:
        assert written(path, clip(9), format=name) == many
    finally:
        os.sched_setaffinity(0, every)


def test_more_threads_make_no_larger_file(tmp_path, clip):
    """Slices cost 10% on 16 processors."""
    sink, sizes = WRITERS["mp4", "h264"], []
    assert isinstance(sink, AvCodec)
    for threads in (1, sink.threads, 24):
        opened = replace(sink, threads=threads)(tmp_path / "a", SinkSpec(width=96, height=64, fps=Fraction(30)))
        for frame in clip(25):
            opened.write(frame)
        opened.close()
        sizes.append((tmp_path / "a").stat().st_size)
    assert max(sizes) <= 1.01 * min(sizes)


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("name", list(FORMATS))
def test_joined_files_are_equal_too(tmp_path, clip, name, draft):
    kept = FORMATS[name].suffix if CODECS[codec_of(name)].joins else ".mkv"
    parts = [tmp_path / f"{i}{kept}" for i in range(2)]
    for i, part in enumerate(parts):
        written(part, clip(7, start=7 * i))
    path = tmp_path / f"whole{FORMATS[name].suffix}"
    files = set()
    for _ in range(2):
        join_segments(parts, path, metadata='{"a": 1}', draft=draft, format=name)
        files.add(path.read_bytes())
    assert len(files) == 1


def test_the_clock_stands_in_no_file(tmp_path, clip, monkeypatch):
    first = written(tmp_path / "a.zip", clip(2))
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert written(tmp_path / "a.zip", clip(2)) == first
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_picture_that_stands_still_lasts_as_long_as_its_frames(tmp_path, name):
    path = tmp_path / f"a{FORMATS[name].suffix}"
    written(path, np.full((12, 32, 32, 3), 90, np.uint8), format=name)
    assert probe(path).duration == pytest.approx(12 / 30, abs=0.001)
