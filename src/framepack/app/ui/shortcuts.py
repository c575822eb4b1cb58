"""What sets several controls at once: quality modes, and sentences to begin with. Pure.

Nothing here is a setting of its own: a mode only moves controls one can see, and is read off them again.
"""

from typing import Any

from framepack.app.ui.controls import Values
from framepack.spec.request import THRESHOLDS, CacheName
from framepack.spec.variants import VARIANTS

OWN = "own"
"""The mode of settings that are none of the others'."""
LABELS = (("Fast", "fast"), ("Balanced", "balanced"), ("Best", "best"), ("My own", OWN))

KNOWN = {
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
"""What the bundled models know, by kind."""
ACTIONS = (
    "The girl dances gracefully, with clear movements, full of charm.",
    "The man turns around, smiles and waves at the camera.",
)


def modes_of(model: str) -> dict[str, dict[str, Any]]:
    """What each mode moves. Balanced is the model's own way, and for 13 B the published system's without its cache.

    Where the fast mode has as few steps as the balanced one there is nothing for a cache to skip.
    """
    variant, whole = VARIANTS[model], {"cache": "none", "cache_threshold": THRESHOLDS["none"]}
    cached = {"cache": "teacache", "cache_threshold": THRESHOLDS["teacache"]}
    modes = {"balanced": whole | {"steps": variant.steps}, "best": whole | {"steps": variant.best}}
    return modes if variant.fast == variant.steps else {"fast": cached | {"steps": variant.fast}} | modes


def labels_for(model: str) -> list[tuple[str, str]]:
    """The modes a model has, as the page shows them."""
    return [(label, name) for label, name in LABELS if name == OWN or name in modes_of(model)]


def mode_of(values: Values) -> str:
    """The mode the controls are in."""
    modes = modes_of(values["model"])
    return next((name for name, moved in modes.items() if all(values[key] == moved[key] for key in moved)), OWN)


def threshold_for(cache: CacheName, threshold: float) -> float:
    """The cache's own threshold in place of another cache's; one that somebody chose stays."""
    return THRESHOLDS[cache] if threshold in THRESHOLDS.values() else threshold


def prompts_for(model: str) -> dict[str, tuple[str, ...]]:
    """Sentences to begin with, by kind. The bundled models know these motions only; people act in the large ones."""
    if VARIANTS[model].few_words:
        return KNOWN
    return {"People": ACTIONS, "Camera": KNOWN["Camera"][:4], "Light": KNOWN["Light"][:2]}
