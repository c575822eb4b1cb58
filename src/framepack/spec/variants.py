"""The models one can ask for. A variant is data: which checkpoint, which order of sections, which defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from framepack.spec.buckets import BUCKETS_640
from framepack.spec.geometry import HUNYUAN, Geometry

Planner = Literal["inverted", "forward"]
Length = Literal["exact", "sections"]

HUNYUAN_REPO = "hunyuanvideo-community/HunyuanVideo"
VISION_REPO = "lllyasviel/flux_redux_bfl"
PUBLISHED = {
    "lllyasviel/FramePackI2V_HY": 25.75e9,
    "lllyasviel/FramePack_F1_I2V_HY_20250503": 25.75e9,
    HUNYUAN_REPO: 16.26e9,
    VISION_REPO: 0.86e9,
}
"""Bytes a variant needs of each public repository: its shapes (`assets/shapes`) at the types it is published in."""
TERRITORIES = (
    "The licence of HunyuanVideo's weights, from which FramePack's derive, does not apply in the European Union, the "
    "United Kingdom and South Korea: it permits nothing there"
)
"""Tencent Hunyuan Community License Agreement, first paragraph and definition of Territory."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of VARIANTS."""

    name: str
    title: str
    planner: Planner
    repositories: Mapping[str, str]
    """Names on the hub, and below `--models-dir`, by what `family` calls them. `--revision` is the first one's."""
    family: str = "hunyuan"
    """The architecture; see `models.families`."""
    geometry: Geometry = HUNYUAN
    bucket_base: int = 640
    """Side of the square whose area the picture gets where no size is asked for."""
    buckets: tuple[tuple[int, int], ...] = BUCKETS_640
    """(height, width) of base 640, widest first: the shapes of video there are."""
    seconds: float = 5.0
    """Length of a video where nobody says one."""
    steps: int = 25
    """Denoising steps a section where nobody says how many."""
    fast: int = 15
    best: int = 40
    """Steps of the page's quality modes beside `steps`, the balanced one."""
    forward: str | None = None
    """The same model in forward order, taken where nobody names one and `suits_forward` holds."""
    cfg_most: float | None = None
    """Beyond this cfg the picture burns; None where that is not known."""
    length: Length = "sections"
    """How long a video is where the request does not say: whole sections, or the seconds to the frame."""
    bundled: bool = False
    """Ships inside the package."""
    few_words: bool = False
    """Whether it knows some phrases only, of which a table lies beside its tokenizers."""
    pooled_nag: bool = False
    """Whether nag leads away in the prompt's pooled text as well, for a model that hears its prompt there. Published
    models are led in the attention alone, as the paper does it."""
    shows_keyframes: bool = False
    """Whether a keyframe is itself the latent at its time. Else, as published, it is seen from both sides only."""
    still_window: int = 1
    """Latents that a still is made with, itself the last; the others are left out. Published models make single ones,
    as their users do."""
    keyframes_ahead: bool = True
    """Whether the trained layout has a slot for frames that lie later than the window being made."""

    def suits_forward(self, seconds: float, *, ahead: bool) -> bool:
        """Whether a video is better made from its start on: a longer one.

        ahead: whether pictures to come are given, which the inverted order sees from farther away.
        """
        return self.forward is not None and not ahead and seconds > self.seconds

    @property
    def own(self) -> dict[str, Any]:
        """What it makes of a request that does not say it."""
        size, window = self.bucket_base, self.geometry.window
        return {"steps": self.steps, "seconds": self.seconds, "resolution": size, "window": window}

    @property
    def main(self) -> str:
        """Its own repository; the others are shared with more variants."""
        return next(iter(self.repositories.values()))

    @property
    def territories(self) -> str | None:
        """Where the weights' licence does not apply, as a sentence; None for our own weights."""
        return None if self.bundled else TERRITORIES


def hunyuan(transformer: str) -> dict[str, str]:
    """A FramePack variant's repositories: `base` holds Llama, CLIP, both tokenizers and the VAE, `vision` SigLIP."""
    return {"transformer": transformer, "base": HUNYUAN_REPO, "vision": VISION_REPO}


def variant_of(model: str) -> Variant:
    """The row of VARIANTS, or a ValueError that lists them."""
    if model not in VARIANTS:
        raise ValueError(f"model must be one of {', '.join(VARIANTS)}, got {model!r}")
    return VARIANTS[model]


DEFAULT = "mini"
"""The model where nobody names one, up to its own length."""
FIRST_SIZES = {"mini": 128, "mini-f1": 128}
"""`bucket_base` of the time before requests were stored with their size."""
MINI = Variant(
    name="mini",
    title="bundled tiny model, inverted order: runs on any CPU in seconds",
    planner="inverted",
    forward="mini-f1",
    repositories=hunyuan("framepack/mini"),
    bucket_base=160,
    seconds=2.4,
    steps=2,
    fast=2,
    best=3,
    cfg_most=1.5,
    length="exact",
    bundled=True,
    few_words=True,
    pooled_nag=True,
    shows_keyframes=True,
    still_window=HUNYUAN.window,  # has learnt whole sections only: docs/control.md, stills
)
VARIANTS = {
    "mini": MINI,
    "mini-f1": replace(
        MINI, name="mini-f1", title="bundled tiny model, forward order", planner="forward", forward=None
    ),
    "framepack": Variant(
        name="framepack",
        title="FramePack I2V, 13 B, inverted anti-drifting order: the end is made first",
        planner="inverted",
        repositories=hunyuan("lllyasviel/FramePackI2V_HY"),
    ),
    "framepack-f1": Variant(
        name="framepack-f1",
        title="FramePack F1, 13 B, forward order: more motion, made from the start on",
        planner="forward",
        repositories=hunyuan("lllyasviel/FramePack_F1_I2V_HY_20250503"),
        keyframes_ahead=False,
    ),
}


ENDING = ("lead_in", "bridge", "loop")
"""Tasks whose end is given, so that only the inverted order makes them."""


def model_for(data: Mapping[str, Any]) -> str:
    """The model for a request that names none."""
    usual, seconds = VARIANTS[DEFAULT], data.get("seconds")
    try:
        length = usual.seconds if seconds is None else float(seconds)
    except (TypeError, ValueError):
        length = usual.seconds
    task = data.get("task")
    if task == "extend" and not data.get("end_frame"):
        return usual.forward or DEFAULT
    ahead = bool(data.get("frames") or data.get("end_frame")) or task in ENDING
    forward = usual.suits_forward(length, ahead=ahead)
    return usual.forward if forward and usual.forward else DEFAULT
