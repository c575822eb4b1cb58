"""What a timeline's bytes hold, as the text that OpenTimelineIO's adapters read rightly.

Any encoding that a file declares, and times that an adapter would misplace. Imports no OpenTimelineIO.
"""

import json
import re
from fractions import Fraction
from xml.etree import ElementTree

HEAD = 4096
"""Bytes at a file's beginning that say what it is."""
MAGIC = b"PK\x03\x04"
"""A zip's first bytes."""
WHOLE = re.compile(r"\s*\d{1,4}\s*")
NTSC = Fraction(1000, 1001)
"""Of a rate that television counts as a whole number."""


def kind_in(content: bytes) -> str:
    """The key of EDITORS that a file's beginning looks like; empty where it looks like none."""
    if content.startswith(MAGIC):
        return "otioz"
    head = content[:HEAD].decode(json.detect_encoding(content[:HEAD]), errors="replace").lstrip("\ufeff \t\r\n")
    if head.startswith(("{", "[")):
        return "otio"
    if head.startswith("<"):
        return next((kind for kind, root in (("fcp7", "<xmeml"), ("fcpxml", "<fcpxml")) if root in head), "")
    return "edl" if head.startswith("TITLE:") else ""


def prepared(content: bytes, kind: str) -> tuple[str, Fraction | None]:
    """The text for the adapter of otio or fcp7; and the timeline's frames a second, where only the file says them.

    Raises MediaError in our words, and whatever a parser raises for what is damaged.
    """
    if kind == "otio":
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        json.loads(text)  # what nests too deeply is an error here, and the end of the process in the library
        return text, None
    root = ElementTree.fromstring(content)
    without_timecode(root)
    return ElementTree.tostring(root, encoding="unicode"), sequence_rate(root)


def without_timecode(root: ElementTree.Element) -> None:
    """An fcp7 in which all is counted from 0, as its markers are: the adapter counts only clips by their timecode."""
    for element in root.iter():
        for timecode in element.findall("timecode"):
            element.remove(timecode)


def sequence_rate(root: ElementTree.Element) -> Fraction | None:
    """Frames a second of an fcp7's timeline: the adapter has those of the clips, which may be others."""
    said = root.find(".//sequence/rate/timebase")
    if said is None or not WHOLE.fullmatch(said.text or "") or not int(said.text or 0):
        return None
    is_ntsc = (root.findtext(".//sequence/rate/ntsc") or "").strip().upper() == "TRUE"
    return int(said.text or 0) * (NTSC if is_ntsc else Fraction(1))
