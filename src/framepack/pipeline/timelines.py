"""Videos out to editing programs, and requests back from their timelines. Loads no model.

What a person has changed there holds: a marker that was moved has its new time, one that was renamed its new text, a
longer timeline more seconds. What nobody touched is the stored request's to the bit.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from framepack.files.atomic import make_folder, same_file
from framepack.media.credentials import carry_over
from framepack.media.editors import check_editor, write_timeline
from framepack.media.editors_read import read_timeline
from framepack.media.finishing import write_anew
from framepack.media.marks import request_in
from framepack.media.metadata import read_metadata
from framepack.media.read import probe
from framepack.pipeline.like import CONTENTS, found_again
from framepack.spec.formats import FORMATS
from framepack.spec.model import RequestError
from framepack.spec.output import FileCoding
from framepack.spec.parts import Keyframe, TimedPrompt
from framepack.spec.request import GenerationRequest
from framepack.spec.rules import shortened
from framepack.spec.sequence import Marker, VideoSequence, fields_of_markers, sequence_of, speed_in
from framepack.spec.stored import LATEST, SCHEMA

FRAMES_MOST = 10**8
"""Frames that a video may have that a timeline tells of."""


def export_timeline(
    file: Path | str,
    to: str,
    output: Path | str | None = None,
    *,
    media: str | None = None,
    overwrite: bool = False,
    said: Callable[[str], object] = len,
) -> Path:
    """Write a timeline about the video `file` for an editing program; the video lies beside it, or in an otioz.

    to: a key of EDITORS. output: a file or folder, by default beside the video; in another folder, the video is put
    beside it too. media: a key of FORMATS, in which the video is had there. said: is given what is to be noticed, such
    as content credentials that do not go along. Returns the timeline's file.
    Raises ValueError for a file that is there already, a rate that `to` cannot say and where the extra `editors` is not
    installed, MediaError for what is no video.
    """
    file = Path(file)
    sequence = sequence_in_file(file)
    row = check_editor(to, sequence.fps)
    path = place_of(file, row.suffix, None if output is None else Path(output))
    if media is not None and media not in FORMATS:
        raise ValueError(f"media must be one of {', '.join(FORMATS)}, got {media!r}")
    format_ = None if media is None else FORMATS[media]
    video = path.with_name(f"{file.stem}{format_.suffix if format_ else file.suffix}")
    beside = format_ is None or file.suffix == format_.suffix
    made = [] if video.absolute() == file.absolute() else [video]
    for one in (path, *made):
        if one.exists() and not overwrite and not (one in made and beside and one.samefile(file)):
            raise ValueError(f"{one} is there already: give another folder, or use --overwrite to replace it")
    make_folder(path.parent)
    if made and row.holds_video and beside:
        made, video = [], file
    for one in made:
        if beside:
            same_file(file, one)
        else:
            write_anew(file, one, FileCoding.model_validate({"format": media}))
            if notice := carry_over(file, one):
                said(notice)
    return write_timeline(sequence, path, to, video)


def place_of(file: Path, suffix: str, output: Path | None) -> Path:
    """Where the timeline of a video goes. ValueError for a file's name with another format's suffix."""
    if output is None:
        return file.with_suffix(suffix)
    if output.is_dir() or not output.suffix:
        return output / f"{file.stem}{suffix}"
    if output.suffix.lower() != suffix:
        raise ValueError(f"this timeline's name ends in {suffix}, got {output.name!r}: name a folder, or such a file")
    return output


def sequence_in_file(file: Path) -> VideoSequence:
    """The sequence of a video, with what it says of how it was made."""
    info = probe(file)
    return sequence_from(file.stem, info.fps, info.frames, read_metadata(file) or {})


def sequence_from(name: str, fps: Fraction, frames: int, metadata: Mapping[str, Any]) -> VideoSequence:
    """The sequence of a video of these facts; its metadata may be a stranger's, and one that is no request is none."""
    stored, request = request_in(metadata), None
    with suppress(RequestError):
        request = None if stored is None else GenerationRequest.stored(stored).resolved()
    return sequence_of(name, fps, frames, request, dict(metadata))


def request_from_timeline(file: Path | str, *pictures: Path | str, **changes: Any) -> GenerationRequest:
    """The request that a timeline says: its markers are keyframes and prompts, its length the seconds.

    pictures, changes: as in `request_like`, and they hold before what the timeline says. A timeline that was exported
    here has all other settings too. Raises MediaError for what is no timeline, ValueError where a picture is missing
    and where the extra `editors` is not installed.
    """
    file = Path(file)
    sequence = read_timeline(file, file.suffix)
    settings = sequence.settings or {}
    stored = fields_from(sequence)
    if "image" not in {**stored, **changes}:
        raise ValueError(f"{file} has no marker 'start: PICTURE' at its beginning: name the picture to start from")
    return found_again(stored, file, settings.get(CONTENTS), [Path(one) for one in pictures], changes)


def valid_fields_from(sequence: VideoSequence) -> dict[str, Any]:
    """As `fields_from`, and a request with these fields can be made, whatever picture it starts from.

    RequestError for what no request may have.
    """
    fields = fields_from(sequence)
    GenerationRequest.stored({**fields, "image": fields.get("image") or "-"})
    return fields


def fields_from(sequence: VideoSequence) -> dict[str, Any]:
    """A request's fields as JSON has them, with the settings that the timeline was exported with, where there are any.

    ValueError for markers that contradict each other, or that no request may have.
    """
    for marker in sequence.markers:
        check_marker(marker)
    settings = sequence.settings or {}
    stored = request_in(settings)
    fields: dict[str, Any] = {SCHEMA: LATEST} if stored is None else dict(stored)
    if stored is None or settings.get("frames") != sequence.frames:
        fields["seconds"] = float(len(sequence.new) / sequence.fps) * speed_in(settings)
    if stored is not None:
        request = GenerationRequest.stored(stored).resolved()
        said = settings.get("frames")
        count = said if isinstance(said, int) and 0 < said <= FRAMES_MOST else sequence.frames
        before = sequence_of("", sequence.fps, count, request, settings).markers
        if sorted(before, key=repr) == sorted(sequence.markers, key=repr):
            return fields
    return fields | fields_of_markers(sequence.markers)


def check_marker(marker: Marker) -> None:
    """ValueError for one that no request may have."""
    try:
        if marker.kind == "prompt":
            TimedPrompt(second=marker.second, text=marker.text)
        elif marker.picture is not None:
            Keyframe(image=marker.picture, second=marker.second, strength=marker.strength)
    except RequestError as error:
        raise ValueError(
            f"the marker {shortened(marker.name)} at {marker.second:.4g} s cannot be used: {error}"
        ) from error
