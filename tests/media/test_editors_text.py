"""A timeline's bytes on their way to OpenTimelineIO: kinds, encodings, and the times of an fcpxml."""

import json
from fractions import Fraction
from xml.etree import ElementTree

import pytest

from framepack.files.errors import MediaError
from framepack.media.editors_text import TIMES, kind_in, prepared

XML = '<?xml version="1.0" encoding="{}"?><xmeml version="5"><sequence><name>Schnee fällt</name></sequence></xmeml>'


def fcpxml(clip: str, frame: str = "100/3000s", sequence: str = "") -> bytes:
    """A project of one clip."""
    return (
        f'<fcpxml version="1.9"><resources><format id="r1" frameDuration="{frame}"/></resources><library><event>'
        f'<project name="p"><sequence format="r1" {sequence}><spine>{clip}</spine></sequence></project></event>'
        "</library></fcpxml>"
    ).encode()


def times(content: bytes) -> tuple[list[float], Fraction]:
    """All times in the text for the adapter, in frames of its rate, and the true rate."""
    text, rate = prepared(content, "fcpxml")
    assert rate is not None
    root = ElementTree.fromstring(text)
    said = [element.attrib[name] for element in root.iter() for name in TIMES if name in element.attrib]
    assert {one.split("/")[1] for one in said if "/" in one} <= {f"{round(rate)}s"}
    return [int(float(one.removesuffix("s").split("/")[0])) for one in said], rate


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04...", "otioz"),
        (b' {"OTIO_SCHEMA": "Timeline.1"}', "otio"),
        (XML.format("utf-16").encode("utf-16"), "fcp7"),
        (fcpxml(""), "fcpxml"),
        (b"TITLE: x\nFCM: NON-DROP FRAME", "edl"),
        (b"<a/>", ""),
        (b"", ""),
    ],
)
def test_a_file_says_by_its_beginning_what_it_is(content: bytes, kind: str) -> None:
    assert kind_in(content) == kind


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_xml_is_read_in_the_encoding_it_declares(encoding: str) -> None:
    text, _ = prepared(XML.format(encoding.removesuffix("-sig")).encode(encoding), "fcp7")
    assert "Schnee fällt" in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_json_is_read_in_any_unicode(encoding: str) -> None:
    text, _ = prepared('{"name": "Schnee fällt"}'.encode(encoding), "otio")
    assert json.loads(text) == {"name": "Schnee fällt"}


@pytest.mark.parametrize(
    ("frame", "rate"), [("1001/30000s", 30), ("1001/24000s", 24), ("1001/60000s", 60), ("100/2500s", 25)]
)
def test_times_of_an_fcpxml_are_its_own_frames_exactly(frame: str, rate: int) -> None:
    length = Fraction(frame[:-1])
    clip = f'<asset-clip offset="0s" duration="{9000 * length}s"><marker start="{899 * length}s"/></asset-clip>'
    found, true = times(fcpxml(clip, frame))
    assert (found, true, round(true)) == ([0, 9000, 899], 1 / length, rate)


def test_an_fcpxml_that_counts_from_an_hour_begins_at_its_beginning() -> None:
    clip = '<asset-clip offset="3600s" start="3600s" duration="3s"><marker start="3601s"/></asset-clip>'
    (start, offset, *_), _ = times(fcpxml(clip, sequence='tcStart="3600s"'))
    assert (start, offset) == (108000, 0)  # a clip's own time stays, as its markers count in it
    (start, offset, *_), _ = times(fcpxml(clip.replace('offset="3600s"', 'offset="0s"'), sequence='tcStart="3600s"'))
    assert (start, offset) == (108000, 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<fcpxml><asset-clip/></fcpxml>", "no timeline, a project with a sequence, in"),
        (fcpxml("").replace(b"frameDuration", b"name"), "does not say its frames a second"),
        (fcpxml('<clip offset="1/0s"/>'), "has the time '1/0s'"),
        (fcpxml('<clip offset="1e9s"/>'), "has the time '1e9s'"),
    ],
)
def test_what_an_fcpxml_may_lack_is_said(content: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        prepared(content, "fcpxml")
