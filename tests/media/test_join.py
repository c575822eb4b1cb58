import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from framepack.files.errors import DiskFullError, MediaError
from framepack.media.join import join_segments, scan_segment
from framepack.media.metadata import read_metadata_text
from framepack.media.read import probe, read_video
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS

LENGTHS = (37, 1, 2, 36, 3)
"""One to three frames have no B-frames, so their decoding times start elsewhere: seams that are easy to get wrong."""
COPIED = ["mp4", "mkv", "webm"]


def segments(folder, clip, suffix, lengths=LENGTHS, **options):
    paths, start = [], 0
    for length in lengths:
        paths.append(folder / f"segment{start}{suffix}")
        with VideoWriter(paths[-1], size=(96, 64), **options) as writer:
            writer.write(clip(length, start=start))
        start += length
    return paths


def decoded(paths):
    return np.stack([frame for path in paths for frame in read_video(path)])


@pytest.mark.parametrize("fps", [30, 29.97, 12.5])
@pytest.mark.parametrize("name", COPIED)
def test_joined_segments_decode_to_the_very_frames_of_the_segments(tmp_path, clip, name, fps):
    paths = segments(tmp_path, clip, f".{name}", fps=fps)
    whole = tmp_path / f"whole.{name}"
    assert join_segments(paths, whole).frames == sum(LENGTHS)
    assert np.array_equal(decoded([whole]), decoded(paths))
    info = probe(whole)
    assert info.frames == sum(LENGTHS)
    assert float(info.fps) == pytest.approx(fps, rel=1e-4)
    assert info.duration == pytest.approx(sum(LENGTHS) / fps, abs=0.002)


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("name", COPIED)
def test_what_a_join_returns_is_what_looking_through_the_file_finds(tmp_path, clip, name, draft):
    whole, again = tmp_path / f"whole.{name}", tmp_path / f"again.{name}"
    paths = segments(tmp_path, clip, f".{name}")
    made = join_segments(paths[:2], whole, draft=draft)
    found = scan_segment(whole)
    assert (made.path, made.frames, made.codec, made.header) == (found.path, found.frames, found.codec, found.header)
    assert made.reorder >= found.reorder
    join_segments([made, *paths[2:]], again, draft=draft)
    assert np.array_equal(decoded([again]), decoded(paths))


@pytest.mark.parametrize("name", COPIED)
def test_decoding_times_rise_and_every_frame_is_shown_at_its_own(tmp_path, clip, name):
    whole = tmp_path / f"whole.{name}"
    join_segments(segments(tmp_path, clip, f".{name}"), whole)
    with av.open(whole) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert any(packet.pts != packet.dts for packet in packets) == (name == "mp4")  # x264's B-frames are there
        assert all(earlier.dts < later.dts for earlier, later in pairwise(packets))
        assert all(packet.dts <= packet.pts for packet in packets)
        shown = sorted(packet.pts * stream.time_base for packet in packets)
    assert shown == pytest.approx([Fraction(number, 30) for number in range(len(shown))], abs=0.0006)


def test_packets_are_copied_not_encoded_again(tmp_path, clip):
    paths = segments(tmp_path, clip, ".mp4")
    join_segments(paths, tmp_path / "whole.mp4")

    def packets(path):
        with av.open(path) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(tmp_path / "whole.mp4") == [data for path in paths for data in packets(path)]


def test_every_segment_of_the_whole_can_be_jumped_to(tmp_path, clip):
    join_segments(segments(tmp_path, clip, ".mp4"), tmp_path / "whole.mp4")
    with av.open(tmp_path / "whole.mp4") as container:
        keys = {
            round(packet.pts * packet.time_base * 30)
            for packet in container.demux(video=0)
            if packet.size and packet.is_keyframe
        }
    assert {0, 37, 38, 40, 76} <= keys


def test_a_growing_front_is_the_same_call_with_another_order(tmp_path, clip):
    paths = segments(tmp_path, clip, ".mp4", lengths=(13, 12, 12))
    made_so_far = []
    for path in reversed(paths):
        made_so_far.insert(0, path)
        join_segments(made_so_far, tmp_path / "so_far.mp4")
        assert np.array_equal(decoded([tmp_path / "so_far.mp4"]), decoded(made_so_far))


def test_a_joined_file_can_be_joined_again(tmp_path, clip):
    first, second, third = segments(tmp_path, clip, ".mp4", lengths=(13, 1, 12))
    join_segments([first, second], tmp_path / "pair.mp4")
    join_segments([tmp_path / "pair.mp4", third], tmp_path / "whole.mp4")
    assert np.array_equal(decoded([tmp_path / "whole.mp4"]), decoded([first, second, third]))
    join_segments([tmp_path / "pair.mp4", third], tmp_path / "pair.mp4")  # it may replace one of its parts
    assert np.array_equal(decoded([tmp_path / "pair.mp4"]), decoded([first, second, third]))


def test_the_whole_has_its_own_metadata_and_starts_fast(tmp_path, clip):
    paths = segments(tmp_path, clip, ".mp4", metadata='{"part": true}')
    join_segments(paths, tmp_path / "whole.mp4", metadata='{"whole": "ä"}')
    join_segments(paths, tmp_path / "bare.mp4")
    assert read_metadata_text(tmp_path / "whole.mp4") == '{"whole": "ä"}'
    assert read_metadata_text(tmp_path / "bare.mp4") is None
    data = (tmp_path / "whole.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("mkv", "webm")])
def test_lossless_segments_become_any_other_format_by_encoding_once(tmp_path, clip, decibels, name):
    paths = segments(tmp_path, clip, ".mkv", lengths=(5, 4))
    whole = tmp_path / f"whole{FORMATS[name].suffix}"
    assert join_segments(paths, whole, metadata='{"a": 1}', format=name).frames == 9
    assert decibels(decoded([whole]), clip(9)) > 28
    assert read_metadata_text(whole) == '{"a": 1}'


@pytest.mark.parametrize(("options", "what"), [({"fps": 24}, "fps"), ({"quality": 1, "format": "webm"}, "codec")])
def test_segments_that_do_not_match_are_refused_by_name(tmp_path, clip, options, what):
    one = segments(tmp_path, clip, ".mp4", lengths=(3,))
    other = segments(tmp_path / "other", clip, ".mp4", lengths=(3,), **options)
    with pytest.raises(MediaError, match=rf"other.*cannot follow.*another {what}"):
        join_segments(one + other, tmp_path / "whole.mp4")
    assert not (tmp_path / "whole.mp4").exists()


def test_a_damaged_segment_or_none_is_refused(tmp_path, clip):
    path = segments(tmp_path, clip, ".mp4", lengths=(20,))[0]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MediaError, match="damaged"):
        join_segments([path], tmp_path / "whole.mp4")
    with pytest.raises(ValueError, match="at least one segment"):
        join_segments([], tmp_path / "whole.mp4")


def test_a_full_disk_keeps_the_older_whole(tmp_path, clip, monkeypatch):
    paths = segments(tmp_path, clip, ".mp4")
    join_segments(paths[:1], tmp_path / "whole.mp4")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DiskFullError, match="needed"):
        join_segments(paths, tmp_path / "whole.mp4")
    assert probe(tmp_path / "whole.mp4").frames == LENGTHS[0]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("fps", [12, 24, 29.97, 60])
def test_a_very_short_joined_file_can_be_joined_again_when_the_rate_is_reported(fps: float, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.mkv" for i in range(2)]
    for file, count in zip(files, (8, 5), strict=True):
        with VideoWriter(file, size=(16, 16), fps=fps) as writer:
            writer.write(np.zeros((count, 16, 16, 3), np.uint8))
    join_segments(files[:1], files[0], fps=fps)
    assert join_segments(files, tmp_path / "all.mkv", fps=fps).frames == 13
