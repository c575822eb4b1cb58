"""The file a request wants: its name, format and rate. Nothing is opened here."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from framepack.spec.fields import option
from framepack.spec.model import File, Model
from framepack.spec.rates import GIF_FPS
from framepack.spec.rules import shortened

Format = Literal["mp4", "mkv", "webm", "gif", "webp", "png"]
SUFFIXES = {**{f".{name}": name for name in get_args(Format) if name != "png"}, ".zip": "png"}
"""The format of a file by its suffix; png is a zip of pictures."""
LOSSY: tuple[Format, ...] = ("mp4", "webm", "webp")
"""Formats whose files `crf` changes."""


class OutputSettings(Model):
    """What is asked of the file: its name, format and rate."""

    path: Annotated[File | None, Field(json_schema_extra=option("--output", "-o"))] = None
    """The file's name, ending in .mp4, .mkv (lossless), .webm, .gif, .webp or .zip (PNGs).

    Where nobody says it: a dated name in the outputs folder.
    """
    format: Format = "mp4"
    """Format of the file to keep.

    That of its name, where it has one.
    """
    crf: Annotated[int, Field(ge=1, le=51)] = 16
    """Compression of mp4, webm and webp: smaller looks better and makes a larger file; 16 is hard to tell from perfect.

    On x264's scale.
    """
    fps: Annotated[float, Field(ge=1, le=120)] = 30.0
    """Rate of the file. The model thinks in 30 frames a second; other rates are computed from it."""
    live: bool = True
    """Also plays, after each section, frames that the next section still blends with its own."""
    overwrite: bool = False
    """Replaces a finished file of this name; else the job is refused before it begins."""
    mark: bool = True
    """Says in the file, for programs and for people, that AI made it. In the European Union that is a duty."""

    @model_validator(mode="after")
    def _format_can(self) -> Self:
        if self.format == "gif" and self.fps > GIF_FPS:
            raise ValueError(f"a gif shows 1..{GIF_FPS} frames a second, got fps {self.fps:g}; webp shows more")
        return self

    @model_validator(mode="before")
    @classmethod
    def _format_of_path(cls, data: object) -> object:
        path = data.get("path") if isinstance(data, dict) else None
        suffix = Path(path).suffix.lower() if isinstance(path, str | Path) else ""
        if not isinstance(data, dict) or not isinstance(path, str | Path) or not suffix:
            return data
        said, named = data.get("format"), SUFFIXES.get(suffix)
        name = shortened(Path(path).name)
        if named is None and said is None:
            formats = ", ".join(SUFFIXES)
            raise ValueError(f"no video format has the suffix {shortened(suffix)} of {name}: use one of {formats}")
        if None not in (named, said) and said != named:
            raise ValueError(
                f"output.path {name} and output.format {shortened(said)} are two formats: leave one of them out"
            )
        return {**data, "format": said or named}
