"""A Final Cut Pro X timeline as OpenTimelineIO's, all its times exact.

The adapter, which writes ours well, counts in rounded rates, loses frames, ends on what it does not know (titles,
multicam and synchronised clips, stills), and passes over notes, chapters and the markers of gaps.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

from framepack.files.errors import MediaError
from framepack.media.editors import library, span

TIME = re.compile(r"\s*(-?\d{1,18})(\.\d{1,9})?(?:/(\d{1,18}))?s\s*")
"""Whole seconds, or a fraction of them."""
STORY = ("asset-clip", "clip", "ref-clip", "sync-clip", "mc-clip", "video", "audio", "title", "gap")
"""What lasts some time in a storyline."""
MARKERS = ("marker", "chapter-marker")
PROJECTS = ("./library/event/project", "./event/project", "./project")
"""Where an fcpxml may have its timelines."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something in a storyline, in seconds. at: where it is seen; start: its own time there, in which markers count.

    main: it lies in the primary storyline, and does not hang on what does.
    """

    element: ElementTree.Element
    at: Fraction
    start: Fraction
    lasts: Fraction
    main: bool


def timeline_in(content: bytes) -> Any:
    """The first project of an fcpxml: its primary storyline as a track, and all markers that are seen on the whole.

    Raises MediaError in our words, and whatever a parser raises for what is damaged.
    """
    root, schema = ElementTree.fromstring(content), library().schema
    project = next((found for place in PROJECTS if (found := root.find(place)) is not None), None)
    sequence = None if project is None else project.find("./sequence")
    if project is None or sequence is None:
        raise MediaError(
            "there is no timeline, a project with a sequence, in the fcpxml: export the project, not only clips"
        )
    rate = 1 / frame_of(root, sequence)
    timeline, track = schema.Timeline(project.get("name", "")), schema.Track(kind=schema.TrackKind.Video)
    timeline.tracks.append(track)
    filled = 0
    for part in parts_in(root, sequence):
        begin, start, count = (round(seconds * rate) for seconds in (part.at, part.start, part.lasts))
        if part.main and count > 0:
            if begin > filled:
                track.append(schema.Gap(source_range=span(0, begin - filled, float(rate))))
            kind = schema.Gap if part.element.tag == "gap" else schema.Clip
            track.append(kind(name=part.element.get("name", ""), source_range=span(start, count, float(rate))))
            filled = max(filled, begin) + count
        for marker in (child for child in part.element if child.tag in MARKERS):
            inside = seconds_in(marker.get("start")) - part.start
            if 0 <= inside < part.lasts:
                timeline.tracks.markers.append(
                    schema.Marker(
                        name=marker.get("value", ""),
                        comment=marker.get("note", ""),
                        marked_range=span(round((part.at + inside) * rate), 1, float(rate)),
                    )
                )
    return timeline


def frame_of(root: ElementTree.Element, sequence: ElementTree.Element) -> Fraction:
    """Seconds of a frame."""
    formats = root.findall("./resources/format")
    said = next((one.get("frameDuration") for one in formats if one.get("id") == sequence.get("format")), None)
    frame = seconds_in(said)
    if frame <= 0:
        raise MediaError("the fcpxml does not say its frames a second: export it with a rate such as 24, 25 or 30")
    return frame


def parts_in(root: ElementTree.Element, sequence: ElementTree.Element) -> Iterator[Part]:
    """Each part of the sequence, from its own beginning where it counts from a timecode."""
    spine, begin = sequence.find("./spine"), seconds_in(sequence.get("tcStart"))
    assets = {one.get("id", ""): seconds_in(one.get("duration")) for one in root.findall("./resources/asset")}
    first = None if spine is None else next((one.get("offset") for one in spine if one.get("offset")), None)
    if spine is not None:
        zero = begin if first is None or seconds_in(first) >= begin else Fraction(0)
        yield from laid(spine, Fraction(0), zero, assets, main=True)


def laid(
    row: ElementTree.Element, at: Fraction, zero: Fraction, assets: dict[str, Fraction], *, main: bool
) -> Iterator[Part]:
    """What is in a storyline, or in a clip and on it. at: where the time `zero` of the row is seen, in seconds."""
    end = zero
    for child in row:
        element = child
        if child.tag == "audition":  # the first of several is shown
            element = next(iter(child), child)
        if element.tag == "spine":
            yield from laid(element, at + seconds_in(element.get("offset")) - zero, Fraction(0), assets, main=False)
        elif element.tag in STORY:
            said, start = element.get("offset"), seconds_in(element.get("start"))
            offset = end if said is None else seconds_in(said)
            length = element.get("duration")
            lasts = assets.get(element.get("ref", ""), Fraction(0)) if length is None else seconds_in(length)
            part = Part(element=element, at=at + offset - zero, start=start, lasts=lasts, main=main)
            yield part
            yield from laid(element, part.at, start, assets, main=False)
            end = offset + lasts


def seconds_in(said: str | None) -> Fraction:
    """A time of an fcpxml; 0 where there is none."""
    if said is None:
        return Fraction(0)
    found = TIME.fullmatch(said)
    if found is None or (found[3] and not int(found[3])):
        raise MediaError(f"the fcpxml has the time {said[:40]!r}, and times are such as '5s' and '1001/30000s'")
    return Fraction(f"{found[1]}{found[2] or ''}") / int(found[3] or 1)
