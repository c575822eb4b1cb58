"""What is done to a video's final frames, in the order it is done, before they are encoded once. Nothing is opened.

`Finish` is a request's part; `FileFinish` has what only makes sense for a file that is there. Steps that say nothing
leave every frame as it is. `media.finishing` does them.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from framepack.spec.fields import option
from framepack.spec.model import File, Model
from framepack.spec.rules import shortened

SOUNDING = ("mp4", "mkv", "webm", "mov")
"""Formats that can have sound."""
FADE_MOST = 10.0
"""Seconds of a cross-fade at most: its frames are held in memory."""


class Finish(Model):
    """Steps on the final frames, in this order; what is left out changes nothing."""

    deflicker: Annotated[int, Field(ge=0, le=65)] = 0
    """Evens out brightness over so many frames; 0 does nothing, 5 to 15 take away flicker."""
    denoise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Takes noise out of what stands still from frame to frame."""
    enlarge: Annotated[float, Field(ge=1, le=4)] = 1.0
    """Width and height times so much, by Lanczos, or by a network."""
    network: Annotated[File | None, Field(json_schema_extra=option("--enlarge-with"))] = None
    """A .safetensors file of an ESRGAN network (RRDB, such as Real-ESRGAN x4plus) that enlarges.

    What it does not reach exactly, Lanczos does after it.
    """
    sharpen: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Sharpens edges, by contrast-adaptive sharpening."""
    exposure: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Stops: 1 doubles all levels, -1 halves them."""
    contrast: Annotated[float, Field(ge=0, le=2)] = 1.0
    """1 as it is, 0 middle grey."""
    saturation: Annotated[float, Field(ge=0, le=2)] = 1.0
    """1 as it is, 0 without colour."""
    warmth: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """More red and less blue, or, below 0, the other way round."""
    lut: File | None = None
    """A .cube file, a table of colours, as editing programs have them."""
    grain: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Film grain, another one in each frame; it hides banding."""
    audio: File | None = None
    """A file whose sound the video gets, from its beginning on: wav, mp3, flac, ogg, m4a or another video."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self != type(self)()

    @model_validator(mode="after")
    def _files_are_such(self) -> Self:
        for name, suffix in (("network", ".safetensors"), ("lut", ".cube")):
            file = getattr(self, name)
            if file is not None and file.suffix.lower() != suffix:
                raise ValueError(f"{name} is a {suffix} file, got {shortened(file.name)}: no other kind is read")
        return self


class FileFinish(Finish):
    """The same for a finished file, which may be cut and joined before."""

    start: Annotated[float, Field(ge=0, le=36000)] = 0.0
    """The second to begin at; what is before it is cut away."""
    end: Annotated[float | None, Field(ge=0, le=36000)] = None
    """The second to end at."""
    join: Annotated[tuple[File, ...], Field(max_length=100)] = ()
    """Videos of the same size that follow."""
    fade: Annotated[float, Field(ge=0, le=FADE_MOST)] = 0.0
    """Seconds of cross-fade where videos are joined, which become that much shorter together."""

    @model_validator(mode="after")
    def _cut_has_an_inside(self) -> Self:
        if self.end is not None and self.start >= self.end:
            raise ValueError(f"end must lie behind start, got {self.end:g} and {self.start:g} s: move one of them")
        if self.fade and not self.join:
            raise ValueError("fade is a cross-fade to the next video: name one with join, or leave it out")
        return self


def check_sound(finish: Finish, format_: str) -> None:
    """ValueError where the file could not have the sound."""
    if finish.audio is not None and format_ not in SOUNDING:
        raise ValueError(f"{format_} has no sound: leave audio out, or use {', '.join(SOUNDING)}")
