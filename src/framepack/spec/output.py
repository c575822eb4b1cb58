"""The file a request wants: its name, format and rate. Nothing is opened here."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import model_validator

from framepack.spec.model import File, Model
from framepack.spec.rates import GIF_FPS
from framepack.spec.rules import shortened, within

Format = Literal["mp4", "mkv", "webm", "gif", "webp", "png"]
SUFFIXES = {**{f".{name}": name for name in get_args(Format) if name != "png"}, ".zip": "png"}
"""The format of a file by its suffix; png is a zip of pictures."""
LOSSY: tuple[Format, ...] = ("mp4", "webm", "webp")
"""Formats whose files `crf` changes."""


class OutputSettings(Model):
    """The file to write. `path` None means a dated name in the outputs folder; the format follows a path's suffix."""

    path: File | None = None
    format: Format = "mp4"
    crf: Annotated[int, within(1, 51)] = 16
    """Compression of mp4, webm and webp, on x264's scale: smaller is better and larger on disk. mkv is lossless."""
    fps: Annotated[float, within(1, 120)] = 30.0
    live: bool = True
    """Let the file that plays after each section also hold the frames the next section will still blend."""
    overwrite: bool = False
    """Replace a finished file of this name; else the job is refused before it begins."""
    mark: bool = True
    """Say in the file, for programs and in words, that AI made it. In the European Union that is a duty."""

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
