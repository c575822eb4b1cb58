"""Timelines for editing programs, written and read by OpenTimelineIO and its adapters (the extra `editors`).

A timeline is `spec.sequence`'s: sections as clips of one video, pictures and prompts as markers on them. It names the
video by its bare name, as it lies beside it. What each format keeps stands in EDITORS, and docs/editors.md.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from pydantic import TypeAdapter

from framepack.files.atomic import atomic_write
from framepack.files.errors import MediaError
from framepack.media.source import Source, name_of, open_source
from framepack.spec.picture import Picture
from framepack.spec.sequence import Clip, Marker, VideoSequence, as_object, frame_at, read_marker

OURS = "framepack"
"""The key of our metadata in a timeline, a clip and a marker."""
MOST = 32 << 20
"""Bytes of a timeline that are read; one of an hour has two megabytes."""
SEQUENCE: TypeAdapter[VideoSequence] = TypeAdapter(VideoSequence)
"""For a sequence on its way between processes."""
COLOURS = {"start": "GREEN", "keyframe": "GREEN", "end": "GREEN", "prompt": "CYAN"}
WHOLE = (24, 25, 30, 48, 50, 60)
SECONDS = re.compile(r'\b(start|offset|duration|tcStart)="(\d+)/(\d+)s"')
"""Times in an fcpxml. Its adapter cuts them to whole frames by `int`, so that 41/10 s at 30 frames a second, which is
frame 123, is read as 122; what it writes is right."""
PLAYLIST = "content.otio"
"""The timeline in an otioz."""


@dataclass(frozen=True, kw_only=True)
class Editor:
    """A format of timelines. adapter: OpenTimelineIO's name of it."""

    suffix: str
    adapter: str
    mime: str
    rates: tuple[int, ...] = ()
    """Frames a second at which its times come back equal; empty for all."""
    keeps_settings: bool = False
    """Whether it keeps the request, beside clips and markers."""
    holds_video: bool = False
    description: str


EDITORS: dict[str, Editor] = {
    "otio": Editor(
        suffix=".otio",
        adapter="otio_json",
        mime="application/json",
        keeps_settings=True,
        description="OpenTimelineIO, all of it (DaVinci Resolve, Avid, Kdenlive, Blender)",
    ),
    "otioz": Editor(
        suffix=".otioz",
        adapter="otioz",
        mime="application/zip",
        keeps_settings=True,
        holds_video=True,
        description="the same with the video in it, in one file",
    ),
    "edl": Editor(
        suffix=".edl",
        adapter="cmx_3600",
        mime="text/plain; charset=utf-8",
        rates=WHOLE,
        description="CMX 3600, for every editor; markers in capital letters",
    ),
    "fcp7": Editor(
        suffix=".xml",
        adapter="fcp_xml",
        mime="application/xml",
        rates=WHOLE,
        description="Final Cut Pro 7 XML (Premiere Pro, Resolve)",
    ),
    "fcpxml": Editor(
        suffix=".fcpxml",
        adapter="fcpx_xml",
        mime="application/xml",
        rates=tuple(rate for rate in WHOLE if rate != 48),
        description="Final Cut Pro X",
    ),
}


def library() -> Any:
    """OpenTimelineIO. ValueError where the extra is not installed."""
    try:
        return import_module("opentimelineio")
    except ImportError:
        raise ValueError(
            "timelines for editing programs are written and read by OpenTimelineIO, which is not installed: "
            "pip install 'framepack[editors]'"
        ) from None


def check_editor(to: str, fps: Fraction) -> Editor:
    """The format called `to`. ValueError where there is none, and where it cannot say times at this rate."""
    if to not in EDITORS:
        raise ValueError(f"the timeline must be one of {', '.join(EDITORS)}, got {to!r}")
    row = EDITORS[to]
    if row.rates and fps not in row.rates:
        rates = ", ".join(map(str, row.rates))
        raise ValueError(
            f"{to} says times wrongly at {float(fps):.5g} frames a second: it can have {rates}; otio and otioz have all"
        )
    return row


def write_timeline(sequence: VideoSequence, path: Path, to: str, video: Path) -> Path:
    """Write `sequence` to `path` as a format of EDITORS, about the file `video`; whole or not at all.

    ValueError for a rate the format cannot say and where the extra is not installed, DiskFullError.
    """
    row, otio = check_editor(to, sequence.fps), library()
    needed = video.stat().st_size if row.holds_video else None
    timeline = built(sequence, str(video.absolute()) if row.holds_video else quote(video.name))
    with atomic_write(path, needed) as temporary:
        if row.holds_video:
            otio.adapters.write_to_file(timeline, str(temporary), adapter_name=row.adapter)
        else:
            text = otio.adapters.write_to_string(timeline, adapter_name=row.adapter)
            temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def built(sequence: VideoSequence, url: str) -> Any:
    """OpenTimelineIO's Timeline: one video track, its clips cut from the file at `url`."""
    otio = library()
    schema, rate = otio.schema, float(sequence.fps)
    timeline = schema.Timeline(sequence.name)
    if sequence.settings is not None:
        timeline.metadata[OURS] = {**sequence.settings, "frames": sequence.frames}
    track = schema.Track("FramePack", kind=schema.TrackKind.Video)
    timeline.tracks.append(track)
    for clip in sequence.clips:
        media = schema.ExternalReference(url, span(0, sequence.frames, rate))
        media.name = sequence.name
        shown = schema.Clip(clip.name, media_reference=media, source_range=span(clip.start, clip.frames, rate))
        if clip.text:
            shown.metadata[OURS] = {"prompt": clip.text}
        inside = range(clip.start, clip.start + clip.frames)
        for marker in sequence.markers:
            if marker.frame in inside:
                shown.markers.append(built_marker(marker, rate))
        track.append(shown)
    return timeline


def built_marker(marker: Marker, rate: float) -> Any:
    """A marker of one frame."""
    schema = library().schema
    said = {"kind": marker.kind, "name": marker.name, "second": marker.second}
    if marker.picture is None:
        said |= {"text": marker.text}
    else:
        said |= {"picture": marker.picture.model_dump(mode="json"), "strength": marker.strength}
    return schema.Marker(
        name=marker.name, marked_range=span(marker.frame, 1, rate), color=COLOURS[marker.kind], metadata={OURS: said}
    )


def span(start: int, frames: int, rate: float) -> Any:
    """A range of whole frames."""
    time = library().opentime
    return time.TimeRange(time.RationalTime(start, rate), time.RationalTime(frames, rate))


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
    settings = plain(timeline.metadata).get(OURS)
    clips = []
    for clip in tracks[0].find_clips(shallow_search=True):
        place = clip.range_in_parent()
        start, count = (round(time.rescaled_to(length.rate).value) for time in (place.start_time, place.duration))
        clips.append(Clip(name=clip.name, start=start, frames=count, text=ours(clip).get("prompt", "")))
    return VideoSequence(
        name=timeline.name,
        fps=fps,
        frames=frames,
        clips=tuple(clips),
        markers=tuple(markers_in(timeline, fps, frames)),
        settings=settings if isinstance(settings, dict) else None,
    )


def markers_in(timeline: Any, fps: Fraction, frames: int) -> Iterator[Marker]:
    """Markers on the timeline, its tracks and clips, each once; those that a cut has left outside are passed over."""
    seen: set[tuple[str, int]] = set()
    whole = timeline.tracks
    for item in (whole, *whole.find_children()):
        for marker in getattr(item, "markers", ()):
            start = marker.marked_range.start_time
            if item is not whole and not item.trimmed_range().contains(start):
                continue
            second = item.transformed_time(start, whole).to_seconds()
            found = exact(ours(marker), marker.name, second, fps, frames)
            found = found or read_marker(marker.name, getattr(marker, "comment", ""), max(second, 0.0), fps, frames)
            if found and (found.name, found.frame) not in seen:
                seen.add((found.name, found.frame))
                yield found


def exact(said: Mapping[str, Any], name: str, second: float, fps: Fraction, frames: int) -> Marker | None:
    """The marker we have written, as it was; at its new second where it was moved. None for one that was renamed."""
    if said.get("name") != name or said.get("kind") not in COLOURS:
        return None
    kind, frame = said["kind"], frame_at(second, fps, frames)
    picture = Picture.model_validate(as_object(said["picture"])) if "picture" in said else None
    marker = Marker(
        kind=kind,
        frame=frame,
        second=float(said["second"]),
        picture=picture,
        strength=float(said.get("strength", 1.0)),
        text=str(said.get("text", "")),
    )
    was = frames - 1 if kind == "end" else frame_at(marker.second, fps, frames)
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
