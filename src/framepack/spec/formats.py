"""The one table of formats: what each kind of file is, which codecs it holds, and which settings each codec uses.

Plain data. `media.codecs` knows how each codec is written, `docs/formats.md` is tested against this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from framepack.spec.rates import GIF_FPS, exact_rate

Format = Literal["mp4", "mkv", "webm", "mov", "gif", "webp", "apng", "png", "tiff", "exr"]
Codec = Literal["h264", "h265", "av1", "vp9", "ffv1", "ffv1-16", "prores", "prores4444"]
"""Those that a file is asked for by name; the other formats have one each, named as the format is."""
Quality = Literal["draft", "standard", "high", "lossless"]
FpsMode = Literal["repeat", "blend", "motion"]
MAX_FPS = 240
CRF = 16
"""Where nobody says one: on x264's scale, hard to tell from perfect."""
PRESETS: dict[str, int] = {"draft": 28, "standard": CRF, "high": 8}
"""The crf of each quality but `lossless`, on x264's scale."""


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How frames are compressed: `codec` (a key of CODECS, by default the format's first), and how well.

    `crf` is on x264's scale, 1 (best) to 51. `bitrate`, in Mbit/s, takes its place. `lossless`: to the bit.
    """

    codec: str | None = None
    crf: int = CRF
    bitrate: float | None = None
    lossless: bool = False


@dataclass(frozen=True, kw_only=True)
class CodecRow:
    """What a codec is, and which settings it uses.

    `lossless`: whether its frames come back to the bit: never, when asked, always.
    """

    title: str
    crf: bool = False
    bitrate: bool = False
    lossless: Literal["never", "asked", "always"] = "never"
    wide: bool = False
    """It holds more than 8 bits a colour, so it is written from the decoder's floats."""
    even: bool = False
    """Width and height must be even: colour is stored at half the size."""
    least: int = 1
    """Pixels a side at least."""
    joins: bool = False
    """Segments are joined by copying packets; else what is finished is kept in FFV1 and encoded once at the end."""


@dataclass(frozen=True, kw_only=True)
class FormatRow:
    """A kind of file: its `suffix`, its media type, and the codecs it may hold, the usual one first."""

    suffix: str
    mime: str
    description: str
    codecs: tuple[str, ...]
    most_fps: int = MAX_FPS
    """Frames a second at most."""
    sequence: bool = False
    """Numbered pictures: a zip of them, or a folder where the name has no suffix."""


CODECS: dict[str, CodecRow] = {
    "h264": CodecRow(title="H.264", crf=True, bitrate=True, even=True, joins=True),
    "h265": CodecRow(title="H.265", crf=True, bitrate=True, lossless="asked", even=True, least=64),
    "av1": CodecRow(title="AV1", crf=True, bitrate=True, even=True, least=4),
    "vp9": CodecRow(title="VP9", crf=True, bitrate=True, lossless="asked", even=True, joins=True),
    "ffv1": CodecRow(title="FFV1", lossless="always", joins=True, least=2),
    "ffv1-16": CodecRow(title="FFV1, 16 bits", lossless="always", wide=True, joins=True, least=2),
    "prores": CodecRow(title="ProRes 422 HQ, 10 bits", wide=True, even=True),
    "prores4444": CodecRow(title="ProRes 4444, 10 bits", wide=True),
    "gif": CodecRow(title="256 colours a frame"),
    "webp": CodecRow(title="WebP", crf=True, lossless="asked"),
    "apng": CodecRow(title="PNG", lossless="always"),
    "png": CodecRow(title="PNG, 8 bits", lossless="always"),
    "tiff": CodecRow(title="TIFF, 16 bits", lossless="always", wide=True),
    "exr": CodecRow(title="EXR, scene-linear 32-bit floats", wide=True),
}

FORMATS: dict[str, FormatRow] = {
    "mp4": FormatRow(
        suffix=".mp4",
        mime="video/mp4",
        description="H.264, plays everywhere",
        codecs=("h264", "h265", "av1"),
    ),
    "mkv": FormatRow(
        suffix=".mkv",
        mime="video/x-matroska",
        description="FFV1, lossless, for editing",
        codecs=("ffv1", "ffv1-16"),
    ),
    "webm": FormatRow(suffix=".webm", mime="video/webm", description="VP9, small, for the web", codecs=("vp9", "av1")),
    "mov": FormatRow(
        suffix=".mov", mime="video/quicktime", description="ProRes, for editing", codecs=("prores", "prores4444")
    ),
    "gif": FormatRow(
        suffix=".gif", mime="image/gif", description="256 colours, for chats", codecs=("gif",), most_fps=GIF_FPS
    ),
    "webp": FormatRow(suffix=".webp", mime="image/webp", description="an animated picture", codecs=("webp",)),
    "apng": FormatRow(suffix=".apng", mime="image/apng", description="a lossless animated picture", codecs=("apng",)),
    "png": FormatRow(
        suffix=".zip",
        mime="application/zip",
        description="a zip of numbered PNG pictures",
        codecs=("png",),
        sequence=True,
    ),
    "tiff": FormatRow(
        suffix=".zip",
        mime="application/zip",
        description="a zip of numbered 16-bit TIFF pictures",
        codecs=("tiff",),
        sequence=True,
    ),
    "exr": FormatRow(
        suffix=".zip",
        mime="application/zip",
        description="a zip of numbered EXR pictures, scene-linear",
        codecs=("exr",),
        sequence=True,
    ),
}
assert tuple(FORMATS) == get_args(Format), "a format is in the table and in the field's type"
PICTURE_SUFFIXES = {"png": ".png", "tiff": ".tif", "exr": ".exr"}
"""Of the pictures of a sequence, by its format."""
SUFFIXES: dict[str, tuple[str, ...]] = {}
"""The formats that a file of this suffix may have, the usual one first."""
for _name, _row in FORMATS.items():
    SUFFIXES[_row.suffix] = (*SUFFIXES.get(_row.suffix, ()), _name)


def check_format(name: str) -> str:
    """`name`, a key of FORMATS. Raises ValueError otherwise."""
    if name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")
    return name


def codec_of(form: str, codec: str | None = None) -> str:
    """The codec of a file of this format. Raises ValueError for one that such a file does not hold."""
    held = FORMATS[form].codecs
    if codec is None:
        return held[0]
    if codec not in held:
        if len(held) == 1:
            raise ValueError(f"{form} has one codec, so leave codec out, got {codec}: {holders(codec)}")
        raise ValueError(f"{form} holds {listed(held)}, got codec {codec}: choose one of them, or {holders(codec)}")
    return codec


def holders(codec: str) -> str:
    """Where a codec can be had."""
    formats = [form for form, row in FORMATS.items() if codec in row.codecs]
    return f"{codec} is in {listed(formats)}" if formats else f"codecs are {', '.join(get_args(Codec))}"


def check_coding(form: str, coding: Coding) -> CodecRow:
    """The row of the codec that a file of this format will have. Raises ValueError where it cannot do what is asked."""
    name = codec_of(form, coding.codec)
    row = CODECS[name]
    if not 1 <= coding.crf <= 51:
        raise ValueError(f"quality (crf) must be 1..51, got {coding.crf}: 16 is nearly perfect, 28 small")
    if coding.bitrate is not None and not row.bitrate:
        with_it = listed([codec for codec, other in CODECS.items() if other.bitrate])
        raise ValueError(f"{name} has no bitrate, got {coding.bitrate:g} Mbit/s: leave it out, or choose {with_it}")
    if coding.lossless and row.lossless == "never":
        raise ValueError(f"{name} is never lossless: choose another quality, or one of {listed(lossless_codecs())}")
    return row


def lossless_codecs() -> list[str]:
    """Those whose frames can come back to the bit."""
    return [codec for codec, row in CODECS.items() if row.lossless != "never"]


def check_size(size: tuple[int, int], name: str) -> tuple[int, int]:
    """`size`, (width, height), fit for the codec called `name`. Raises ValueError where it is not."""
    (width, height), row = size, CODECS[name]
    if not (1 <= width <= 16384 and 1 <= height <= 16384):
        raise ValueError(f"width and height must be 1..16384, got {width}x{height}")
    if row.even and (width % 2 or height % 2):
        raise ValueError(
            f"{name} needs an even width and height, got {width}x{height}: "
            f"use {width + width % 2}x{height + height % 2}, or mkv"
        )
    if min(width, height) < row.least:
        other = "h264" if row.even else "apng"
        raise ValueError(
            f"{name} needs {row.least} pixels a side, got {width}x{height}: make it larger, or use {other}"
        )
    return width, height


def check_fps(fps: Fraction | float, most: int = MAX_FPS) -> Fraction:
    """`fps` as an exact fraction, see `exact_rate`. Raises ValueError outside 1..most."""
    if not 1 <= fps <= most:  # false for NaN too
        raise ValueError(f"fps must be 1..{most}, got {fps}")
    return exact_rate(fps)


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
