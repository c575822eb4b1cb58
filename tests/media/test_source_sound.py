"""The sound of a source in another file: where it belongs, packets as they were."""

from pathlib import Path

import av
import numpy as np
import pytest

from framepack.media.join import holds_sound, join_segments, lay_sound
from framepack.media.read import probe
from framepack.media.sandbox import sound_of_untrusted_video
from framepack.media.source_sound import SourceSound
from framepack.media.video import VideoWriter
from framepack.spec.formats import Coding

RATE = 48_000


def with_sound(path: Path, seconds: float = 1.0) -> Path:
    """A video of grey frames with a tone."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=30)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = output.add_stream("aac", rate=RATE, layout="mono")
        for number in range(round(30 * seconds)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24")
            frame.pts = number
            output.mux(video.encode(frame))
        tone = np.sin(np.arange(round(RATE * seconds)) / 10).astype(np.float32)
        for start in range(0, len(tone) - 1023, 1024):
            sound = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            sound.sample_rate, sound.pts = RATE, start
            output.mux(audio.encode(sound))
        output.mux(video.encode())
        output.mux(audio.encode())
    return path


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        stream = container.streams.audio[0]
        return [float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("begin", [0.0, 1.5])
def test_it_begins_where_its_frames_are_and_is_cut_with_them(tmp_path: Path, suffix: str, begin: float) -> None:
    source = with_sound(tmp_path / "source.mp4")
    part = tmp_path / f"part.{suffix}"
    with VideoWriter(part, size=(32, 32)) as writer:
        writer.write(np.zeros((90, 32, 32, 3), np.uint8))
    silent, whole = tmp_path / f"silent.{suffix}", tmp_path / f"whole.{suffix}"
    join_segments([part], silent)
    sound = SourceSound(data=sound_of_untrusted_video(source), begin=begin, seconds=0.6)
    assert holds_sound(suffix, Coding(), sound)
    lay_sound(silent, whole, sound, format=suffix, coding=Coding(), fps=30)
    found = times(whole)
    assert found[0] == pytest.approx(begin, abs=0.03)
    assert begin + 0.5 < found[-1] < begin + 0.6
    assert probe(whole).frames == 90


def test_a_video_without_sound_and_a_format_that_cannot_hold_it_have_none(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "source.mp4")
    part = tmp_path / "part.webm"
    with VideoWriter(part, size=(32, 32)) as writer:
        writer.write(np.zeros((30, 32, 32, 3), np.uint8))
    assert sound_of_untrusted_video(part) == b""
    sound = SourceSound(data=sound_of_untrusted_video(source), begin=0, seconds=1)
    assert not holds_sound("webm", Coding(), sound)
