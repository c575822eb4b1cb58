"""A video goes to an editing program and comes back: ten requests, each format and rate, and what a person changes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.files.errors import MediaError
from framepack.media.editors import EDITORS, write_timeline
from framepack.media.editors_read import read_timeline
from framepack.media.read import probe, read_video
from framepack.media.video import VideoWriter
from framepack.pipeline.like import request_like
from framepack.pipeline.output import metadata_of
from framepack.pipeline.timelines import (
    export_timeline,
    fields_from,
    request_from_timeline,
    sequence_from,
    sequence_in_file,
)
from framepack.spec.request import GenerationRequest
from framepack.spec.sequence import Clip, Marker, VideoSequence, sequence_of

otio = pytest.importorskip("opentimelineio", reason="the extra editors is not installed")

TEN = (
    {"prompt": "the boat sails away", "seconds": 1.0},
    {"seconds": 0.1},
    {"prompt": "zoom in", "prompts": [{"second": 1.2, "text": "it starts to rain"}], "model": "mini-f1", "seconds": 3},
    {"frames": [{"image": "b.png", "second": 1.5}], "seconds": 3},
    {"frames": [{"image": "c.png", "second": 2.0, "strength": 0.4}, {"image": "b.png", "second": 1.0}], "seconds": 3},
    {"end_frame": {"image": "c.png", "strength": 0.5}, "seconds": 2.4},
    {"image": {"file": "a.png", "rotate": 90, "crop": [0.1, 0, 0.9, 1]}, "prompt": "pan", "seconds": 2.4},
    {"prompt": 'two\nlines, "quotes" & <tags>', "negative_prompt": "blur", "cfg": 2, "seconds": 1.2},
    {"prompt": "снег идёт 👩‍🚀", "seed": 2**63 - 1, "steps": 7, "output": {"fps": 24}, "seconds": 2},
    {"prompt": "many", "seconds": 12.0, "window": 5, "prompts": [{"second": i, "text": f"no {i}"} for i in (2, 5, 9)]},
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for number, name in enumerate("abc"):
        pixels = np.roll(np.linspace(0, 255, 48 * 64 * 3), 999 * number).reshape(48, 64, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def asked(folder: Path, fields: dict) -> GenerationRequest:
    """The request, its pictures being in the folder."""
    text = json.dumps({"image": "a.png", **fields})
    for name in "abc":
        text = text.replace(f'"{name}.png"', json.dumps(str(folder / f"{name}.png")))
    return GenerationRequest.model_validate_json(text).resolved()


def made(folder: Path, fields: dict, name: str = "my video.mkv", fps: float | None = None) -> Path:
    """A file such as the request would become: its frames and its metadata."""
    request = asked(folder, fields)
    if fps:
        request = request.model_copy(update={"output": request.output.model_copy(update={"fps": fps})})
    with VideoWriter(folder / name, fps=request.output.fps, size=(32, 32), metadata=metadata_of(request)) as writer:
        writer.write(np.zeros((request.delivered_frames, 32, 32, 3), np.uint8))
    return folder / name


def shown(sequence: VideoSequence) -> Iterator[tuple[int, str]]:
    """Where markers stand, and what they say."""
    return iter(sorted((marker.frame, marker.name) for marker in sequence.markers))


@pytest.mark.parametrize("number", range(len(TEN)))
@pytest.mark.parametrize("to", ["otio", "otioz"])
def test_otio_and_otioz_come_back_as_the_same_request(here: Path, number: int, to: str) -> None:
    file = made(here, TEN[number])
    written = export_timeline(file, to)
    back, like = request_from_timeline(written), request_like(file)
    assert back == like
    assert back.model_copy(update={"output": like.output}) == asked(here, TEN[number]).model_copy(
        update={"output": like.output}
    )
    file.unlink()
    again = sequence_from("my video", Fraction(like.output.fps), read_timeline(written, f".{to}").frames, {})
    assert again.frames == like.delivered_frames


@pytest.mark.parametrize("number", range(len(TEN)))
def test_otio_comes_back_equal_in_all(here: Path, number: int) -> None:
    file = made(here, TEN[number])
    info, metadata = probe(file), json.loads(metadata_of(asked(here, TEN[number])))
    sequence = sequence_from("my video", info.fps, info.frames, metadata)
    for to in ("otio", "otioz"):
        path = write_timeline(sequence, here / f"again{EDITORS[to].suffix}", to, file)
        back = read_timeline(path, path.suffix)
        assert (back.clips, back.markers, back.fps, back.frames) == (
            sequence.clips,
            sequence.markers,
            sequence.fps,
            sequence.frames,
        )
        assert back.settings == {**metadata, "frames": sequence.frames}
        assert sum(clip.frames for clip in back.clips) == info.frames


@pytest.mark.parametrize("number", range(len(TEN)))
@pytest.mark.parametrize("fps", [24, 25, 30, 48, 50, 60])
@pytest.mark.parametrize("to", ["edl", "fcp7", "fcpxml"])
def test_other_formats_keep_the_times_of_clips_and_markers_and_their_text(
    here: Path, number: int, fps: int, to: str
) -> None:
    row = EDITORS[to]
    file = made(here, TEN[number], fps=fps)
    if row.rates and fps not in row.rates:
        with pytest.raises(ValueError, match="otio and otioz have all"):
            export_timeline(file, to)
        return
    path = export_timeline(file, to)
    info, metadata = probe(file), json.loads(metadata_of(asked(here, TEN[number])))
    sequence = sequence_from("my video", info.fps, info.frames, metadata)
    if to == "fcpxml":  # its adapter's reader loses a frame at times such as 41/10 s, see `editors_read.SECONDS`
        back = read_timeline(path, path.suffix)
        assert [(clip.name, clip.start, clip.frames) for clip in back.clips] == [
            (clip.name, clip.start, clip.frames) for clip in sequence.clips
        ]
        assert (back.fps, list(shown(back))) == (fps, list(shown(sequence)))
        return
    rate = {"rate": fps} if to == "edl" else {}
    timeline = otio.adapters.read_from_file(str(path), adapter_name=row.adapter, **rate)
    clips = list(timeline.find_clips())
    assert [(c.name, c.source_range.start_time.value, c.source_range.duration.value) for c in clips] == [
        (c.name, c.start, c.frames) for c in sequence.clips
    ]
    assert {clip.source_range.start_time.rate for clip in clips} == {fps}
    found = sorted((round(m.marked_range.start_time.value), m.name) for c in clips for m in c.markers)
    capital = str.upper if to == "edl" else str
    assert found == [(frame, capital(name)) for frame, name in shown(sequence)]
    if to == "fcp7":
        assert list(shown(read_timeline(path, path.suffix))) == list(shown(sequence))


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_every_frame_of_an_fcpxml_is_read_as_it_was_written(here: Path, fps: int) -> None:
    clip = Clip(name="all", start=0, frames=700)
    markers = tuple(Marker(kind="prompt", frame=n, second=n / fps, text=f"no {n}") for n in range(700))
    sequence = VideoSequence(name="v", fps=Fraction(fps), frames=700, clips=(clip,), markers=markers)
    back = read_timeline(write_timeline(sequence, here / "v.fcpxml", "fcpxml", here / "v.mkv"), ".fcpxml")
    assert list(shown(back)) == list(shown(sequence))


@pytest.mark.parametrize("to", ["fcp7", "fcpxml"])
def test_a_timeline_without_settings_still_says_pictures_prompts_and_length(here: Path, to: str) -> None:
    fields = {
        "prompt": "zoom in",
        "prompts": [{"second": 1.2, "text": "it rains"}],
        "frames": [{"image": "b.png", "second": 1.5, "strength": 0.4}],
        "end_frame": {"image": "c.png"},
        "seconds": 3.0,
    }
    back = request_from_timeline(export_timeline(made(here, fields), to), seed=5)
    want = asked(here, fields)
    assert (back.image, back.prompt, back.prompts, back.frames, back.end_frame) == (
        want.image,
        want.prompt,
        want.prompts,
        want.frames,
        want.end_frame,
    )
    assert (back.seconds, back.seed, back.steps) == (3.0, 5, want.steps)


def test_what_a_person_changes_holds(here: Path) -> None:
    fields = {
        "prompt": "zoom in",
        "seconds": 3.0,
        "seed": 7,
        "frames": [{"image": "b.png", "second": 1.01, "strength": 0.4}, {"image": "c.png", "second": 2.0}],
    }
    path = export_timeline(made(here, fields), "otio")
    timeline = otio.adapters.read_from_file(str(path))
    clips = list(timeline.find_clips())
    markers = {marker.name: (clip, marker) for clip in clips for marker in clip.markers}
    rate = clips[0].source_range.duration.rate

    def at(frame: float) -> "otio.opentime.TimeRange":
        return otio.opentime.TimeRange(otio.opentime.RationalTime(frame, rate), otio.opentime.RationalTime(1, rate))

    markers["prompt: zoom in"][1].name = "prompt: the door opens"  # renamed
    clip, marker = markers["keyframe: c.png"]
    clip.markers.remove(marker)  # taken away
    timeline.tracks.markers.append(otio.schema.Marker(name="it rains", marked_range=at(45)))  # new, on the timeline
    timeline.tracks.markers.append(otio.schema.Marker(name="Marker 1", marked_range=at(50)))  # says nothing
    timeline.tracks[0].markers.append(otio.schema.Marker(name="c.png:0.5", marked_range=at(75)))  # a file's name
    otio.adapters.write_to_file(timeline, str(path))
    back = request_from_timeline(path)
    want = asked(here, fields)
    assert (back.prompt, back.seed, back.seconds) == ("the door opens", 7, 3.0)
    assert [(prompt.second, prompt.text) for prompt in back.prompts] == [(1.5, "it rains")]
    assert back.frames[0] == want.frames[0]  # its second, which lies on no frame, too
    assert [(f.second, f.strength, f.image.file.name) for f in back.frames[1:]] == [(2.5, 0.5, "c.png")]


def test_a_moved_marker_has_its_new_time_and_a_longer_timeline_more_seconds(here: Path) -> None:
    path = export_timeline(made(here, {"seconds": 2.0, "frames": [{"image": "b.png", "second": 1.0}]}), "otio")
    timeline = otio.adapters.read_from_file(str(path))
    clips = list(timeline.find_clips())
    (clip, marker), *_ = [(c, m) for c in clips for m in c.markers if m.name.startswith("keyframe")]
    start, rate = clip.source_range.start_time.value, clip.source_range.duration.rate
    marker.marked_range = otio.opentime.TimeRange(
        otio.opentime.RationalTime(start + 3, rate), otio.opentime.RationalTime(1, rate)
    )
    gap = otio.schema.Gap(duration=otio.opentime.RationalTime(30, rate))
    timeline.tracks[0].insert(0, gap)
    otio.adapters.write_to_file(timeline, str(path))
    back = request_from_timeline(path, image=here / "a.png")
    assert back.frames[0].second == pytest.approx((30 + start + 3) / 30)
    assert back.seconds == pytest.approx(3.0)


REDONE = [
    {"section": 2, "seed": 5, "take": 2},
    {"section": 1, "only": False, "seed": 6, "prompt": "it rains", "take": 3},
]


@pytest.mark.parametrize("to", EDITORS)
def test_a_take_says_which_sections_were_made_anew(here: Path, to: str) -> None:
    file = made(here, {"prompt": "zoom in", "seconds": 3.6, "redo": REDONE[:1]})
    sequence = sequence_in_file(file)
    assert [clip.take for clip in sequence.clips] == [1, 2, 1]
    assert [(m.frame, m.name) for m in sequence.markers if m.kind == "take"] == [
        (sequence.clips[1].start - 1, "take 2: section 2")
    ]
    path = export_timeline(file, to)
    if to == "edl":
        assert "TAKE 2: SECTION 2" in path.read_text("utf-8")
        return
    back = read_timeline(path, path.suffix)
    assert list(shown(back)) == list(shown(sequence))
    if EDITORS[to].keeps_settings:
        assert back.clips == sequence.clips
        assert request_from_timeline(path) == request_like(file)
        assert request_from_timeline(path).redo == request_like(file).redo


def test_takes_of_takes_are_all_said_and_are_no_prompts(here: Path) -> None:
    file = made(here, {"prompt": "zoom in", "seconds": 3.6, "redo": REDONE, "model": "mini"})
    names = [marker.name for marker in sequence_in_file(file).markers if marker.kind == "take"]
    assert sorted(names) == ["take 2: section 2", "take 3: from section 1, 'it rains'"]
    path = export_timeline(file, "fcp7")
    assert request_from_timeline(path).prompts == ()


@pytest.mark.parametrize("speed", [0.5, 2.0])
@pytest.mark.parametrize("to", ["otio", "fcpxml"])
def test_a_file_that_plays_slower_or_faster_has_its_markers_where_they_are_seen(
    here: Path, to: str, speed: float
) -> None:
    fields = {"frames": [{"image": "b.png", "second": 1.5}], "seconds": 3.6, "output": {"speed": speed}}
    file = made(here, fields)
    sequence = sequence_in_file(file)
    (marker,) = [one for one in sequence.markers if one.kind == "keyframe"]
    assert marker.frame == round(1.5 * 30 / speed)
    plain = sequence_in_file(made(here, {**fields, "output": {}}, "plain.mkv"))
    assert [clip.start for clip in sequence.clips] == pytest.approx([one.start / speed for one in plain.clips], abs=1)
    path = export_timeline(file, to)
    back = read_timeline(path, path.suffix)
    assert list(shown(back)) == list(shown(sequence))
    if to == "otio":
        assert back.markers == sequence.markers
        assert request_from_timeline(path) == request_like(file)


def test_the_command_line_holds_before_the_timeline(here: Path) -> None:
    path = export_timeline(made(here, {"prompt": "zoom in", "seconds": 2.0}), "otio")
    back = request_from_timeline(path, prompt="pan left", seconds=1.0)
    assert (back.prompt, back.seconds, back.image.file.name) == ("pan left", 1.0, "a.png")


def test_otioz_has_the_video_in_it_and_no_folder_of_this_machine(here: Path) -> None:
    import zipfile

    file = made(here, TEN[0])
    path = export_timeline(file, "otioz")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("media/my video.mkv") == file.read_bytes()
        assert str(here) not in archive.read("content.otio").decode()
    for to in ("otio", "edl", "fcp7", "fcpxml"):
        assert str(here) not in export_timeline(file, to).read_text("utf-8")


def test_the_video_is_put_beside_a_timeline_elsewhere_in_the_format_that_is_wanted(here: Path) -> None:
    file = made(here, TEN[0], name="v.mp4")
    path = export_timeline(file, "otio", here / "cut", media="mkv")
    assert path == here / "cut" / "v.otio"
    clip = next(iter(otio.adapters.read_from_file(str(path)).find_clips()))
    beside = path.parent / clip.media_reference.target_url
    assert all((a == b).all() for a, b in zip(read_video(beside), read_video(file), strict=True))
    assert request_like(beside, here / "a.png") == request_like(file).model_copy(
        update={"output": request_like(beside, here / "a.png").output}
    )
    other = export_timeline(file, "edl", here / "other")
    assert (other.parent / "v.mp4").read_bytes() == file.read_bytes()
    with pytest.raises(ValueError, match="is there already"):
        export_timeline(file, "edl", here / "other")
    export_timeline(file, "edl", here / "other", overwrite=True)


@pytest.mark.parametrize("fps", [12.5, 23.976, 29.97])
def test_rates_a_format_cannot_say_are_refused_and_otio_has_them(here: Path, fps: float) -> None:
    file = made(here, TEN[4], fps=fps)
    for to in ("edl", "fcp7", "fcpxml"):
        with pytest.raises(ValueError, match=f"{to} says times wrongly at"):
            export_timeline(file, to)
    assert request_from_timeline(export_timeline(file, "otio")) == request_like(file)


def test_a_video_of_elsewhere_is_one_clip_and_its_markers_need_a_picture(here: Path) -> None:
    with VideoWriter(here / "x.mp4", fps=25, size=(32, 32)) as writer:
        writer.write(np.zeros((50, 32, 32, 3), np.uint8))
    path = export_timeline(here / "x.mp4", "otio")
    back = read_timeline(path, ".otio")
    assert ([(clip.start, clip.frames) for clip in back.clips], back.markers) == ([(0, 50)], ())
    with pytest.raises(ValueError, match="name the picture to start from"):
        request_from_timeline(path)
    assert request_from_timeline(path, image=here / "a.png", model="mini-f1").seconds == 2.0


def test_what_is_no_timeline_is_a_sentence(here: Path) -> None:
    (here / "bad.otio").write_text("{}")
    (here / "worse.otio").write_text('{"OTIO_SCHEMA": "Clip.1"}')
    (here / "bad.otioz").write_bytes(b"no zip")
    (here / "bad.fcpxml").write_text("<a/>")
    for name in ("bad.otio", "worse.otio", "bad.otioz", "bad.fcpxml"):
        with pytest.raises(MediaError, match="timeline"):
            request_from_timeline(here / name)
    for name, why in (("cut.edl", "says no frame rate"), ("a.png", "are read from")):
        with pytest.raises(MediaError, match=why):
            request_from_timeline(here / name)
    with pytest.raises(MediaError, match="no such file"):
        request_from_timeline(here / "nothing.otio")
    with pytest.raises(ValueError, match="must be one of otio"):
        export_timeline(made(here, TEN[0]), "avid")


def test_two_start_pictures_are_refused(here: Path) -> None:
    path = export_timeline(made(here, TEN[0]), "otio")
    timeline = otio.adapters.read_from_file(str(path))
    mark = otio.opentime.TimeRange(otio.opentime.RationalTime(9, 30), otio.opentime.RationalTime(1, 30))
    timeline.tracks.markers.append(otio.schema.Marker(name="start: b.png", marked_range=mark))
    otio.adapters.write_to_file(timeline, str(path))
    with pytest.raises(ValueError, match="2 start pictures"):
        request_from_timeline(path)


def test_a_sources_frames_are_clips_of_their_own_and_times_are_those_of_the_new_part(tmp_path: Path) -> None:
    asked = {"image": "a.mp4", "task": "extend", "model": "mini-f1", "seconds": 1.2, "prompt": "day"}
    request = GenerationRequest.model_validate({**asked, "prompts": [{"second": 0.6, "text": "night"}]}).resolved()
    metadata = {"request": request.to_store(), "before": 15}
    sequence = sequence_from("v", Fraction(30), 51, metadata)
    assert [(clip.name, clip.start, clip.frames) for clip in sequence.clips] == [
        ("source", 0, 15),
        ("section 1", 15, 17),
        ("section 2", 32, 19),
    ]
    assert {marker.name: marker.frame for marker in sequence.markers if marker.kind == "prompt"} == {
        "prompt: day": 15,
        "prompt: night": 33,
    }
    (tmp_path / "v.mp4").touch()
    file = write_timeline(sequence, tmp_path / "v.otio", "otio", tmp_path / "v.mp4")
    again = read_timeline(file, ".otio")
    assert (again.clips, again.markers) == (sequence.clips, sequence.markers)
    assert fields_from(again)["seconds"] == request.seconds
    moved = replace(again, frames=46, clips=(*again.clips[:-1], replace(again.clips[-1], frames=14)))
    assert fields_from(moved)["seconds"] == pytest.approx(31 / 30)
    bridge = GenerationRequest.model_validate(
        {**asked, "task": "bridge", "model": "mini", "target": "b.mp4"}
    ).resolved()
    assert sequence_of("v", Fraction(30), 100, bridge, {"before": 30}).new == range(30, 66)
