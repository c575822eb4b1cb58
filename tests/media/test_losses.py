"""What foreign videos have and new files have not: shape and sync are kept, the rest is said."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepack.media.footage import footage_of
from framepack.media.losses import losses
from framepack.media.read import probe, read_video
from framepack.media.sound import has_sound
from framepack.pipeline.finishing import convert_video, finish_video
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileCoding


def foreign(
    file: Path, pixels: str = "yuv420p", rate: int = 10, begins: tuple[float, float] | None = None, **context: Any
) -> Path:
    """Ten grey frames, then ten white ones, 72x56; with a click at second 1 and beginnings where they are said."""
    with av.open(str(file), "w") as made:
        video: Any = made.add_stream("libx264" if "sample_aspect_ratio" in context else "ffv1", rate=rate)
        video.width, video.height, video.pix_fmt = 72, 56, pixels
        for name, value in context.items():
            setattr(video.codec_context, name, value)
        audio: Any = made.add_stream("pcm_s16le", rate=8000, layout="mono") if begins else None
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((56, 72, 3), 80 if number < 10 else 255, np.uint8))
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = number + round((begins or (0, 0))[0] * rate), Fraction(1, rate)
            made.mux(video.encode(frame))
        made.mux(video.encode(None))
        if begins:
            click = np.zeros((1, 16000), np.int16)
            at = round((1 + begins[0] - begins[1]) * 8000)
            click[0, at : at + 80] = 20000
            block = av.AudioFrame.from_ndarray(click, format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = 8000, round(begins[1] * 8000), Fraction(1, 8000)
            made.mux(audio.encode(block))
            made.mux(audio.encode(None))
    return file


def test_an_ordinary_video_loses_nothing(tmp_path: Path) -> None:
    assert losses(foreign(tmp_path / "a.mkv")) == []


@pytest.mark.parametrize(
    ("aspect", "size"),
    [((64, 45), (102, 56)), ((1, 2), (72, 112)), ((4095, 4096), (72, 56)), ((1, 1), (72, 56)), ((90, 1), (72, 56))],
)
def test_pixels_become_square_and_it_is_said(tmp_path: Path, aspect: tuple[int, int], size: tuple[int, int]) -> None:
    file = foreign(tmp_path / "a.mkv", sample_aspect_ratio=Fraction(*aspect))
    info = probe(file)
    assert (info.width, info.height) == size
    for wide in (False, True):
        assert next(read_video(file, wide=wide)).shape == (size[1], size[0], 3)
    said = f"has pixels of {aspect[0]}:{aspect[1]}: each frame is resampled from 72x56 to {size[0]}x{size[1]}"
    assert [sentence for sentence in losses(file) if said not in sentence] == []
    assert bool(losses(file)) == (size != (72, 56))


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"color_trc": 16, "color_primaries": 9}, "has colours of PQ"),
        ({"color_trc": 18}, "has colours of HLG"),
        ({"color_primaries": 9}, "has colours of BT.2020"),
        ({"pixels": "yuva420p"}, "has transparency"),
    ],
)
def test_what_is_lost_is_said_when_it_is_converted(tmp_path: Path, context: dict[str, Any], words: str) -> None:
    file = foreign(tmp_path / "a.mkv", **context)
    said = [one for one in convert_video(file, tmp_path / "b.mp4") if isinstance(one, str)]
    assert len(said) == 1
    assert words in said[0]
    assert f"'{file}'" in said[0]


@pytest.mark.parametrize("begins", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (5.0, 4.8)])
@pytest.mark.parametrize("start", [0.0, 0.3])
def test_sound_stays_with_its_picture_where_one_begins_later(
    tmp_path: Path, begins: tuple[float, float], start: float
) -> None:
    file = foreign(tmp_path / "a.mkv", begins=begins)
    made = tmp_path / "b.mkv"
    assert [one for one in finish_video(file, {"start": start}, made) if isinstance(one, str)] == []
    with av.open(str(made)) as container:
        heard = [(frame.time, np.abs(frame.to_ndarray().astype(int)).max()) for frame in container.decode(audio=0)]
    loud = [time for time, level in heard if level > 5000]
    assert loud[0] == pytest.approx(1 - start, abs=0.11)  # a block lasts 0.1 s


def test_a_gap_in_the_sound_is_silence_and_the_sound_lasts_as_long_as_the_picture(tmp_path: Path) -> None:
    whole, holed = foreign(tmp_path / "a.mkv", begins=(0.0, 0.0)), tmp_path / "holed.mkv"
    with av.open(str(whole)) as container, av.open(str(holed), "w") as made:
        video, audio = (
            made.add_stream_from_template(stream) for stream in (container.streams[0], container.streams[1])
        )
        for packet in container.demux():
            if packet.dts is None or (
                packet.stream.type == "audio" and 0.2 <= float(packet.pts * packet.time_base) < 0.6
            ):
                continue
            packet.stream = video if packet.stream.type == "video" else audio
            made.mux(packet)
    for source in (whole, holed):
        assert list(convert_video(source, tmp_path / "b.mkv", overwrite=True))
        with av.open(str(tmp_path / "b.mkv")) as container:
            heard = [(frame.time, frame.samples, frame.to_ndarray()) for frame in container.decode(audio=0)]
        loud = [time for time, _, samples in heard if np.abs(samples.astype(int)).max() > 5000]
        assert loud[0] == pytest.approx(1, abs=0.11)
        assert heard[-1][0] + heard[-1][1] / 48000 == pytest.approx(2, abs=0.002)


def test_what_an_avi_and_a_mov_that_begins_otherwise_have_of_sound_goes_along(tmp_path: Path) -> None:
    whole = foreign(tmp_path / "a.mkv", begins=(0.0, 0.0))
    assert list(convert_video(whole, tmp_path / "b.mov"))
    (tmp_path / "free.mov").write_bytes((tmp_path / "b.mov").read_bytes().replace(b"ftyp", b"free", 1))
    foreign(tmp_path / "a.avi", begins=(0.0, 0.0))
    for name in ("free.mov", "a.avi"):
        assert has_sound(tmp_path / name), name
        assert [one for one in convert_video(tmp_path / name, tmp_path / f"{name}.mkv") if isinstance(one, str)] == []
        assert has_sound(tmp_path / f"{name}.mkv")


@pytest.mark.parametrize(("rate", "fps"), [(1000, 240), (250, 240)])
def test_a_rate_that_no_format_has_is_said(tmp_path: Path, rate: int, fps: int) -> None:
    footage = footage_of(foreign(tmp_path / "a.mkv", rate=rate), FileFinish(), FileCoding(format="mp4"))
    assert footage.fps == fps
    assert f"has {rate} frames a second: the new file gets {fps}" in footage.notices[-1]


def test_a_slow_video_is_written_at_one_frame_a_second(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as made:
        video: Any = made.add_stream("ffv1", rate=Fraction(1, 2))
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 60 * number, np.uint8)).reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(2)
            made.mux(video.encode(frame))
        made.mux(video.encode(None))
    said = [one for one in convert_video(tmp_path / "a.mkv", tmp_path / "b.mp4") if isinstance(one, str)]
    assert "has 0.5 frames a second: the new file gets 1" in said[0]
    assert (probe(tmp_path / "b.mp4").frames, probe(tmp_path / "b.mp4").fps) == (6, 1)
