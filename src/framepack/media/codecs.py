"""How each codec of the table is written: FFmpeg's names for encoder, container and pixels, and the encoder's options.

The options fix whatever else would follow the machine: threads, their work, what encoders write of themselves.
"""

from collections.abc import Callable
from pathlib import Path

from framepack.media.av_sink import AvCodec, Options
from framepack.media.sequence import SequenceSink
from framepack.media.sinks import Sink, SinkSpec
from framepack.spec.formats import Coding

MEGA = 1_000_000
SinkMaker = Callable[[Path, SinkSpec], Sink]


def x264(coding: Coding) -> Options:
    """H.264 that plays everywhere; `preset` is x264's default.

    x264's AVX-512 code of the macroblock tree gives other numbers from write to write; `cpu-independent` takes the
    plain code of that part, which all machines share, and the fast code of all others.
    """
    return {**rate_of(coding, coding.crf), "preset": "medium", "x264-params": "cpu-independent=1"}


def x265(coding: Coding) -> Options:
    """H.265; x265 decides by the number of frame threads, so that is fixed, and writes no line about itself.

    Without B-frames: with them a file of one or two frames cannot be written (their times come out before the start).
    """
    params = f"log-level=none:info=0:pools=4:frame-threads=3:bframes=0{':lossless=1' if coding.lossless else ''}"
    return {**rate_of(coding, coding.crf), "preset": "medium", "x265-params": params}


def vp9(coding: Coding) -> Options:
    """VP9's scale of quality goes to 63, x264's to 51. Rows in threads (`row-mt`) would change the bytes."""
    size = rate_of(coding, round(coding.crf * 63 / 51)) if coding.bitrate else {"crf": scaled(coding), "b": "0"}
    exact = {"lossless": "1"} if coding.lossless else size
    return {**exact, "row-mt": "0", "tile-columns": "2", "cpu-used": "4"}


def av1(coding: Coding) -> Options:
    """AV1's scale of quality goes to 63, x264's to 51. SVT-AV1's bytes do not depend on its threads."""
    return {**rate_of(coding, round(coding.crf * 63 / 51)), "preset": "6"}


def webp(coding: Coding) -> Options:
    """WebP's quality goes from 0 to 100, and is effort where it is lossless."""
    return {"lossless": "1", "quality": "75"} if coding.lossless else {"quality": str(100 - coding.crf)}


def prores(coding: Coding) -> Options:
    """ProRes 422 HQ, as Apple's own encoder calls it."""
    return {"profile": "hq", "vendor": "apl0"}


def prores4444(coding: Coding) -> Options:
    """ProRes 4444 without an alpha channel."""
    return {"profile": "4444", "vendor": "apl0"}


def ffv1(coding: Coding) -> Options:
    """FFV1 version 3, with a checksum for each slice."""
    return {"level": "3", "slices": "4", "slicecrc": "1"}


def rate_of(coding: Coding, crf: int) -> Options:
    """The average, where one is asked for, else `crf`."""
    return {"crf": str(crf)} if coding.bitrate is None else {"b": str(round(coding.bitrate * MEGA))}


def scaled(coding: Coding) -> str:
    """Its crf on a scale to 63."""
    return str(round(coding.crf * 63 / 51))


H264 = AvCodec(
    container="mp4",
    encoder="libx264",
    pixels="yuv420p",
    options=x264,
    container_options={"movflags": "+faststart"},
    threads=8,
    threading="FRAME",
)
H265 = AvCodec(
    container="mp4",
    encoder="libx265",
    pixels="yuv420p",
    exact_pixels="gbrp",
    options=x265,
    container_options={"movflags": "+faststart"},
    tag="hvc1",
    isolated=True,
)
AV1 = AvCodec(
    container="mp4",
    encoder="libsvtav1",
    pixels="yuv420p",
    options=av1,
    container_options={"movflags": "+faststart"},
    threads=0,
    isolated=True,
)
AV1_WEBM = AvCodec(container="webm", encoder="libsvtav1", pixels="yuv420p", options=av1, threads=0, isolated=True)
FFV1 = AvCodec(container="matroska", encoder="ffv1", pixels="bgr0", options=ffv1, threads=4)
FFV1_16 = AvCodec(container="matroska", encoder="ffv1", pixels="gbrp16le", options=ffv1, threads=4)
VP9 = AvCodec(container="webm", encoder="libvpx-vp9", pixels="yuv420p", exact_pixels="gbrp", options=vp9, threads=4)
PRORES = AvCodec(
    container="mov",
    encoder="prores_ks",
    pixels="yuv422p10le",
    options=prores,
    container_options={"movflags": "+faststart+use_metadata_tags"},
)
PRORES_4444 = AvCodec(
    container="mov",
    encoder="prores_ks",
    pixels="yuv444p10le",
    options=prores4444,
    container_options={"movflags": "+faststart+use_metadata_tags"},
)
WEBP = AvCodec(
    container="webp",
    encoder="libwebp_anim",
    pixels="bgra",
    options=webp,
    container_options={"loop": "0"},
    embeds=True,
)
GIF = AvCodec(container="gif", encoder="gif", pixels="pal8", container_options={"loop": "0"}, embeds=True)
APNG = AvCodec(container="apng", encoder="apng", pixels="rgb24", container_options={"plays": "0"}, embeds=True)

WRITERS: dict[tuple[str, str], SinkMaker] = {
    ("mp4", "h264"): H264,
    ("mp4", "h265"): H265,
    ("mp4", "av1"): AV1,
    ("mkv", "ffv1"): FFV1,
    ("mkv", "ffv1-16"): FFV1_16,
    ("webm", "vp9"): VP9,
    ("webm", "av1"): AV1_WEBM,
    ("mov", "prores"): PRORES,
    ("mov", "prores4444"): PRORES_4444,
    ("gif", "gif"): GIF,
    ("webp", "webp"): WEBP,
    ("apng", "apng"): APNG,
    ("png", "png"): SequenceSink,
    ("tiff", "tiff"): SequenceSink,
    ("exr", "exr"): SequenceSink,
}
"""What writes each format with each of its codecs; `spec.formats` has the rest of both."""
