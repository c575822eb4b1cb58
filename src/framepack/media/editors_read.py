"""Timelines of editing programs read back, also those that a person has changed there; `editors` writes them.

A file of a stranger's: bounded, and whatever its parser says becomes one sentence.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

from framepack.files.errors import MediaError
from framepack.media.editors import COLOURS, EDITORS, OURS, library
from framepack.media.source import Source, name_of, open_source
from framepack.spec.picture import Picture
from framepack.spec.rates import exact_factor
from framepack.spec.sequence import Clip, Marker, VideoSequence, as_object, frame_at, read_marker, speed_in

MOST = 32 << 20
"""Bytes of a timeline that are read; one of an hour has two megabytes."""
SECONDS = re.compile(r'\b(start|offset|duration|tcStart)="(\d+)/(\d+)s"')
"""Times in an fcpxml. Its adapter cuts them to whole frames by `int`, so that 41/10 s at 30 frames a second, which is
frame 123, is read as 122; what it writes is right."""
PLAYLIST = "content.otio"
"""The timeline in an otioz."""


def read_timeline(source: Source, suffix: str) -> VideoSequence:
    """What is in a timeline of the format with this suffix, also one that an editing program has changed.

    MediaError for a file that is damaged, too large, of another format or without a video track.
    """
    name = name_of(source)
    row = next((row for row in EDITORS.values() if row.suffix == suffix.lower()), None)
    if row is None or row.adapter == "cmx_3600":
        others = "an EDL says no frame rate and has all in capital letters" if row else f"{name} is none"
        raise MediaError(f"timelines are read from .otio, .otioz, .xml and .fcpxml, and {others}: export one of these")
    otio = library()
    with open_source(source) as file:
        try:
            content = playlist(file, name) if row.holds_video else file.read(MOST + 1)
            if len(content) > MOST:
                raise MediaError(f"{name} has more than {MOST >> 20} MB: it is no timeline")
            text = SECONDS.sub(nudged, content.decode()) if row.suffix == ".fcpxml" else content.decode()
            adapter = "otio_json" if row.holds_video else row.adapter
            return sequence_in(found_timeline(otio.adapters.read_from_string(text, adapter_name=adapter)))
        except MediaError:
            raise
        except Exception as error:  # what a parser says of a stranger's file may be anything
            raise MediaError(f"{name} is no timeline that can be read ({error}): export it again") from error


def nudged(found: re.Match[str]) -> str:
    """A time of an fcpxml, a millionth of a second later."""
    attribute, numerator, denominator = found.groups()
    return f'{attribute}="{int(numerator) + int(denominator) * 1e-6}/{denominator}s"'


def playlist(file: BinaryIO, name: str) -> bytes:
    """The timeline in an otioz."""
    with zipfile.ZipFile(file) as archive:
        if archive.getinfo(PLAYLIST).file_size > MOST:
            raise MediaError(f"the timeline in {name} has more than {MOST >> 20} MB")
        return archive.read(PLAYLIST)


def found_timeline(read: Any) -> Any:
    """The first timeline of what a file holds."""
    schema = library().schema
    if isinstance(read, schema.Timeline):
        return read
    inside = [one for one in read if isinstance(one, schema.Timeline)] if hasattr(read, "__iter__") else []
    if not inside:
        raise MediaError("it has no timeline in it")
    return inside[0]


def sequence_in(timeline: Any) -> VideoSequence:
    """A timeline as ours: clips of its first video track, and the markers of all tracks that are on screen."""
    tracks = timeline.video_tracks()
    if not tracks:
        raise MediaError("it has no video track")
    length = timeline.tracks.duration()
    fps = Fraction(length.rate).limit_denominator(1001)
    frames = max(round(length.value), 1)
    found = plain(timeline.metadata).get(OURS)
    settings = found if isinstance(found, dict) else None
    clips = []
    for clip in tracks[0].find_clips(shallow_search=True):
        place = clip.range_in_parent()
        start, count = (round(time.rescaled_to(length.rate).value) for time in (place.start_time, place.duration))
        clips.append(Clip(name=clip.name, start=start, frames=count, **told(ours(clip))))
    found = VideoSequence(name=timeline.name, fps=fps, frames=frames, clips=tuple(clips), settings=settings)
    return replace(found, markers=tuple(markers_in(timeline, found, speed_in(settings))))


def told(said: Mapping[str, Any]) -> dict[str, Any]:
    """What our metadata of a clip says: its prompt, and the take that made it."""
    take = said.get("take")
    return {"text": str(said.get("prompt", "")), "take": take if isinstance(take, int) else 1}


def markers_in(timeline: Any, sequence: VideoSequence, speed: float) -> Iterator[Marker]:
    """Markers on the timeline, its tracks and clips, each once; those that a cut has left outside are passed over.

    Their seconds are those of the new part, as a request's are.
    """
    seen: set[tuple[str, int]] = set()
    whole, frames, rate = timeline.tracks, sequence.frames, sequence.fps / exact_factor(speed)
    before = sequence.new.start
    for item in (whole, *whole.find_children()):
        for marker in getattr(item, "markers", ()):
            start = marker.marked_range.start_time
            if item is not whole and not item.trimmed_range().contains(start):
                continue
            second = item.transformed_time(start, whole).to_seconds() * speed
            frame, own = frame_at(second, rate, frames), max(second - float(before / rate), 0.0) if before else second
            found = exact(ours(marker), marker.name, own, frame, frames)
            found = found or read_marker(marker.name, getattr(marker, "comment", ""), max(own, 0.0), frame)
            if found and (found.name, found.frame) not in seen:
                seen.add((found.name, found.frame))
                yield found


def exact(said: Mapping[str, Any], name: str, second: float, frame: int, frames: int) -> Marker | None:
    """The marker we have written, as it was; at its new second where it was moved. None for one that was renamed."""
    if said.get("name") != name or said.get("kind") not in COLOURS:
        return None
    kind = said["kind"]
    picture = Picture.model_validate(as_object(said["picture"])) if "picture" in said else None
    marker = Marker(
        kind=kind,
        frame=frame,
        second=float(said["second"]),
        picture=picture,
        strength=float(said.get("strength", 1.0)),
        text=str(said.get("text", "")),
    )
    was = said.get("frame", frames - 1 if kind == "end" else frame)
    return marker if was == frame else replace(marker, second=second)


def ours(item: Any) -> dict[str, Any]:
    """Our metadata of a clip or marker; empty where there is none."""
    said = plain(item.metadata).get(OURS)
    return said if isinstance(said, dict) else {}


def plain(value: Any) -> Any:
    """Dictionaries and lists of OpenTimelineIO as Python's own."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return value
