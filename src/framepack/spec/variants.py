"""The models one can ask for. A variant is data: which checkpoint, which order of sections, which defaults."""

from dataclasses import dataclass
from typing import Literal

Planner = Literal["inverted", "forward"]
Length = Literal["exact", "sections"]

HUNYUAN_REPO = "hunyuanvideo-community/HunyuanVideo"
VISION_REPO = "lllyasviel/flux_redux_bfl"
TERRITORIES = (
    "The licence of HunyuanVideo's weights, from which FramePack's derive, does not apply in the European Union, the "
    "United Kingdom and South Korea: it permits nothing there"
)
"""Tencent Hunyuan Community License Agreement, first paragraph and definition of Territory."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of VARIANTS. `transformer`, `base` and `vision` are repository names, also below `--models-dir`."""

    name: str
    title: str
    planner: Planner
    transformer: str
    base: str = HUNYUAN_REPO
    """Llama, CLIP, both tokenizers and the VAE."""
    vision: str = VISION_REPO
    """SigLIP and its feature extractor."""
    bucket_base: int = 640
    """Side of the square whose area the picture gets where no size is asked for."""
    length: Length = "sections"
    """How long a video is where the request does not say: whole sections, or the seconds to the frame."""
    bundled: bool = False
    """Ships inside the package."""
    guides_ahead: bool = True
    """Whether the trained layout has room for frames that lie later than the window being made."""

    @property
    def territories(self) -> str | None:
        """Where the weights' licence does not apply, as a sentence; None for our own weights."""
        return None if self.bundled else TERRITORIES


VARIANTS = {
    "mini": Variant(
        name="mini",
        title="bundled tiny model, inverted order: runs on any CPU in seconds",
        planner="inverted",
        transformer="framepack/mini",
        bucket_base=128,
        length="exact",
        bundled=True,
    ),
    "mini-f1": Variant(
        name="mini-f1",
        title="bundled tiny model, forward order",
        planner="forward",
        transformer="framepack/mini",
        bucket_base=128,
        length="exact",
        bundled=True,
    ),
    "framepack": Variant(
        name="framepack",
        title="FramePack I2V, 13 B, inverted anti-drifting order: the end is made first",
        planner="inverted",
        transformer="lllyasviel/FramePackI2V_HY",
    ),
    "framepack-f1": Variant(
        name="framepack-f1",
        title="FramePack F1, 13 B, forward order: more motion, made from the start on",
        planner="forward",
        transformer="lllyasviel/FramePack_F1_I2V_HY_20250503",
        guides_ahead=False,
    ),
}
