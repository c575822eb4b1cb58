"""Frames out: the decoded ones to the bit, by number and by second, and what each says of itself."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from exiftool import says_made_by_ai

from framepack.files.errors import MediaError
from framepack.media.frames import extract_frames, still, stills, timeline
from framepack.media.image import load_image
from framepack.media.inspection import inspect_file, lines_of
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.sandbox import Limits, inspect_untrusted, still_of_untrusted_video
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS

REQUEST = {"image": "a.png", "prompt": "ä", "end_frame": None, "frames": [{"image": "b.png", "second": 0.5}]}
SETTINGS = json.dumps({"framepack": "9.9", "request": REQUEST | {"output": {"mark": True, "crf": 16}}})


def film(
    file: Path, clip, frames: int = 40, fps: float = 30, form: str | None = None, metadata: str | None = SETTINGS
) -> Path:
    with VideoWriter(file, size=(96, 64), fps=fps, metadata=metadata, format=form) as writer:
        writer.write(clip(frames))
    return file


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("fps", [12.5, 29.97, 50])
def test_each_number_gives_the_frame_that_decoding_gives_and_is_shown_when_the_file_says(tmp_path, clip, name, fps):
    path = film(tmp_path / f"v{FORMATS[name].suffix}", clip, 40, fps, name)
    decoded, times = list(read_video(path)), timeline(path)
    assert len(times.starts) == len(decoded) == probe(path).frames
    assert times.end == pytest.approx(40 / fps, abs=0.02)
    for number in (0, 1, 17, 38, 39):
        frame = still(path, which=number)
        assert (frame.number, frame.frames) == (number, 40)
        assert np.array_equal(frame.pixels, decoded[number])
        assert frame.second == pytest.approx(number / fps, abs=0.011 if name == "gif" else 0.002)
        for at in (frame.second, frame.second + 0.8 / fps):
            assert still(path, at=at).number == number
    assert still(path, which="first").number == 0
    assert still(path, which="last").number == 39
    assert [frame.number for frame in stills(path, 15)] == [0, 15, 30]


def test_a_frame_far_inside_is_sought_and_not_read_up_to(tmp_path, clip, monkeypatch):
    path = film(tmp_path / "v.mkv", clip, 60)
    wanted = list(read_video(path))[50]
    monkeypatch.setattr("framepack.media.frames.pending_frames", lambda *_: pytest.fail("read through"))
    assert np.array_equal(still(path, which=50).pixels, wanted)


def test_times_that_start_late_or_vary_are_the_files_own(tmp_path, clip):
    path = tmp_path / "v.mkv"
    starts = [2000, 2100, 2110, 2500, 2510]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for start, pixels in zip(starts, clip(5), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = start, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert np.allclose(timeline(path).starts, [0, 0.1, 0.11, 0.5, 0.51])
    for at, number in ((0, 0), (0.09, 0), (0.105, 1), (0.3, 2), (0.505, 3)):
        assert np.array_equal(still(path, at=at).pixels, clip(5)[number])


@pytest.mark.parametrize("name", list(FORMATS))
def test_what_is_not_there_is_a_sentence(tmp_path, clip, name):
    path = film(tmp_path / f"v{FORMATS[name].suffix}", clip, 30, form=name)
    for at in (1.01, 99.0, -0.1, float("nan"), float("inf")):
        with pytest.raises(MediaError, match=r"lasts \d.\d\d s, so nothing is shown at .* ask for a second from 0 to"):
            still(path, at=at)
    for number in (30, -1, 10**30):
        with pytest.raises(MediaError, match=f"has frames 0 to 29: there is no frame {number}"):
            still(path, which=number)


def test_a_saved_frame_is_the_decoded_one_says_which_it_is_and_is_marked(tmp_path, clip):
    path = film(tmp_path / "v.mp4", clip)
    (file,) = extract_frames(path, at=0.5)
    assert file == tmp_path / "v-000015.png"
    assert np.array_equal(load_image(file), list(read_video(path))[15])
    assert says_made_by_ai(file)
    metadata = read_metadata(file)
    assert metadata is not None
    assert metadata["frame"] == {
        "of": "v.mp4",
        "number": 15,
        "second": 0.5,
        "frames": 40,
        "request": json.loads(SETTINGS)["request"],
    }
    assert "request" not in metadata  # dropped on the page it is a picture, not settings that come back


@pytest.mark.parametrize(
    ("metadata", "marked"), [(SETTINGS, True), ('{"request": {"output": {"mark": false}}}', False), (None, False)]
)
def test_frames_of_a_video_are_marked_as_it_is(tmp_path, clip, metadata, marked):
    path = film(tmp_path / "v.mkv", clip, 10, metadata=metadata)
    files = extract_frames(path, every=4)
    assert [file.name for file in files] == ["frame_000000.png", "frame_000004.png", "frame_000008.png"]
    assert files[0].parent == tmp_path / "v-frames"
    for file, pixels in zip(files, list(read_video(path))[::4], strict=True):
        assert np.array_equal(load_image(file), pixels)
    assert [says_made_by_ai(file) for file in files] == [marked] * 3
    assert extract_frames(path, tmp_path / "one.png", which="last") == [tmp_path / "one.png"]


def test_no_picture_is_replaced_unless_allowed_and_mistakes_are_reported(tmp_path, clip):
    path = film(tmp_path / "v.mkv", clip, 10)
    (first,) = extract_frames(path, which="first")
    with pytest.raises(ValueError, match="is there already: give another name or folder, or use --overwrite"):
        extract_frames(path, which="first")
    assert extract_frames(path, which="first", overwrite=True) == [first]
    extract_frames(path, every=9)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "v-frames").iterdir()}
    with pytest.raises(ValueError, match="frame_000000"):
        extract_frames(path, every=1)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "v-frames").iterdir()} == before
    assert len(extract_frames(path, every=5, overwrite=True)) == 2
    for wrong, says in (
        ({"every": 0}, "every must be 1"),
        ({"every": 2, "output": tmp_path / "a.png"}, "several frames need a folder"),
        ({"every": 2, "output": path}, "there is a file in its place"),
        ({"which": 0, "output": path / "a.png"}, "there is a file in its place"),
        ({"which": 0, "output": tmp_path / "a.jpg"}, "saved as .png, got 'a.jpg'"),
        ({}, "choose the frames: at a second"),
        ({"at": 0, "every": 1}, "choose the frames: at a second"),
    ):
        with pytest.raises(ValueError, match=says):
            extract_frames(path, **wrong)
    with pytest.raises(MediaError, match="no such file"):
        extract_frames(tmp_path / "none.mp4", which=0)
    with pytest.raises(MediaError, match="is not a video"):
        extract_frames(first, which=0)


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_child_finds_the_same(tmp_path, clip, name):
    path = film(tmp_path / f"v{FORMATS[name].suffix}", clip, 10, form=name)
    patient = Limits(seconds=120)  # a machine that is busy with other things
    frame, about = still_of_untrusted_video(path, path.name, which=7, limits=patient)
    assert np.array_equal(frame.pixels, list(read_video(path))[7])
    assert json.loads(about)["frame"]["number"] == frame.number == 7
    assert inspect_untrusted(path, patient) == inspect_file(path)


@pytest.mark.parametrize("name", list(FORMATS))
def test_what_is_inside_is_reported(tmp_path, clip, name):
    path = film(tmp_path / f"v{FORMATS[name].suffix}", clip, 10, fps=25, form=name)
    found = inspect_file(path)
    assert (found.width, found.height, found.frames, found.fps) == (96, 64, 10, "25")
    assert found.seconds == pytest.approx(0.4, abs=0.01)
    assert found.bytes == path.stat().st_size
    assert found.format == ("zip" if FORMATS[name].sequence else name)
    assert found.request == json.loads(SETTINGS)["request"]
    lines = list(lines_of(found, path.name))
    assert lines[1] == f"10 frames, 25 a second, {found.seconds:.2f} s"
    assert "it says that AI made it" in lines
    assert "made by FramePack 9.9 with these settings:" in lines
    assert "  prompt: ä" in lines
    assert "  frames: image b.png, second 0.5" in lines
    assert "  output: mark yes, crf 16" in lines
    assert not any("end frame" in line for line in lines)


def test_other_peoples_files_are_told_too_and_obey_no_terminal(tmp_path, clip):
    path = film(tmp_path / "v.mkv", clip, 10, metadata=None)
    assert list(lines_of(inspect_file(path), "v.mkv"))[2:] == [
        "nothing in it says that AI made it",
        "no FramePack settings in it",
    ]
    evil = json.dumps({"framepack": "\x1b[2J", "request": {"\x1b]0;x\x07": "a\nb\x1b[31m", "x": [["\r"], 1e99]}})
    path = film(tmp_path / "w.mkv", clip, 10, metadata=evil)
    assert all(line.isprintable() for line in lines_of(inspect_file(path), "w\n.mkv"))


def test_a_picture_is_one_frame_and_tells_which(tmp_path, clip):
    (file,) = extract_frames(film(tmp_path / "v.mkv", clip), which=3)
    found = inspect_file(file)
    assert (found.format, found.frames, found.fps, found.marked) == ("png", 1, None, True)
    assert found.frame == {"of": "v.mkv", "number": 3, "second": 0.1, "frames": 40}
    assert found.request == json.loads(SETTINGS)["request"]
    assert "a single frame: of v.mkv, number 3, second 0.1, frames 40" in lines_of(found, "a.png")
