"""The file a request wants: its name, format, compression and rate. Nothing is opened here."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from framepack.spec import formats
from framepack.spec.fields import option
from framepack.spec.formats import CODECS, FORMATS, PRESETS, SUFFIXES, Codec, Coding, Format, FpsMode, Quality
from framepack.spec.model import File, Model
from framepack.spec.rates import GIF_FPS, exact_factor, exact_rate
from framepack.spec.rules import shortened

PICTURE = ".png"
"""The suffix of a still; the files of videos have others."""
KNOWN: dict[str, tuple[str, ...]] = {**SUFFIXES, PICTURE: ("png",)}
"""The formats of a file by its suffix; png is a zip of pictures, or one picture."""


class NamedFile(Model):
    """Where a file goes; its ending says its format."""

    path: Annotated[File | None, Field(json_schema_extra=option("--output", "-o"))] = None
    """The file's name, ending in .mp4, .mkv (lossless), .webm, .mov, .gif, .webp, .apng or .zip (pictures).

    Where nobody says it: a dated name in the outputs folder, or for a file that is there a name beside it. With format
    png, tiff or exr a name without an ending is a folder of pictures.
    """
    overwrite: bool = False
    """Replaces a finished file of this name; else the work is refused before it begins."""

    @model_validator(mode="before")
    @classmethod
    def _format_of_path(cls, data: object) -> object:
        path = data.get("path") if isinstance(data, dict) else None
        suffix = Path(path).suffix.lower() if isinstance(path, str | Path) else ""
        if not isinstance(data, dict) or not isinstance(path, str | Path) or not suffix:
            return data
        said, named = data.get("format"), KNOWN.get(suffix)
        name = shortened(Path(path).name)
        if named is None and said is None:
            known = ", ".join(SUFFIXES)
            raise ValueError(f"no video format has the suffix {shortened(suffix)} of {name}: use one of {known}")
        if named is not None and said is not None and said not in named:
            raise ValueError(f"{name} is one format and {shortened(said)} another: leave one of them out")
        return {**data, "format": said or (named or (said,))[0]}


class Compression(Model):
    """A file's format, its codec, and how well its frames are compressed."""

    format: Format = "mp4"
    """Format of the file to keep.

    That of its name, where it has one; a .zip holds png unless this says tiff or exr.
    """
    codec: Codec | None = None
    """How the format is encoded where it has several: h264, h265, av1 (mp4), vp9, av1 (webm), prores, prores4444 (mov).

    Where nobody says it: the first of them. mkv holds ffv1 or ffv1-16.
    """
    quality: Quality | None = None
    """A step of compression in place of crf: draft 28, standard 16, high 8; lossless is exact to the bit.

    Lossless: h265, vp9, webp, and always mkv, apng, png and tiff; the others refuse it.
    """
    crf: Annotated[int, Field(ge=1, le=51)] = formats.CRF
    """Compression of mp4, webm and webp: smaller looks better and makes a larger file; 16 is hard to tell from perfect.

    On x264's scale.
    """
    bitrate: Annotated[float | None, Field(ge=0.01, le=500, json_schema_extra=option(usual=(1, 50)))] = None
    """Mbit a second on average in place of crf, for mp4 and webm."""

    @property
    def coding(self) -> Coding:
        """How the file's frames are compressed, in numbers."""
        lossless = self.quality == "lossless"
        crf = self.crf if self.quality is None or lossless else PRESETS[self.quality]
        return Coding(codec=self.codec, crf=crf, bitrate=self.bitrate, lossless=lossless)

    @property
    def codec_name(self) -> str:
        """The codec of the file, a key of CODECS."""
        return formats.codec_of(self.format, self.codec)

    @property
    def wide(self) -> bool:
        """Whether the file holds more than 8 bits a colour."""
        return CODECS[self.codec_name].wide

    @model_validator(mode="after")
    def _codec_can(self) -> Self:
        if self.quality is not None and self.bitrate is not None:
            raise ValueError(
                f"quality {self.quality} and bitrate {self.bitrate:g} are two sizes: leave one of them out"
            )
        row = formats.check_coding(self.format, self.coding)
        if self.quality not in (None, "lossless") and not row.crf:
            held = "it is always lossless" if row.lossless == "always" else "it has one quality"
            raise ValueError(
                f"{self.codec_name} is not compressed by quality, got {self.quality}: leave it out, {held}"
            )
        return self


class Timing(Model):
    """How fast a file plays, and how frames at another rate are had."""

    fps_mode: FpsMode = "repeat"
    """How another rate is computed: frames repeated or left out, blended, or moved along the motion between them.

    A hard cut stays hard in all of them. motion computes with 8 bits a colour.
    """
    speed: Annotated[float, Field(ge=0.25, le=4)] = 1.0
    """How fast the file plays what the model made: 0.5 is slow motion that lasts twice as long.

    The length and all times of a request are those before it.
    """


class FileCoding(Timing, Compression):
    """How a video that is there is written anew. `FileOutput` has its name too."""

    fps: Annotated[float | None, Field(ge=1, le=120)] = None
    """Rate of the new file; by default the video's own, a gif's at most 50."""

    @model_validator(mode="after")
    def _rate_can(self) -> Self:
        check_gif(self.format, self.fps)
        return self


class FileOutput(FileCoding, NamedFile):
    """The file that a video is written to anew: its name, format, compression, rate and speed."""


class OutputSettings(Timing, Compression, NamedFile):
    """What is asked of the file: its name, format, compression and rate."""

    fps: Annotated[float, Field(ge=1, le=120)] = 30.0
    """Rate of the file. The model thinks in 30 frames a second; other rates are computed from it."""
    live: bool = True
    """Also plays, after each section, frames that the next section still blends with its own."""
    mark: bool = True
    """Says in the file, for programs and for people, that AI made it. In the European Union that is a duty."""

    sign: bool = False
    """Signs the file with content credentials (C2PA), with a key of your own; needs the extra c2pa.

    In mp4, mov, gif, webp and apng; of mkv, webm and zip in a file NAME.c2pa beside it. Readers say that they are valid
    and the signer unknown.
    """

    def played(self, fps: Fraction | float) -> Fraction:
        """At how many frames a second the model's frames, made for `fps`, go by in the file."""
        return exact_rate(fps) * exact_factor(self.speed)

    @model_validator(mode="after")
    def _can_be_signed(self) -> Self:
        if self.sign and self.path is not None and is_folder(self.path, self.format):
            raise ValueError("a folder has no content credentials: leave sign out, or name a .zip")
        if self.sign and not self.mark:
            raise ValueError("sign says that AI made the file, and mark is off: leave one of the two out")
        return self

    @model_validator(mode="after")
    def _rate_can(self) -> Self:
        check_gif(self.format, self.fps)
        return self


def output_of_still(output: object) -> object:
    """A still's settings: png where neither a format nor a file of another one is named."""
    given = output.model_dump(exclude_unset=True) if isinstance(output, OutputSettings) else output or {}
    if not isinstance(given, dict) or given.get("format"):
        return output
    path = given.get("path")
    ending = Path(path).suffix.lower() if isinstance(path, str | Path) else ""
    return {**given, "format": "png"} if ending in ("", PICTURE) else given


def check_gif(form: str, fps: float | None) -> None:
    """ValueError for more frames a second than a gif shows."""
    if form == "gif" and fps is not None and fps > GIF_FPS:
        raise ValueError(f"a gif shows 1..{GIF_FPS} frames a second, got fps {fps:g}; webp shows more")


def is_folder(path: Path, form: str) -> bool:
    """Whether a file of that name and format is a folder of pictures."""
    return FORMATS[form].sequence and not path.suffix
