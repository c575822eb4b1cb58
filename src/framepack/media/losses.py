"""What a foreign video has that no file written here has, so that whoever has it written anew is told."""

from typing import Any

from PIL import Image

from framepack.media.pixels import squared
from framepack.media.read import open_container, reading
from framepack.media.source import Source, name_of

HDR = {16: "PQ", 18: "HLG"}
"""Transfers that need a screen told of them, by their codes (ITU-T H.273)."""
BT2020 = 9
"""Primaries of BT.2020, likewise."""
ALWAYS_ALPHA = ("gif",)
"""Kinds whose frames have transparency by themselves, used for what did not change."""


def losses(source: Source) -> list[str]:
    """A sentence for each thing of a video that a new file of its frames lacks. Raises MediaError."""
    name = name_of(source)
    with reading(source) as (file, kind):
        if kind in ("zip", "folder"):
            return []
        if kind == "webp":
            with Image.open(file, formats=["WEBP"]) as image:
                return [without_alpha(name)] if image.mode == "RGBA" else []
        with open_container(file) as (_, stream):
            said = [] if kind in ALWAYS_ALPHA or not has_alpha(stream) else [without_alpha(name)]
            return said + [f"{name} {sentence}" for sentence in _of_stream(stream)]


def without_alpha(name: str) -> str:
    """That transparency is dropped."""
    return f"{name} has transparency, which is left out: its colours are kept as they are stored"


def has_alpha(stream: Any) -> bool:
    """Whether a stream's frames say how transparent they are; VP8 and VP9 have it beside the picture."""
    form = stream.codec_context.format
    return stream.metadata.get("alpha_mode") == "1" or (
        form is not None and any(one.is_alpha for one in form.components)
    )


def _of_stream(stream: Any) -> list[str]:
    said = []
    if size := squared(stream):
        aspect = stream.sample_aspect_ratio
        said.append(
            f"has pixels of {aspect.numerator}:{aspect.denominator}: each frame is resampled from "
            f"{stream.width}x{stream.height} to {size[0]}x{size[1]} with square ones"
        )
    context = stream.codec_context
    what = HDR.get(context.color_trc) or ("BT.2020" if context.color_primaries == BT2020 else "")
    if what:
        said.append(
            f"has colours of {what}: levels are kept as they are, but the new file is BT.709 and looks pale; "
            "convert it to BT.709 with another program before"
        )
    return said
