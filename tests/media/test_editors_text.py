"""A timeline's bytes on their way to OpenTimelineIO: kinds, encodings, and the rate of an fcp7."""

import json
from fractions import Fraction

import pytest

from framepack.media.editors_text import kind_in, prepared

XML = '<?xml version="1.0" encoding="{}"?><xmeml version="5"><sequence><name>Schnee fällt</name></sequence></xmeml>'


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04...", "otioz"),
        (b' {"OTIO_SCHEMA": "Timeline.1"}', "otio"),
        (XML.format("utf-16").encode("utf-16"), "fcp7"),
        (b'<?xml version="1.0"?><fcpxml version="1.9"/>', "fcpxml"),
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
    ("timebase", "ntsc", "rate"),
    [
        ("30", "TRUE", Fraction(30000, 1001)),
        ("24", "FALSE", 24),
        (" 60 ", "", 60),
        ("0", "TRUE", None),
        ("x", "TRUE", None),
        ("", "", None),
    ],
)
def test_an_fcp7_says_its_own_rate(timebase: str, ntsc: str, rate: Fraction | None) -> None:
    said = f"<rate><timebase>{timebase}</timebase><ntsc>{ntsc}</ntsc></rate>"
    assert prepared(f"<xmeml><sequence>{said}</sequence></xmeml>".encode(), "fcp7")[1] == rate
