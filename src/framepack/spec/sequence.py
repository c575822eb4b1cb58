"""A video as editing programs see it: its sections as clips, its pictures and prompts as markers, all in frames.

Pure. Both ways: from a request to markers, and from markers that somebody has moved, renamed or added to a request's
fields. A marker's name says all of it, as some formats keep nothing else: `keyframe: door.png:0.8`, `prompt: it rains`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Literal, get_args

from framepack.files.text import JOINERS
from framepack.spec.picture import Picture, PictureFile, typed
from framepack.spec.rates import exact_factor
from framepack.spec.redo import made_in, said_of, section_times
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS
from framepack.spec.timeline import changes_of, prompt_at, tiles_of

Said = Literal["start", "keyframe", "end", "prompt"]
"""What a request is made of again."""
Kind = Literal[Said, "take"]
SAID = re.compile(rf"\s*(?P<kind>{'|'.join(get_args(Said))})\s*:\s*(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
TAKE = re.compile(r"\s*take \d+: (from )?section \d+.*", re.IGNORECASE | re.DOTALL)
"""Says which sections another take made anew; nothing of a request is read from it."""
STRENGTH = re.compile(r"(?P<file>.+):(?P<strength>\d*\.?\d+)", re.DOTALL)
UNNAMED = re.compile(r"\s*(marker|mark)?\s*\d*\s*", re.IGNORECASE)
"""What editing programs call a marker that nobody has named."""
SOURCE = "source"
"""The name of a clip that holds a source's own frames, beside those that were made."""
BEFORE = "before"
"""Key in a video's metadata: the frames of a source before the new part, at the model's rate."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".avif")
"""Suffixes by which a marker that is called after a file is a keyframe."""


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Something said of one frame. second: the request's own, which need not lie on a frame."""

    kind: Kind
    frame: int
    second: float
    picture: PictureFile | None = None
    strength: float = 1.0
    text: str = ""

    @property
    def name(self) -> str:
        """All of it in one line; line breaks of a prompt become spaces."""
        if self.kind == "take":
            return one_line(self.text)
        if self.picture is None:
            return f"{self.kind}: {one_line(self.text)}"
        strength = "" if self.strength == 1 else f":{self.strength:g}"
        return f"{self.kind}: {one_line(written(self.picture))}{strength}"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A section: its frames, the prompt it was made with, and the number of the take that made it."""

    name: str
    start: int
    frames: int
    text: str = ""
    take: int = 1


@dataclass(frozen=True, kw_only=True)
class VideoSequence:
    """All of a video. fps: of its file; settings: what the file says of how it was made."""

    name: str
    fps: Fraction
    frames: int
    clips: tuple[Clip, ...]
    markers: tuple[Marker, ...] = ()
    settings: dict[str, Any] | None = None

    @property
    def new(self) -> range:
        """The frames that were made: what lies beside them is a source's."""
        at_ends = [bool(self.clips[1:]) and self.clips[end].name == SOURCE for end in (0, -1)]
        before, after = (self.clips[end].frames if there else 0 for end, there in zip((0, -1), at_ends, strict=True))
        return range(before, self.frames - after)


def sequence_of(
    name: str, fps: Fraction, frames: int, request: GenerationRequest | None, settings: dict[str, Any] | None = None
) -> VideoSequence:
    """The sequence of a file of so many frames that was made with `request`; without one it is a single clip."""
    if request is None:
        return VideoSequence(name=name, fps=fps, frames=frames, clips=(Clip(name=name, start=0, frames=frames),))
    new = new_in(request, fps, frames, settings or {})
    beside = [part for part in (range(new.start), range(new.stop, frames)) if part]
    sources = (Clip(name=SOURCE, start=part.start, frames=len(part)) for part in beside)
    sections = (replace(clip, start=new.start + clip.start) for clip in clips_of(request, fps, len(new)))
    markers = markers_of(request, fps, new)
    return VideoSequence(
        name=name,
        fps=fps,
        frames=frames,
        clips=tuple(sorted((*sources, *sections), key=lambda clip: clip.start)),
        markers=tuple(sorted(markers, key=lambda marker: marker.frame)),
        settings=settings,
    )


def new_in(request: GenerationRequest, fps: Fraction, frames: int, settings: Mapping[str, Any]) -> range:
    """The frames of the file that were made; a file says how many of a source's (at the model's rate) are before."""
    sides = TASKS[request.task].beside
    if not sides:
        return range(frames)
    share = rate_of(request, fps) / request.geometry.fps
    made, said = round(request.frame_count * share), settings.get(BEFORE)
    before = round(said * share) if isinstance(said, int) else 0 if "after" in sides else frames - made
    before = min(max(before, 0), max(frames - made, 0))
    return range(before, min(before + made, frames))


def clips_of(request: GenerationRequest, fps: Fraction, frames: int) -> Iterator[Clip]:
    """The sections that have frames in the new part, in the order of time, counted from 1; places within it."""
    tiles, changes = sorted(tiles_of(request), key=lambda tile: tile.start), changes_of(request)
    ends, takes = [border(request, tile, fps) for tile in tiles], made_in(request)
    edges = [0, *(min(end, frames) for end in ends[:-1]), frames]
    for number, (tile, (start, end)) in enumerate(zip(tiles, pairwise(edges), strict=True), 1):
        if end > start:
            text = prompt_at(request, changes, tile)
            yield Clip(name=f"section {number}", start=start, frames=end - start, text=text, take=takes[number - 1])


def border(request: GenerationRequest, tile: range, fps: Fraction) -> int:
    """The first frame of the file behind a section's last latent."""
    last = request.geometry.seconds_of(tile[-1], request.latent_count, request.window)
    seen = round(Fraction(last).limit_denominator(10**6) * rate_of(request, fps))
    return seen + (1 if request.geometry.overlap else 0)


def rate_of(request: GenerationRequest, fps: Fraction) -> Fraction:
    """Frames of the file for each second of the model: a file that plays slowly has more of them."""
    return fps / exact_factor(request.output.speed)


def markers_of(request: GenerationRequest, fps: Fraction, new: range) -> Iterator[Marker]:
    """One for each picture, each prompt, and each take that made sections anew. new: the frames that were made."""
    rate = rate_of(request, fps)

    def at(second: float) -> int:
        return new.start + frame_at(second, rate, len(new))

    yield Marker(kind="start", frame=new.start, second=0.0, picture=request.image)
    if request.prompt:
        yield Marker(kind="prompt", frame=new.start, second=0.0, text=request.prompt)
    for prompt in request.prompts:
        yield Marker(kind="prompt", frame=at(prompt.second), second=prompt.second, text=prompt.text)
    for one in request.frames:
        yield Marker(kind="keyframe", frame=at(one.second), second=one.second, picture=one.image, strength=one.strength)
    if end := request.end_frame:
        second = float(len(new) / rate)
        yield Marker(kind="end", frame=new.stop - 1, second=second, picture=end.image, strength=end.strength)

    times = section_times(request) if request.redo else []
    for redo in request.redo:
        second, said = times[redo.section - 1][0], f"take {redo.take}: {said_of(redo)}"
        yield Marker(kind="take", frame=at(second), second=second, text=said)


def frame_at(second: float, fps: Fraction, frames: int) -> int:
    """The frame nearest to a second, at so many of them for each."""
    return min(round(second * fps), frames - 1)


def speed_in(settings: Mapping[str, Any] | None) -> float:
    """How fast a file with these settings plays what the model made; 1 where they do not say."""
    request = (settings or {}).get("request")
    output = request.get("output") if isinstance(request, dict) else None
    speed = output.get("speed", 1.0) if isinstance(output, dict) else 1.0
    return float(speed) if isinstance(speed, int | float) and 0.25 <= speed <= 4 else 1.0


def one_line(text: str) -> str:
    """A text without line breaks and what no XML may hold."""
    return " ".join("".join(one if one.isprintable() or one in JOINERS else " " for one in text).split())


def written(picture: Picture) -> str:
    """FILE or FILE[EDITS], as command lines have it."""
    said = picture.model_dump(mode="json")
    if isinstance(said, str):
        return said
    edits = {name: value for name, value in said.items() if name != "file"}
    return f"{said['file']}[{','.join(f'{name}={edit(value)}' for name, value in edits.items())}]"


def edit(value: Any) -> str:
    """One edit's value."""
    return "/".join(f"{part:g}" for part in value) if isinstance(value, list) else f"{value}"


def read_marker(name: str, comment: str, second: float, frame: int) -> Marker | None:
    """What a marker's name says, or its comment where nobody has named it; None where neither says anything."""
    said = comment if UNNAMED.fullmatch(name) else name
    if UNNAMED.fullmatch(said):
        return None
    found = SAID.fullmatch(said)
    if TAKE.fullmatch(said):
        return Marker(kind="take", frame=frame, second=second, text=said)
    kind, rest = (found["kind"].lower(), found["rest"].strip()) if found else ("", said.strip())
    if not kind:
        file = STRENGTH.fullmatch(rest)
        named = PurePath((file["file"] if file else rest).partition("[")[0])
        kind = "keyframe" if named.suffix.lower() in PICTURES else "prompt"
    if kind == "prompt":
        return Marker(kind="prompt", frame=frame, second=second, text=rest)
    strength = STRENGTH.fullmatch(rest)
    picture = Picture.model_validate(as_object(typed(strength["file"] if strength else rest)))
    held = float(strength["strength"]) if strength else 1.0
    return Marker(kind=kind, frame=frame, second=second, picture=picture, strength=held)  # type: ignore[arg-type]


def as_object(said: str | dict[str, Any]) -> dict[str, Any]:
    """A picture's fields."""
    return {"file": said} if isinstance(said, str) else said


def fields_of_markers(markers: Sequence[Marker]) -> dict[str, Any]:
    """The fields of a request that markers say: start picture, keyframes, end frame, prompts, in the order of time.

    What stands at the first frame is the start picture, or the prompt the video begins with.
    """
    in_time = sorted(markers, key=lambda marker: marker.second)
    starts = [one for one in in_time if one.kind == "start"]
    frames = [one for one in in_time if one.kind == "keyframe"]
    if not starts and frames and frames[0].second == 0:
        starts, frames = frames[:1], frames[1:]
    ends = [one for one in in_time if one.kind == "end"]
    for kind, several in (("start", starts), ("end", ends)):
        if len(several) > 1:
            raise ValueError(f"the timeline has {len(several)} {kind} pictures: keep one marker called '{kind}: ...'")
    first, later = first_prompt([one for one in in_time if one.kind == "prompt"])
    said: dict[str, Any] = {
        "prompt": first,
        "prompts": [{"second": one.second, "text": one.text} for one in later],
        "frames": [held(one, second=one.second) for one in frames],
        "end_frame": held(ends[0]) if ends else None,
    }
    return said | ({"image": starts[0].picture.model_dump(mode="json")} if starts and starts[0].picture else {})


def first_prompt(prompts: Sequence[Marker]) -> tuple[str, Sequence[Marker]]:
    """The prompt at the video's beginning, and those that take its place later."""
    begins = bool(prompts) and prompts[0].second == 0
    return (prompts[0].text, prompts[1:]) if begins else ("", prompts)


def held(marker: Marker, **more: float) -> dict[str, Any]:
    """A keyframe or end frame."""
    assert marker.picture is not None
    return {"image": marker.picture.model_dump(mode="json"), "strength": marker.strength, **more}
