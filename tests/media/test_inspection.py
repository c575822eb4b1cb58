"""Each format is written and inspected; what is cut off is told to be."""

import json

import av
import numpy as np
import pytest

from framepack.files.errors import MediaError
from framepack.media.inspection import inspect_file, lines_of
from framepack.media.marks import is_made_by_ai
from framepack.media.read import probe
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS

FRAMES = 31
CUT = "it is cut off: the end of the file is missing, so copy or download it again"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A video of every format and rate."""
    y, x, c = np.mgrid[:64, :96, :3]
    t = np.arange(FRAMES)[:, None, None, None]
    clip = np.clip(127 + 55 * (np.sin(x / 17 + t / 9 + c) + np.cos(y / 11 - t / 13)), 0, 255).astype(np.uint8)
    folder, videos = tmp_path_factory.mktemp("videos"), {}
    for name, row in FORMATS.items():
        for fps in (30, 24, 12.5):
            with VideoWriter(folder / f"{name}{fps}{row.suffix}", size=(96, 64), fps=fps, format=name) as writer:
                writer.write(clip)
            videos[name, fps] = folder / f"{name}{fps}{row.suffix}"
    return videos


@pytest.mark.parametrize("fps", [30, 24, 12.5])
@pytest.mark.parametrize("name", FORMATS)
def test_a_video_is_reported_as_it_was_written(made, name, fps):
    found = inspect_file(made[name, fps])
    assert found.format == ("zip" if FORMATS[name].sequence else name)
    assert (found.frames, found.width, found.height, found.cut_off) == (FRAMES, 96, 64, False)
    coarse = {"gif": 0.005, "webp": 0.001}.get(name, 1e-6)
    assert found.seconds == pytest.approx(FRAMES / fps, abs=coarse)
    assert CUT not in list(lines_of(found, "v"))


@pytest.mark.parametrize("container", ["webm", "matroska"])
def test_the_last_frame_lasts_though_its_file_does_not_say_so(tmp_path, container):
    """As browsers record: frames have their time and no duration."""
    with av.open(str(tmp_path / "v"), "w", format=container) as file:
        stream = file.add_stream("libvpx-vp9", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 40 * index, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    data = (tmp_path / "v").read_bytes()
    assert data.count(b"\x23\xe3\x83\x84") == 1
    silent = data.replace(b"\x23\xe3\x83\x84", b"\xec\x86\0\0")  # the frames' duration becomes a void
    assert probe(silent).duration == pytest.approx(0.2, abs=1e-3)


def test_a_webm_is_one_whatever_stands_before_its_name(made):
    data = made["webm", 30].read_bytes()
    length = data[4]
    assert data[4] & 0x80  # one byte of length
    void = b"\xec" + bytes([0x80 | 90]) + bytes(90)
    longer = data[:4] + b"\x40" + bytes([(length & 0x7F) + len(void)]) + void + data[5:]
    assert inspect_file(longer).format == "webm"
    assert inspect_file(made["mkv", 30]).format == "mkv"


@pytest.mark.parametrize("part", [0.6, 0.9, 0.999])
@pytest.mark.parametrize("name", ["mp4", "mkv", "webm", "gif"])
def test_a_file_without_its_end_is_told_to_be_cut_off(made, name, part):
    data = made[name, 30].read_bytes()
    try:
        found = inspect_file(data[: int(len(data) * part)])
    except MediaError:  # too little is left of it
        return
    assert found.cut_off
    assert CUT in list(lines_of(found, "v"))


def test_what_follows_the_end_is_no_cut(made):
    for name in ("mp4", "mkv", "webm", "gif"):
        assert not inspect_file(made[name, 30].read_bytes() + bytes(8)).cut_off


@pytest.mark.parametrize(("form", "suffix"), [("tiff", ".tif"), ("exr", ".exr"), ("png", ".png")])
@pytest.mark.parametrize("mark", [True, False])
def test_a_picture_of_a_sequence_says_its_size_and_its_mark(tmp_path, form, suffix, mark):
    metadata = json.dumps({"request": {"output": {"mark": mark}}})
    with VideoWriter(tmp_path / "p", size=(64, 48), format=form, metadata=metadata) as writer:
        writer.write(np.zeros((2, 48, 64, 3), np.uint8))
    found = inspect_file(tmp_path / "p" / f"frame_000001{suffix}")
    assert (found.format, found.width, found.height, found.frames) == (form, 64, 48, 1)
    assert found.marked is mark
    assert is_made_by_ai(tmp_path / "p" / f"frame_000001{suffix}") is mark


def test_a_damaged_picture_of_floats_is_a_sentence(tmp_path):
    with VideoWriter(tmp_path / "p", size=(64, 48), format="exr") as writer:
        writer.write(np.zeros((1, 48, 64, 3), np.uint8))
    file = tmp_path / "p" / "frame_000000.exr"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(MediaError, match="is damaged or cut off"):
        inspect_file(file)
