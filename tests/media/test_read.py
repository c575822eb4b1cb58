import io
import struct
import zipfile
from fractions import Fraction

import av
import numpy as np
import pytest

from framepack.files.errors import MediaError
from framepack.media.image import encode_image
from framepack.media.read import probe, read_video, require_frames
from framepack.media.video import VideoWriter


@pytest.fixture
def mp4(tmp_path, clip):
    with VideoWriter(tmp_path / "clip.mp4", size=(96, 64)) as writer:
        writer.write(clip(30))
    return tmp_path / "clip.mp4"


def test_another_rate_goes_by_the_time_stamps(mp4):
    whole = list(read_video(mp4))
    assert all(np.array_equal(a, b) for a, b in zip(read_video(mp4, fps=15), whole[::2], strict=True))
    doubled = list(read_video(mp4, fps=60))
    assert len(doubled) == 60
    assert np.array_equal(doubled[1], whole[0])


def test_a_video_is_read_from_bytes_and_open_files_too(mp4):
    assert probe(mp4.read_bytes()) == probe(mp4)
    with mp4.open("rb") as file:
        assert len(list(read_video(file))) == 30
        assert not file.closed


def test_a_phones_lying_frames_are_turned_upright(mp4, clip, decibels):
    data = mp4.read_bytes()
    plain, turned = (struct.pack(">9i", *matrix) for matrix in (PLAIN, TO_THE_RIGHT))
    assert data.count(plain) == 2  # of the movie and of its track
    at = data.rindex(plain)
    lying = data[:at] + turned + data[at + 36 :]
    assert (probe(lying).width, probe(lying).height) == (64, 96)
    assert decibels(next(read_video(lying)), np.rot90(clip(1)[0], -1)) > 35


PLAIN = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
TO_THE_RIGHT = (0, 65536, 0, -65536, 0, 0, 64 << 16, 0, 1 << 30)
"""A quarter turn clockwise, as in ISO 14496-12: what a phone held upright writes."""


def test_an_untagged_small_file_is_bt601_as_players_assume(tmp_path, decibels):
    path = tmp_path / "old.mkv"
    red = np.full((64, 96, 3), (200, 40, 40), np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"b": "9000000"})
        stream.width, stream.height = 96, 64
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red)) + stream.encode())
    assert decibels(next(read_video(path)), red) > 35
    assert probe(path).fps == Fraction(25)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"#EXTM3U\nfile:///etc/passwd\n", "is not a video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "is not a video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a video"),
        (b"\0\0\0\x18ftypisom" + bytes(50), "damaged"),
        (b"\x1aE\xdf\xa3" + bytes(50), "damaged"),
        (b"GIF89a" + bytes(3), "damaged"),
        (b"PK\x03\x04" + bytes(50), "damaged"),
        (b"", "empty"),
    ],
)
def test_what_is_not_a_video_gets_one_sentence(data, words):
    for read in (probe, lambda source: list(read_video(source))):
        with pytest.raises(MediaError, match=words):
            read(data)


def test_sound_alone_is_not_a_video(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame) + stream.encode())
    with pytest.raises(MediaError, match="sound but no picture"):
        probe(path)


def test_a_zip_of_pictures_plays_in_order_and_a_zip_of_others_does_not(clip):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(MediaError, match="no video in it"):
        probe(file.getvalue())
    with zipfile.ZipFile(file, "a") as archive:
        for index in (2, 0, 1):
            archive.writestr(f"{index}.PNG", encode_image(clip(1, start=index)[0]))
    assert np.array_equal(np.stack(list(read_video(file.getvalue()))), clip(3))
    assert probe(file.getvalue()).fps == 30


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif", ".webp", ".zip"])
@pytest.mark.parametrize("part", [0.5, 0.95])
def test_a_video_that_was_cut_off_is_no_whole_one(tmp_path, clip, suffix, part):
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, size=(96, 64)) as writer:
        writer.write(clip(25))
    assert len(list(read_video(path, whole=True))) == 25
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(MediaError, match="damaged"):
        list(read_video(path, whole=True))


def test_a_damaged_frame_makes_no_whole_video(tmp_path, clip):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, size=(96, 64)) as writer:
        writer.write(clip(25))
    data = bytearray(path.read_bytes())
    data[int(len(data) * 0.7)] ^= 4
    path.write_bytes(data)
    assert len(list(read_video(path))) == 25
    with pytest.raises(MediaError, match="damaged"):
        list(read_video(path, whole=True))


def test_a_file_is_asked_for_its_frames(tmp_path, clip):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, size=(96, 64)) as writer:
        writer.write(clip(5))
    require_frames(path, 5, Fraction(30))
    with pytest.raises(MediaError, match="holds 5 frames of 6, so it is not kept"):
        require_frames(path, 6, Fraction(30))


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
def test_at_its_own_rate_a_video_has_its_own_frames(tmp_path, suffix):
    """Matroska's times are whole milliseconds, which must neither repeat a frame nor leave one out."""
    for count in (1, 2, 7, 40, 60, 61, 91):
        frames = np.stack([np.full((16, 16, 3), 2 * number, np.uint8) for number in range(count)])
        path = tmp_path / f"{count}.{suffix}"
        with VideoWriter(path, size=(16, 16)) as writer:
            writer.write(frames)
        assert np.array_equal(np.stack(list(read_video(path, fps=30))), np.stack(list(read_video(path))))
