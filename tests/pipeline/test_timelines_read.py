"""Timelines of strangers: each is read rightly, or refused in one sentence that says the way out."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from framepack.files.errors import MediaError
from framepack.media.editors_read import read_timeline
from framepack.pipeline.timelines import fields_from, request_from_timeline, valid_fields_from
from framepack.spec.model import RequestError

otio = pytest.importorskip("opentimelineio", reason="the extra editors is not installed")


def span(start: float, frames: float, rate: float = 30.0) -> Any:
    """A range of time."""
    time = otio.opentime
    return time.TimeRange(time.RationalTime(start, rate), time.RationalTime(frames, rate))


def marker(name: str, frame: float, rate: float = 30.0, /, **metadata: Any) -> Any:
    """A marker, with metadata such as is ours."""
    said = {"framepack": metadata} if metadata else {}
    return otio.schema.Marker(name=name, marked_range=span(frame, 1, rate), metadata=said)


def timeline(*markers: Any, frames: float = 90, rate: float = 30.0, start: float = 0) -> Any:
    """One clip, and markers on the whole."""
    made = otio.schema.Timeline("x")
    track = otio.schema.Track("V", kind=otio.schema.TrackKind.Video)
    track.append(otio.schema.Clip("a", source_range=span(start, frames, rate)))
    made.tracks.append(track)
    made.tracks.markers.extend(markers)
    return made


def fields(made: Any) -> dict[str, Any]:
    """What a timeline says."""
    return valid_fields_from(read_timeline(made.to_json_string().encode(), ".otio"))


LONG, RATE = "and 144000 at most are read", "frames a second, and 1 to 1000 can be"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: timeline(frames=1e25), LONG),
        (lambda: timeline(frames=1e300), LONG),
        (lambda: timeline(frames=float("inf")), "says no length or no rate"),
        (lambda: timeline(rate=1e300), RATE),
        (lambda: timeline(rate=1e-300), LONG),
        (lambda: timeline(frames=float("nan")), "nothing in it that lasts"),
        (lambda: timeline(frames=0), "nothing in it that lasts"),
        (lambda: otio.schema.Timeline("x"), "no video track"),
        (lambda: otio.schema.Clip("x"), "no timeline in the file"),
    ],
)
def test_times_that_cannot_be_are_one_sentence(made: Any, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        fields(made())


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (
            "a.otio",
            b'{"OTIO_SCHEMA": "Timeline.1", "metadata": ' + b"[" * 200_000,
            "cannot be read as an OpenTimelineIO",
        ),
        ("a.xml", b"<xmeml>" * 20_000, "cannot be read as a timeline in Final Cut Pro 7 XML"),
        ("a.fcpxml", b"<xmeml/>", "is a timeline in Final Cut Pro 7 XML .* ends in .xml"),
        ("a.otio", b"PK\x03\x04", "is a zipped OpenTimelineIO timeline"),
        ("a.xml", b"TITLE: x", "is an EDL"),
        ("a.edl", b"TITLE: x", "timelines are read from otio, otioz, fcp7"),
    ],
)
def test_damage_and_other_kinds_are_one_sentence(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=why):
        request_from_timeline(tmp_path / name)


@pytest.mark.parametrize(
    ("markers", "why"),
    [
        ([marker("x" * 50_000, 9)], "the marker 'prompt: xxx.* at 0.3 s cannot be used: text may have 10000"),
        ([marker("door.png[rotate=999]", 20)], "the marker 'door.png.* at 0.67 s cannot be used: rotate must be"),
        ([marker("keyframe: door.png:7", 20)], "the marker 'keyframe: door.png:7' .* strength must be 0..1"),
        ([marker("prompt: x", 0, kind="prompt", name="prompt: x", second=-5, frame=0)], "at -5 s .* second must be"),
        ([marker(f"p{n}", n / 100) for n in range(2999)], "prompts may have 1000 entries, got 2[0-9]+"),
    ],
)
def test_a_marker_that_no_request_may_have_is_named(markers: list[Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fields(timeline(*markers))


def test_more_seconds_than_a_request_may_have_are_refused_where_nobody_says_others() -> None:
    long = read_timeline(timeline(frames=40_000 * 30).to_json_string().encode(), ".otio")
    assert fields_from(long)["seconds"] == 40_000
    with pytest.raises(RequestError, match="seconds must be"):
        valid_fields_from(long)


def test_what_lies_outside_the_timeline_is_not_read() -> None:
    outside = [
        marker("behind", 90),
        marker("c.png", 91),
        marker("far", 1e300),
        marker("before", -10),
        marker("no", 5, 0.0),
    ]
    said = fields(timeline(*outside, marker("rain", 89), marker("end: b.png", 90)))
    assert [prompt["text"] for prompt in said["prompts"]] == ["rain"]
    assert (said["frames"], said["end_frame"]["image"]) == ([], "b.png")


def test_an_otio_that_counts_from_an_hour_begins_at_its_beginning() -> None:
    made = timeline(marker("snow", 108_060), start=108_000)
    made.global_start_time = otio.opentime.RationalTime(108_000, 30)
    next(iter(made.find_clips())).markers.append(marker("rain", 108_030))
    said = fields(made)
    assert (said["seconds"], [(one["second"], one["text"]) for one in said["prompts"]]) == (
        3,
        [(1, "rain"), (2, "snow")],
    )


def test_an_fcp7_that_counts_from_an_hour_begins_at_its_beginning() -> None:
    rate = "<rate><timebase>30</timebase><ntsc>TRUE</ntsc></rate>"
    hour = f"<timecode>{rate}<string>01:00:00:00</string><frame>108000</frame></timecode>"
    xml = (
        f"<xmeml version='5'><sequence><name>s</name>{rate}{hour}<media><video><track><clipitem><name>a</name>{rate}"
        "<start>0</start><end>90</end><in>0</in><out>90</out>"
        f"<file id='f'><name>a.mov</name>{rate}{hour}<duration>90</duration></file>"
        "<marker><name>rain</name><in>30</in><out>-1</out></marker></clipitem></track></video></media></sequence></xmeml>"
    )
    said = valid_fields_from(read_timeline(xml.encode("utf-16"), ".xml"))
    assert (said["seconds"], said["prompts"][0]["text"]) == (3.003, "rain")
    assert said["prompts"][0]["second"] == pytest.approx(1.001)


@pytest.mark.parametrize(("frame", "second"), [("1001/30000s", 30.03), ("1001/24000s", 37.5375), ("1/30s", 30.0)])
def test_an_fcpxml_at_the_rates_of_television_has_its_true_times(frame: str, second: float) -> None:
    length = int(frame.split("/")[0]), int(frame[:-1].split("/")[1])
    at = f"{900 * length[0]}/{length[1]}s"
    xml = (
        f'<fcpxml version="1.9"><resources><format id="r1" frameDuration="{frame}"/><asset id="r2" src="a.mov" '
        'format="r1" start="3600s" duration="3700s" hasVideo="1"/></resources><project name="p"><sequence format="r1" '
        f'tcStart="3600s"><spine><asset-clip name="A" ref="r2" offset="3600s" duration="{at}"/><asset-clip name="B" '
        f'ref="r2" offset="{3600 * length[1] + 900 * length[0]}/{length[1]}s" start="0s" duration="{at}"><marker '
        f'start="0s" duration="{frame}" value="rain"/></asset-clip></spine></sequence></project></fcpxml>'
    )
    said = valid_fields_from(read_timeline(xml.encode(), ".fcpxml"))
    assert (said["seconds"], said["prompts"]) == (2 * second, [{"second": second, "text": "rain"}])


def test_markers_of_a_clip_that_hangs_on_another_in_an_fcpxml_are_its_own() -> None:
    xml = (
        '<fcpxml version="1.9"><resources><format id="r1" frameDuration="1/30s"/><asset id="r2" '
        'src="a.mov" format="r1" start="0s" '
        'duration="99s" hasVideo="1"/></resources><project name="p"><sequence format="r1"><spine><asset-clip '
        'ref="r2" offset="0s" start="10s" duration="5s"><asset-clip ref="r2" lane="1" offset="12s" start="10s" '
        'duration="2s"><marker start="11s" duration="1/30s" value="rain"/></asset-clip><marker start="11s" '
        'duration="1/30s" value="snow"/></asset-clip></spine></sequence></project></fcpxml>'
    )
    said = valid_fields_from(read_timeline(xml.encode(), ".fcpxml"))
    assert [(one["second"], one["text"]) for one in said["prompts"]] == [(1, "snow"), (3, "rain")]
    assert said["seconds"] == 5


def test_an_fcp7_of_several_rates_has_the_rate_of_its_timeline_and_the_length_of_its_picture() -> None:
    def clip(start: int, end: int, base: int, marker: str = "") -> str:
        rate = f"<rate><timebase>{base}</timebase><ntsc>FALSE</ntsc></rate>"
        file = f"<file id='f{start}{base}'><name>a.mov</name>{rate}<duration>900</duration></file>"
        times = f"<start>{start}</start><end>{end}</end><in>0</in><out>{(end - start) * base // 30}</out>"
        return f"<clipitem><name>c{start}</name>{rate}{times}{file}{marker}</clipitem>"

    comment = "<marker><name>Marker 1</name><comment>she sits</comment><in>12</in><out>-1</out></marker>"
    empty = "<marker><name></name><comment></comment><in>9</in><out>-1</out></marker>"
    xml = (
        "<xmeml version='5'><sequence><name>s</name><rate><timebase>30</timebase><ntsc>FALSE</ntsc></rate><media>"
        f"<video><track>{clip(0, 60, 24, comment)}{clip(60, 120, 60, empty)}</track></video>"
        f"<audio><track>{clip(0, 300, 30)}</track></audio></media></sequence></xmeml>"
    )
    found = read_timeline(xml.encode(), ".xml")
    assert (found.fps, found.frames) == (30, 120)
    assert [(one.start, one.frames) for one in found.clips] == [(0, 60), (60, 60)]
    assert valid_fields_from(found)["prompts"] == [{"second": 0.5, "text": "she sits"}]


def test_settings_of_a_stranger_in_a_timeline_are_used_only_where_they_can_be() -> None:
    made = timeline(marker("prompt: x", 0, kind="prompt", name="prompt: x", second="abc"))
    for frames in ("x", 10**12, -1, None):
        made.metadata["framepack"] = {"request": {"image": "a.png", "seconds": 3.0, "model": "mini"}, "frames": frames}
        assert fields(made)["prompt"] == "x"
    made.metadata["framepack"] = json.loads("[" * 100 + "]" * 100)
    with pytest.raises(MediaError, match="settings in the timeline are damaged"):
        fields(made)


def test_an_otioz_gives_its_timeline_and_nothing_else_of_it_is_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.otioz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("content.otio", timeline(marker("rain", 30)).to_json_string())
        archive.writestr("../../media/a.mp4", b"x")
    assert valid_fields_from(read_timeline(tmp_path / "a.otioz", ".otioz"))["prompts"][0]["text"] == "rain"
    with zipfile.ZipFile(tmp_path / "b.otioz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("content.otio", bytes(33 << 20))
    with zipfile.ZipFile(tmp_path / "c.otioz", "w") as archive:
        archive.writestr("a.mp4", b"x")
    for name, why in (("b.otioz", "more than 32 MB"), ("c.otioz", "no content.otio")):
        with pytest.raises(MediaError, match=why):
            read_timeline(tmp_path / name, ".otioz")
