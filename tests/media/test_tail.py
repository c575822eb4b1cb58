"""The end of a video, found without the long way there."""

import av
import numpy as np
import pytest

from framepack.media import pixels, tail
from framepack.media.join import join_segments
from framepack.media.read import read_video
from framepack.media.tail import read_tail
from framepack.media.video import VideoWriter
from framepack.spec.formats import CODECS, FORMATS, codec_of

LENGTH, PIECE = 160, 40
"""Frames of the videos, and of the pieces that each begin with a key frame."""


@pytest.fixture
def made(tmp_path, clip):
    def make(name):
        path = tmp_path / f"whole{FORMATS[name].suffix}"
        kept = FORMATS[name].suffix if CODECS[codec_of(name)].joins else ".mkv"
        pieces = [tmp_path / f"{start}{kept}" for start in range(0, LENGTH, PIECE)]
        for index, piece in enumerate(pieces):
            with VideoWriter(piece, size=(96, 64)) as writer:
                writer.write(clip(PIECE, start=index * PIECE))
        join_segments(pieces, path, format=name)
        return path

    return make


@pytest.fixture
def converted(monkeypatch):
    """The frames that became RGB."""
    found, rgb = [], pixels._rgb

    def counted(picture, **how):
        found.append(picture)
        return rgb(picture, **how)

    monkeypatch.setattr(pixels, "_rgb", counted)
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_the_tail_is_the_end_of_the_whole(made, name):
    path = made(name)
    whole = np.stack(list(read_video(path)))
    for count in (1, 5, 70, LENGTH + 9):
        assert np.array_equal(read_tail(path, count), whole[-count:])
    assert np.array_equal(read_tail(path, 5, fps=15), list(read_video(path, fps=15))[-5:])


@pytest.mark.parametrize("name", ["mp4", "mkv", "webm", "gif"])
def test_only_the_frames_that_are_kept_become_rgb(made, name, converted):
    path = made(name)
    converted.clear()
    read_tail(path, 2)
    assert len(converted) == 2


@pytest.mark.parametrize("name", ["mp4", "mkv", "webm"])
def test_decoding_begins_at_a_key_frame_near_the_end(made, name, monkeypatch):
    decoded, pending = [], tail.pending

    def counted(picture, square):
        decoded.append(picture)
        return pending(picture, square)

    monkeypatch.setattr(tail, "pending", counted)
    read_tail(made(name), 1)
    assert len(decoded) == PIECE


def test_frames_before_a_key_frame_that_need_what_was_passed_over_are_not_taken(tmp_path, clip):
    path = tmp_path / "open.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": "keyint=20:open-gop=1:bframes=3"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in clip(LENGTH):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    whole = np.stack(list(read_video(path)))
    for count in range(1, 45):
        assert np.array_equal(read_tail(path, count), whole[-count:])


def test_a_file_that_cannot_be_sought_in_is_read_through(made, monkeypatch):
    path = made("mp4")
    monkeypatch.setattr(tail, "sought", lambda *_: None)
    assert np.array_equal(read_tail(path, 3), list(read_video(path))[-3:])
