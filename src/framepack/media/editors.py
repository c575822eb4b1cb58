"""Timelines for editing programs, written by OpenTimelineIO and its adapters (the extra `editors`).

A timeline is `spec.sequence`'s: sections as clips of one video, pictures and prompts as markers on them. It names the
video by its bare name, as it lies beside it. What each format keeps stands in EDITORS, and docs/editors.md.
`editors_read` reads them.
"""

from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from framepack.files.atomic import atomic_write
from framepack.spec.sequence import Marker, VideoSequence

OURS = "framepack"
"""The key of our metadata in a timeline, a clip and a marker."""
SEQUENCE: TypeAdapter[VideoSequence] = TypeAdapter(VideoSequence)
"""For a sequence on its way between processes."""
COLOURS = {"start": "GREEN", "keyframe": "GREEN", "end": "GREEN", "prompt": "CYAN", "take": "MAGENTA"}
WHOLE = (24, 25, 30, 48, 50, 60)


@dataclass(frozen=True, kw_only=True)
class Editor:
    """A format of timelines. adapter: OpenTimelineIO's name of it; title: what people call it."""

    suffix: str
    title: str
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
        title="an OpenTimelineIO timeline (otio)",
        adapter="otio_json",
        mime="application/json",
        keeps_settings=True,
        description="OpenTimelineIO, all of it (DaVinci Resolve, Avid, Kdenlive, Blender)",
    ),
    "otioz": Editor(
        suffix=".otioz",
        title="a zipped OpenTimelineIO timeline (otioz)",
        adapter="otioz",
        mime="application/zip",
        keeps_settings=True,
        holds_video=True,
        description="the same with the video in it, in one file",
    ),
    "edl": Editor(
        suffix=".edl",
        title="an EDL",
        adapter="cmx_3600",
        mime="text/plain; charset=utf-8",
        rates=WHOLE,
        description="CMX 3600, for every editor; markers in capital letters",
    ),
    "fcp7": Editor(
        suffix=".xml",
        title="a timeline in Final Cut Pro 7 XML (fcp7)",
        adapter="fcp_xml",
        mime="application/xml",
        rates=WHOLE,
        description="Final Cut Pro 7 XML (Premiere Pro, Resolve)",
    ),
    "fcpxml": Editor(
        suffix=".fcpxml",
        title="a timeline in Final Cut Pro X XML (fcpxml)",
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
        said = {"prompt": clip.text} if clip.text else {}
        if said := said | ({"take": clip.take} if clip.take > 1 else {}):
            shown.metadata[OURS] = said
        inside = range(clip.start, clip.start + clip.frames)
        for marker in sequence.markers:
            if marker.frame in inside:
                shown.markers.append(built_marker(marker, rate))
        track.append(shown)
    return timeline


def built_marker(marker: Marker, rate: float) -> Any:
    """A marker of one frame."""
    schema = library().schema
    said = {"kind": marker.kind, "name": marker.name, "second": marker.second, "frame": marker.frame}
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
