"""What sets several controls at once: quality modes, and the length a model does best. Pure.

Nothing here is a setting of its own: a mode only moves controls one can see, and is read off them again.
"""

from typing import Any

from framepack.app.ui.controls import Values
from framepack.spec.request import THRESHOLDS, CacheName
from framepack.spec.variants import VARIANTS

OWN = "own"
"""The mode of settings that are none of the others'."""
MODES: dict[str, dict[str, Any]] = {
    "fast": {"steps": 15, "cache": "teacache", "cache_threshold": 0.15},
    "balanced": {"steps": 25, "cache": "none", "cache_threshold": 0.15},
    "best": {"steps": 40, "cache": "none", "cache_threshold": 0.15},
}
"""What each mode moves. Balanced is the request's own default and what the published system does without its cache."""
LABELS = (("Fast", "fast"), ("Balanced", "balanced"), ("Best", "best"), ("My own", OWN))
LENGTHS = {"mini": 2.4, "mini-f1": 2.4}
"""Seconds the bundled models do best: they were trained on short clips. Others begin with the request's default."""

CAMERA = ("The camera pans left.", "The camera zooms in.", "Night falls.", "The sun rises.")
EFFECTS = ("The picture ripples.", "The light gets warmer.")
ACTIONS = (
    "The girl dances gracefully, with clear movements, full of charm.",
    "The man turns around, smiles and waves at the camera.",
)


def mode_of(values: Values) -> str:
    """The mode the controls are in."""
    return next((name for name, moved in MODES.items() if all(values[key] == moved[key] for key in moved)), OWN)


def threshold_for(cache: CacheName, threshold: float) -> float:
    """The cache's own threshold in place of another cache's; one that somebody chose stays."""
    return THRESHOLDS[cache] if threshold in THRESHOLDS.values() else threshold


def length_for(model: str, default: float) -> float:
    """What the length of a video of `model` is at first."""
    return LENGTHS.get(model, default)


def prompts_for(model: str) -> tuple[str, ...]:
    """Sentences to begin with. The bundled models move the camera and the light; people act in the large ones."""
    return CAMERA + EFFECTS if VARIANTS[model].bundled else ACTIONS + CAMERA
