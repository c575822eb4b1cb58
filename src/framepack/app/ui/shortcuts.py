"""Shortcuts that set controls: quality modes and quick prompts. Pure.

A mode is no setting of its own: it sets visible controls, and the current mode is derived from their values.
"""

from typing import Any

from framepack.app.ui.control_rows import Values
from framepack.spec.parts import THRESHOLDS, CacheName
from framepack.spec.variants import VARIANTS

CUSTOM = "custom"
"""The mode of values that belong to no other mode."""
LABELS = (("Fast", "fast"), ("Balanced", "balanced"), ("Best", "best"), ("Custom", CUSTOM))

KNOWN_PROMPTS = {
    "Camera": (
        "The camera pans left.",
        "The camera pans right.",
        "The camera tilts up.",
        "The camera zooms in.",
        "The camera zooms out.",
        "The camera rolls clockwise.",
        "The camera sways.",
    ),
    "Light": ("Night falls.", "The sun rises.", "The light gets warmer.", "The light gets cooler."),
    "Things": ("The picture ripples.", "The ball moves right.", "The ball bounces."),
    "Still": ("A static shot.",),
}
"""Prompts that the bundled models understand, by kind."""
ACTIONS = (
    "The girl dances gracefully, with clear movements, full of charm.",
    "The man turns around, smiles and waves at the camera.",
)


def modes_of(model: str) -> dict[str, dict[str, Any]]:
    """The values that each mode sets. Balanced has the model's defaults; for 13 B the published ones without the cache.

    There is no fast mode where it would have as few steps as the balanced one.
    """
    variant, uncached = VARIANTS[model], {"cache": "none", "cache_threshold": THRESHOLDS["none"]}
    cached = {"cache": "teacache", "cache_threshold": THRESHOLDS["teacache"]}
    modes = {"balanced": uncached | {"steps": variant.steps}, "best": uncached | {"steps": variant.best}}
    return modes if variant.fast == variant.steps else {"fast": cached | {"steps": variant.fast}} | modes


def labels_for(model: str) -> list[tuple[str, str]]:
    """A model's modes as (label, mode) pairs."""
    return [(label, name) for label, name in LABELS if name == CUSTOM or name in modes_of(model)]


def mode_of(values: Values) -> str:
    """The mode that the controls' values belong to."""
    modes = modes_of(values["model"])
    return next((name for name, preset in modes.items() if preset.items() <= values.items()), CUSTOM)


def threshold_for(cache: CacheName, threshold: float) -> float:
    """The cache's default threshold in place of another cache's default. A custom threshold stays."""
    return THRESHOLDS[cache] if threshold in THRESHOLDS.values() else threshold


def prompts_for(model: str) -> dict[str, tuple[str, ...]]:
    """Quick prompts, by kind. The bundled models know only these motions; the large ones have actions of people too."""
    if VARIANTS[model].few_words:
        return KNOWN_PROMPTS
    return {"People": ACTIONS, "Camera": KNOWN_PROMPTS["Camera"][:4], "Light": KNOWN_PROMPTS["Light"][:2]}
