"""An fcpxml of a stranger's: all that lasts in it, and each marker, at its exact time."""

from fractions import Fraction
from typing import Any

import pytest

from framepack.files.errors import MediaError
from framepack.media.fcpxml import timeline_in

pytest.importorskip("opentimelineio", reason="the extra editors is not installed")


def fcpxml(story: str, frame: str = "100/3000s", sequence: str = "") -> bytes:
    """A project of one storyline."""
    return (
        f'<fcpxml version="1.9"><resources><format id="r1" frameDuration="{frame}"/><asset id="r2" duration="9s"/>'
        f'</resources><library><event><project name="p"><sequence format="r1" {sequence}><spine>{story}</spine>'
        "</sequence></project></event></library></fcpxml>"
    ).encode()


def clips(content: bytes) -> list[tuple[str, float, float, float]]:
    """Name, place, own beginning and frames of each clip."""
    found, timeline = [], timeline_in(content)  # which its clips do not keep alive
    for clip in timeline.find_clips():
        place, own = clip.range_in_parent(), clip.source_range
        found.append((clip.name, place.start_time.value, own.start_time.value, own.duration.value))
    return found


def markers(content: bytes) -> list[tuple[float, str, str]]:
    """Frame, name and comment of each marker."""
    found: list[Any] = list(timeline_in(content).tracks.markers)
    return sorted((one.marked_range.start_time.value, one.name, one.comment) for one in found)


@pytest.mark.parametrize(
    ("frame", "rate"), [("1001/30000s", 30), ("1001/24000s", 24), ("1001/60000s", 60), ("100/2500s", 25)]
)
def test_times_are_its_own_frames_exactly(frame: str, rate: int) -> None:
    length = Fraction(frame[:-1])
    one = f'<asset-clip name="a" offset="0s" duration="{9000 * length}s"><marker start="{899 * length}s"/></asset-clip>'
    content = fcpxml(one, frame)
    assert clips(content) == [("a", 0, 0, 9000)]
    assert markers(content) == [(899, "", "")]
    assert round(timeline_in(content).duration().rate) == rate


def test_one_that_counts_from_an_hour_begins_at_its_beginning() -> None:
    one = '<asset-clip name="a" offset="3600s" start="3600s" duration="3s"><marker start="3601s"/></asset-clip>'
    for content in (
        fcpxml(one, sequence='tcStart="3600s"'),
        fcpxml(one.replace('offset="3600s"', 'offset="0s"'), sequence='tcStart="3600s"'),
    ):
        assert clips(content) == [("a", 0, 108000, 90)]  # a clip's own time stays, as its markers count in it
        assert markers(content) == [(30, "", "")]


@pytest.mark.parametrize("tag", ["asset-clip", "clip", "ref-clip", "sync-clip", "mc-clip", "video", "title"])
def test_whatever_lasts_in_the_storyline_is_a_clip(tag: str) -> None:
    content = fcpxml(
        f'<{tag} name="a" offset="0s" start="5s" duration="1s"><marker start="11/2s" value="rain"/></{tag}>'
        f'<{tag} name="b" offset="2s" duration="1s"/><audition><{tag} name="c" offset="3s" duration="1s"/><{tag} '
        f'name="other"/></audition><transition name="t" offset="3s" duration="1s"/><{tag} name="d" ref="r2"/>'
    )
    assert clips(content) == [("a", 0, 150, 30), ("b", 60, 0, 30), ("c", 90, 0, 30), ("d", 120, 0, 270)]
    assert markers(content) == [(15, "rain", "")]


def test_every_marker_that_is_seen_is_read() -> None:
    content = fcpxml(
        '<asset-clip offset="0s" start="10s" duration="2s"><marker start="10s" value="Marker 1" note="snow"/>'
        '<chapter-marker start="11s" value="a chapter"/><marker start="12s" value="cut away"/>'
        '<video lane="1" offset="21/2s" start="0s" duration="1s"><marker start="0s" value="on a title"/></video>'
        '<spine lane="2" offset="11s"><clip offset="1/2s" start="1s" duration="1s"><marker start="1s" value="second"/>'
        '</clip></spine><asset-clip lane="-1" offset="10s" duration="99s"><marker start="1s" value="on a sound"/>'
        '</asset-clip></asset-clip><gap name="Gap" offset="2s" start="3600s" duration="1s">'
        '<marker start="3600s" value="in a gap"/></gap>'
    )
    assert markers(content) == [
        (0, "Marker 1", "snow"),
        (15, "on a title", ""),
        (30, "a chapter", ""),
        (30, "on a sound", ""),
        (45, "second", ""),
        (60, "in a gap", ""),
    ]
    assert [clip[3] for clip in clips(content)] == [60]
    assert timeline_in(content).duration().value == 90  # a sound of 99 s adds nothing


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<fcpxml><asset-clip/></fcpxml>", "no timeline, a project with a sequence, in"),
        (fcpxml("").replace(b"frameDuration", b"name"), "does not say its frames a second"),
        (fcpxml('<clip offset="1/0s"/>'), "has the time '1/0s'"),
        (fcpxml('<clip offset="1e9s"/>'), "has the time '1e9s'"),
    ],
)
def test_what_may_lack_is_said(content: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        timeline_in(content)
