"""Timelines of editing programs read back, also those that a person has changed there; `editors` writes them.

A file of a stranger's: bounded, and whatever its parser says becomes one sentence.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import isfinite
from typing import Any, BinaryIO

from framepack.files.errors import MediaError
from framepack.media.editors import COLOURS, EDITORS, OURS, library
from framepack.media.editors_text import MAGIC, kind_in, prepared
from framepack.media.fcpxml import timeline_in
from framepack.media.source import Source, name_of, open_source
from framepack.spec.picture import Picture
from framepack.spec.rates import exact_factor, exact_rate
from framepack.spec.rules import shortened
from framepack.spec.sequence import Clip, Marker, VideoSequence, as_object, frame_at, read_marker, speed_in

MOST = 32 << 20
"""Bytes of a timeline that are read; one of an hour has two megabytes."""
LONGEST = 4 * 36000
"""Seconds of a timeline that are read: those of the longest video, played four times as slowly."""
RATES = (1, 1000)
"""Frames a second that a timeline may have."""
DEEP = 40
"""Levels of our metadata; what we write has a quarter of them."""
ROUNDED = 1e-6
"""Of a frame: what floats lose of times at 29.97 frames a second."""
PLAYLIST = "content.otio"
"""The timeline in an otioz."""
KINDS = "timelines are read from otio, otioz, fcp7 (.xml) and fcpxml"
NO_RATE = "an EDL says no frame rate and has all in capital letters"


def read_timeline(source: Source, suffix: str) -> VideoSequence:
    """What is in a timeline of the format with this suffix, also one that an editing program has changed.

    MediaError for a file that is damaged, too large, of another format or without a video track.
    """
    name = name_of(source)
    kind = next((key for key, row in EDITORS.items() if row.suffix == suffix.lower()), "")
    if kind in ("", "edl"):
        raise MediaError(f"{KINDS}, and {NO_RATE if kind else f'{name} is none'}: export one of these")
    otio = library()
    with open_source(source) as file:
        try:
            content = file.read(len(MAGIC)) if EDITORS[kind].holds_video else file.read(MOST + 1)
            check_kind(content, kind, name)
            if EDITORS[kind].holds_video:
                content, kind = playlist(file), "otio"
            if len(content) > MOST:
                raise MediaError(f"{name} has more than {MOST >> 20} MB: it is no timeline")
            if kind == "fcpxml":
                return sequence_in(timeline_in(content))
            text, rate = prepared(content, kind)
            read = otio.adapters.read_from_string(text, adapter_name=EDITORS[kind].adapter)
            return sequence_in(found_timeline(read), rate)
        except MediaError:
            raise
        except Exception as error:  # what a parser says of a stranger's file may be anything
            raise MediaError(
                f"{name} cannot be read as {EDITORS[kind].title}, it is damaged or something else: "
                "export the timeline again as otio, fcp7 or fcpxml"
            ) from error


def check_kind(content: bytes, kind: str, name: str) -> None:
    """MediaError for a file that begins as another kind does."""
    found = kind_in(content)
    if found == "edl":
        raise MediaError(f"{name} is an EDL; {KINDS}, and {NO_RATE}: export one of these")
    if found not in ("", kind):
        row = EDITORS[found]
        raise MediaError(
            f"{name} is {row.title} and not {EDITORS[kind].title}: say format={found} over HTTP, or give it a name "
            f"that ends in {row.suffix}"
        )


def playlist(file: BinaryIO) -> bytes:
    """The timeline in an otioz; nothing else in it is opened."""
    with zipfile.ZipFile(file) as archive:
        if PLAYLIST not in archive.namelist():
            raise MediaError(f"there is no {PLAYLIST} in the zip, which an otioz has: export it again as otio")
        if archive.getinfo(PLAYLIST).file_size > MOST:
            raise MediaError(f"the timeline in the otioz has more than {MOST >> 20} MB: it is no timeline")
        return archive.read(PLAYLIST)


def found_timeline(read: Any) -> Any:
    """The first timeline of what a file holds."""
    schema = library().schema
    if isinstance(read, schema.Timeline):
        return read
    inside = [one for one in read if isinstance(one, schema.Timeline)] if hasattr(read, "__iter__") else []
    if not inside:
        raise MediaError("there is no timeline in the file: export the timeline itself, not a clip or a bin")
    return inside[0]


def sequence_in(timeline: Any, rate: Fraction | None = None) -> VideoSequence:
    """A timeline as ours: clips of its first video track, and the markers of all tracks that are on screen.

    rate: its frames a second, where its clips have others. A sound that lasts longer than the picture adds nothing.
    """
    tracks = timeline.video_tracks()
    if not tracks:
        raise MediaError("the timeline has no video track: put the video on one and export it again")
    length = (
        max(track.duration() for track in tracks)
        if timeline.tracks.source_range is None
        else timeline.tracks.duration()
    )
    length = length.rescaled_to(float(rate)) if rate else length
    frames = frames_in(length)
    fps, most = exact_rate(length.rate), LONGEST * length.rate
    found = inner(timeline.metadata)
    settings = found if isinstance(found, dict) else None
    clips, places = [], tracks[0].range_of_all_children()
    for clip in tracks[0].find_clips(shallow_search=True):
        place = places[clip]
        start, count = (round(time.rescaled_to(length.rate).value) for time in (place.start_time, place.duration))
        if not (abs(start) <= most and 0 <= count <= most):
            raise MediaError(f"the clip {shortened(clip.name)} has no time that can be: remove it, or export it again")
        clips.append(Clip(name=clip.name, start=start, frames=count, **told(ours(clip))))
    found = VideoSequence(name=timeline.name, fps=fps, frames=frames, clips=tuple(clips), settings=settings)
    return replace(found, markers=tuple(markers_in(timeline, found, speed_in(settings))))


def frames_in(length: Any) -> int:
    """A timeline's frames. MediaError for a length or a rate that none can have."""
    least, most = RATES
    if not length.value > 0:
        raise MediaError(
            "the timeline has nothing in it that lasts: put the video on its first video track and export it again"
        )
    if not least <= length.rate <= most:
        raise MediaError(
            f"the timeline has {length.rate:g} frames a second, and {least} to {most} can be: export it with a rate "
            "such as 24, 25 or 30"
        )
    if not isfinite(length.to_seconds()):
        raise MediaError("the timeline says no length or no rate: export it again with a rate such as 24, 25 or 30")
    if length.to_seconds() > LONGEST:
        raise MediaError(f"the timeline has {length.to_seconds():.3g} s, and {LONGEST} at most are read: shorten it")
    return max(round(length.value), 1)


def told(said: Mapping[str, Any]) -> dict[str, Any]:
    """What our metadata of a clip says: its prompt, and the take that made it."""
    take = said.get("take")
    return {"text": str(said.get("prompt") or ""), "take": take if isinstance(take, int) else 1}


def markers_in(timeline: Any, sequence: VideoSequence, speed: float) -> Iterator[Marker]:
    """Markers on the timeline, its tracks and clips, each once; those that a cut has left outside are passed over.

    Their seconds are those of the new part, as a request's are.
    """
    seen: set[tuple[str, int]] = set()
    whole, frames, rate = timeline.tracks, sequence.frames, sequence.fps / exact_factor(speed)
    before, after = sequence.new.start, sequence.new.stop
    for item in (whole, *whole.find_children()):
        for marker in getattr(item, "markers", ()):
            start = marker.marked_range.start_time
            if item is not whole and not item.trimmed_range().contains(start):
                continue
            seen_at = from_timecode(timeline, start) if item is whole else item.transformed_time(start, whole)
            place = seen_at.rescaled_to(float(sequence.fps)).value
            if not -0.5 <= place <= after:
                continue
            on_frame = abs(place - round(place)) < ROUNDED
            second = (float(round(place) / sequence.fps) if on_frame else seen_at.to_seconds()) * speed
            frame, own = frame_at(second, rate, frames), max(second - float(before / rate), 0.0) if before else second
            found = said_by(marker, max(own, 0.0), frame, frames)
            if found and (found.name, found.frame) not in seen and (place < after or found.kind == "end"):
                seen.add((found.name, found.frame))
                yield found


def from_timecode(timeline: Any, start: Any) -> Any:
    """The time of a marker on the timeline itself from its beginning: some count it from the timecode there."""
    begin = timeline.global_start_time
    beyond = begin is not None and start >= begin and start >= timeline.tracks.duration()
    return start - begin if beyond else start


def said_by(marker: Any, second: float, frame: int, frames: int) -> Marker | None:
    """What a marker of OpenTimelineIO says. MediaError for one that says what no request may have."""
    try:
        found = exact(ours(marker), marker.name, second, frame, frames)
        return found or read_marker(marker.name, comment_of(marker), second, frame)
    except ValueError as error:
        raise MediaError(f"the marker {shortened(marker.name)} at {second:.2f} s cannot be used: {error}") from error


def comment_of(marker: Any) -> str:
    """What is written to a marker beside its name; the adapter of fcp7 leaves it where it was."""
    kept = marker.metadata.get("fcp_xml")
    comment = kept.get("comment") if isinstance(kept, Mapping) else None
    return marker.comment or (comment if isinstance(comment, str) else "")


def exact(said: Mapping[str, Any], name: str, second: float, frame: int, frames: int) -> Marker | None:
    """The marker we have written, as it was; at its new second where it was moved. None for one that was renamed."""
    numbers = said.get("second"), said.get("strength", 1.0)
    if said.get("name") != name or said.get("kind") not in COLOURS or not all(map(is_number, numbers)):
        return None
    kind = said["kind"]
    picture = Picture.model_validate(as_object(said["picture"])) if "picture" in said else None
    if picture is None and kind in ("start", "keyframe", "end"):
        return None
    marker = Marker(
        kind=kind,
        frame=frame,
        second=float(said["second"]),
        picture=picture,
        strength=float(said.get("strength", 1.0)),
        text=str(said.get("text") or ""),
    )
    was = said.get("frame", frames - 1 if kind == "end" else frame)
    return marker if was == frame else replace(marker, second=second)


def is_number(value: object) -> bool:
    """Whether it is one that a float can be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def ours(item: Any) -> dict[str, Any]:
    """Our metadata of a clip or marker; empty where there is none."""
    said = inner(item.metadata)
    return said if isinstance(said, dict) else {}


def inner(metadata: Any) -> Any:
    """What is ours of the metadata of a part of a timeline."""
    return plain(metadata[OURS]) if OURS in metadata else None


def plain(value: Any, level: int = 0) -> Any:
    """Dictionaries and lists of OpenTimelineIO as Python's own. MediaError for what is nested too deeply."""
    if level > DEEP:
        raise MediaError("the settings in the timeline are damaged: export the video as a timeline once more")
    if isinstance(value, Mapping):
        return {str(key): plain(part, level + 1) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part, level + 1) for part in value]
    return value
