"""Foreign files whose streams do not begin at 0, copied with an offset or behind an edit: whole, unless cut off."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepack.files.errors import MediaError
from framepack.media.read import probe, read_video

COUNT = 30
UNEVEN = [*(index / 30 for index in range(20)), *(0.7 + index / 3 for index in range(10))]
H264 = ("libx264", "aac", {"bf": "3", "g": "10"})
PLAIN = ("libx264", "aac", {"bf": "0", "g": "10"})
VP9 = ("libvpx-vp9", "libopus", {"g": "10", "cpu-used": "8", "deadline": "realtime"})


def written(file: Path, coders: tuple[str, str, dict[str, str]], times: list[float]) -> Path:
    """Frames at those seconds with 1.5 s of silence."""
    with av.open(str(file), "w") as container:
        video: Any = container.add_stream(coders[0], rate=30, options=coders[2])
        video.width, video.height, video.pix_fmt, video.time_base = 64, 48, "yuv420p", Fraction(1, 90000)
        audio: Any = container.add_stream(coders[1], rate=48000, layout="mono")
        for index, time in enumerate(times):
            noise = np.random.default_rng(index).integers(0, 255, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="rgb24")
            frame.pts, frame.time_base = round(time * 90000), Fraction(1, 90000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for index in range(70):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts = 48000, index * 1024
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return file


def copied(source: Path, target: Path, picture: float, sound: float) -> Path:
    """Every packet as it is, so many seconds later."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        streams = {one.index: made.add_stream_from_template(one) for one in given.streams}
        for packet in given.demux():
            if packet.pts is None or packet.dts is None:
                continue
            is_picture = packet.stream.type == "video"
            ticks = round((picture if is_picture else sound) / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = streams[packet.stream.index]
            made.mux(packet)
    return target


EVEN = [index / 30 for index in range(COUNT)]
SHIFTS = [(0.0, 0.0), (0.02, 0.02), (0.1, 0.0), (0.0, 0.3), (0.3, 0.3), (5.0, 5.0), (5.0, 0.0)]
CASES = [("mp4", "mkv", H264), ("mp4", "mp4", H264), ("mkv", "mov", PLAIN), ("webm", "webm", VP9), ("webm", "mkv", VP9)]


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize(("first", "then", "coders"), CASES)
def test_a_stream_that_begins_later_is_whole_and_one_that_is_cut_off_is_not(
    tmp_path: Path, first: str, then: str, coders: tuple[str, str, dict[str, str]], times: list[float]
) -> None:
    source = written(tmp_path / f"a.{first}", coders, times)
    for number, (picture, sound) in enumerate(SHIFTS):
        data = copied(source, tmp_path / f"{number}.{then}", picture, sound).read_bytes()
        assert len(list(read_video(data, whole=True))) == probe(data).frames == COUNT, (picture, sound)
    for part in (0.4, 0.8, 0.97):
        with pytest.raises(MediaError, match="damaged"):
            list(read_video(data[: int(len(data) * part)], whole=True))


def test_frames_before_an_edits_start_are_not_counted(tmp_path: Path) -> None:
    """An mp4 from its middle on keeps the frames since the keyframe before, which are not shown."""
    source = written(tmp_path / "a.mp4", PLAIN, EVEN)
    file = copied(source, tmp_path / "b.mp4", -1 / 6, -1 / 6)
    assert len(list(read_video(file, whole=True))) == probe(file).frames == COUNT - 5


def test_a_hole_in_a_matroska_file_is_found_though_its_end_is_there(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "a.webm", VP9, EVEN).read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    assert len(list(read_video(bytes(data)))) < COUNT
    with pytest.raises(MediaError, match="a part of it is damaged"):
        list(read_video(bytes(data), whole=True))


def test_what_follows_an_mp4_and_an_avi_that_was_streamed_are_no_cuts(tmp_path: Path) -> None:
    file = written(tmp_path / "a.mp4", PLAIN, [index / 30 for index in range(COUNT)])
    with file.open("ab") as end:
        end.write(b"abcdefgh and more")
    assert len(list(read_video(file, whole=True))) == COUNT
    streamed = written(tmp_path / "a.avi", ("mpeg4", "mp3", {}), [index / 30 for index in range(COUNT)])
    content = bytearray(streamed.read_bytes())
    content[4:8] = b"\xff" * 4
    streamed.write_bytes(content)
    assert len(list(read_video(streamed, whole=True))) == COUNT


def test_frames_of_an_avi_are_in_order_though_it_says_only_when_they_are_decoded(tmp_path: Path) -> None:
    coders = ("libx264", "mp3", {"bf": "3", "b_strategy": "0"})
    source, file = (written(tmp_path / name, coders, EVEN) for name in ("a.mp4", "a.avi"))
    assert len(list(read_video(file, whole=True))) == probe(file).frames == COUNT
    expected = list(read_video(source, fps=probe(source).fps, whole=True))
    found = list(read_video(file, fps=probe(source).fps, whole=True))
    assert len(found) == COUNT
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))


def test_a_hole_in_an_mp4_of_fragments_is_found_and_what_follows_one_is_none(tmp_path: Path) -> None:
    source = written(tmp_path / "a.mp4", PLAIN, EVEN)
    with (
        av.open(str(source)) as given,
        av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "+frag_keyframe"}) as made,
    ):
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    data = (tmp_path / "b.mp4").read_bytes()
    assert data.count(b"moof") > 2
    assert len(list(read_video(data + b"a tail", whole=True))) == COUNT
    second = data.index(b"moof", data.index(b"moof") + 4)
    with pytest.raises(MediaError, match="a part of it is damaged"):
        list(read_video(data[: second - 4] + bytes(32) + data[second + 28 :], whole=True))
    last = data.rindex(b"moof", 0, data.rindex(b"mdat"))
    with pytest.raises(MediaError, match="damaged"):
        list(read_video(data[: last - 40] + data[last - 30 :], whole=True))
