"""The frames of sources in a video: where they stand beside the new part, and with which section they are written.

Each joins the section that lies next to it, so that what is written so far is always one piece. And their sound.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from framepack.media.clips import Clip, is_video
from framepack.media.join import holds_sound, lay_sound
from framepack.media.sandbox import sound_of_untrusted_video
from framepack.media.source_sound import SourceSound
from framepack.spec.plan import Cut
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS
from framepack.spec.tasks import Beside as Side

Clips = Mapping[Side, Clip]
NOTHING: Clips = {}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A source's frames in the video."""

    side: Side
    clip: Clip
    place: range
    """At the model's rate."""
    section: int
    """The section's index that it joins."""


class Beside:
    """The sources of one video. new: frames of the new part."""

    def __init__(self, clips: Clips, sections: Sequence[Cut], new: int) -> None:
        self.before = clips["before"].frames if "before" in clips else 0
        """Frames that stand before the new part."""
        last, backward = len(sections) - 1, sections[0].direction == "backward"
        places = {"before": (0, last if backward else 0), "after": (self.before + new, 0 if backward else last)}
        self.placed = [
            Placed(side=side, clip=clip, place=range(begin, begin + clip.frames), section=section)
            for side, clip in clips.items()
            for begin, section in [places[side]]
        ]

    def at(self, index: int) -> list[Placed]:
        """Those that join a section."""
        return [one for one in self.placed if one.section == index]


def sound_of(request: GenerationRequest, beside: Beside) -> SourceSound | None:
    """The first source's sound, where its frames are; a restyled video's under the new ones."""
    picture, rate = request.image, request.geometry.fps
    if not TASKS[request.task].clips or not is_video(picture) or request.output.speed != 1:
        return None
    place = next((one.place for one in beside.placed), range(request.frame_count))
    data = sound_of_untrusted_video(picture.file)
    return SourceSound(data=data, begin=place.start / rate, seconds=len(place) / rate) if data else None


@contextmanager
def sounding(request: GenerationRequest, beside: Beside, path: Path, folder: Path, metadata: str) -> Iterator[Path]:
    """Where to write all frames: the file at `path`, or one in `folder` that becomes it with a source's sound.

    So a file has its name when it is complete, and not before.
    """
    settings, sound = request.output, sound_of(request, beside)
    if sound is None or request.finish.audio or not holds_sound(settings.format, settings.coding, sound):
        yield path
        return
    silent = folder / f"silent{path.suffix}"
    yield silent
    how = {"format": settings.format, "coding": settings.coding, "fps": settings.fps}
    lay_sound(silent, path, sound, **how, metadata=metadata)
    silent.unlink()
