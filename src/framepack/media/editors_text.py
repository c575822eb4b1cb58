"""What a timeline's bytes hold, as the text that OpenTimelineIO's adapters read rightly.

Any encoding that a file declares, and times that the adapters would round or misplace. Imports no OpenTimelineIO.
"""

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

from framepack.files.errors import MediaError

HEAD = 4096
"""Bytes at a file's beginning that say what it is."""
MAGIC = b"PK\x03\x04"
"""A zip's first bytes."""
TIME = re.compile(r"\s*(-?\d{1,18})(\.\d{1,9})?(?:/(\d{1,18}))?s\s*")
"""A time of an fcpxml: whole seconds, or a fraction of them."""
TIMES = ("start", "offset", "duration")
CLIPS = ("clip", "asset-clip", "ref-clip")
PROJECTS = ("./library/event/project", "./event/project", "./project")
"""Where an fcpxml may have its timelines."""
ROUNDED = 0.25
"""Added to a whole number of frames: the adapter divides and multiplies by floats, and then cuts."""


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
    """The text for the adapter of otio, fcp7 or fcpxml; and frames a second where the adapter is given others.

    Raises MediaError in our words, and whatever a parser raises for what is damaged.
    """
    if kind == "otio":
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        json.loads(text)  # what nests too deeply is an error here, and the end of the process in the library
        return text, None
    root = ElementTree.fromstring(content)
    rate = None
    if kind == "fcpxml":
        root, rate = in_frames(root)
    else:
        without_timecode(root)
    return ElementTree.tostring(root, encoding="unicode"), rate


def without_timecode(root: ElementTree.Element) -> None:
    """An fcp7 in which all is counted from 0, as its markers are: the adapter counts only clips by their timecode."""
    for element in root.iter():
        for timecode in element.findall("timecode"):
            element.remove(timecode)


def in_frames(root: ElementTree.Element) -> tuple[ElementTree.Element, Fraction]:
    """An fcpxml's first project alone, its times counted in whole frames of its sequence from 0; and its true rate.

    The adapter takes 1001/30000 s for a thirtieth of a second, loses frames, and counts a timecode as a gap.
    """
    project = next((found for place in PROJECTS if (found := root.find(place)) is not None), None)
    sequence = None if project is None else project.find("./sequence")
    if project is None or sequence is None:
        raise MediaError(
            "there is no timeline, a project with a sequence, in the fcpxml: export the project, not only clips"
        )
    resources = root.find("./resources")
    formats = [] if resources is None else resources.findall("./format")
    frame = next(
        (seconds_in(one.get("frameDuration")) for one in formats if one.get("id") == sequence.get("format")), 0
    )
    if frame <= 0:
        raise MediaError("the fcpxml does not say its frames a second: export it with a rate such as 24, 25 or 30")
    whole = max(round(1 / frame), 1)
    from_zero(sequence)
    side_by_side(sequence)
    for one in formats:
        one.set("frameDuration", f"1/{whole}s")
    alone = ElementTree.Element("fcpxml", root.attrib)
    alone.extend(part for part in (resources, project) if part is not None)
    for clip in (element for element in alone.iter() if element.tag in CLIPS):
        clip.attrib.setdefault("name", "")  # which the adapter takes for granted
    for element, name in timed(alone):
        count = round(seconds_in(element.get(name)) / frame)
        element.set(name, f"{count + (ROUNDED if count > 0 else -ROUNDED)}/{whole}s" if count else "0s")
    return alone, Fraction(1) / frame


def from_zero(sequence: ElementTree.Element) -> None:
    """What lies in a sequence, from its own beginning, where it counts from its timecode."""
    begin, parts = seconds_in(sequence.get("tcStart")), sequence.findall("./spine/*[@offset]")
    offsets: list[Any] = [seconds_in(part.get("offset")) for part in parts]
    if begin > 0 and offsets and min(offsets) >= begin:
        for part, offset in zip(parts, offsets, strict=True):
            part.set("offset", f"{(offset - begin).numerator}/{(offset - begin).denominator}s")


def side_by_side(sequence: ElementTree.Element) -> None:
    """Clips that hang on others beside them, at their own times: the adapter gives a clip the markers of all in it."""
    spine = sequence.find("./spine")
    waiting = [] if spine is None else list(spine)
    while spine is not None and waiting:
        above = waiting.pop()
        for clip in [part for part in above if part.tag in CLIPS and "lane" in part.attrib]:
            offset = seconds_in(clip.get("offset")) - seconds_in(above.get("start")) + seconds_in(above.get("offset"))
            clip.set("offset", f"{offset.numerator}/{offset.denominator}s")
            above.remove(clip)
            spine.append(clip)
            waiting.append(clip)


def timed(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str]]:
    """Each time in an fcpxml."""
    return ((element, name) for element in root.iter() for name in TIMES if name in element.attrib)


def seconds_in(said: str | None) -> Fraction:
    """A time of an fcpxml; 0 where there is none."""
    if said is None:
        return Fraction(0)
    found = TIME.fullmatch(said)
    if found is None or (found[3] and not int(found[3])):
        raise MediaError(f"the fcpxml has the time {said[:40]!r}, and times are such as '5s' and '1001/30000s'")
    return Fraction(f"{found[1]}{found[2] or ''}") / int(found[3] or 1)
