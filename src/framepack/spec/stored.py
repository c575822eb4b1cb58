"""Requests that earlier versions have stored, in the form of this one: queue, work folders, presets, files.

Each stored request says its schema; the first one, of 0.1.0, said none. What changes later is one more step here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from framepack.spec.variants import DEFAULT, FIRST_SIZES

SCHEMA = "schema"
LATEST = 2


def upgraded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A stored request's settings as this version has them, without their schema. ValueError for a later version's."""
    schema = settings.get(SCHEMA, 1)
    if schema not in range(1, LATEST + 1):
        raise ValueError(f"these settings are of a later version (schema {str(schema)[:20]}): use that version")
    found = {name: value for name, value in settings.items() if name != SCHEMA}
    for step in STEPS[schema - 1 :]:
        found = step(found)
    return found


def from_1(settings: dict[str, Any]) -> dict[str, Any]:
    """What is missing means what it meant then.

    Videos were whole sections before `length` was there, and each model had the same steps and seconds.
    """
    before: dict[str, Any] = {"length": "sections", "steps": 25, "seconds": 5.0, "model": DEFAULT}
    if not any(settings.get(name) for name in ("width", "height", "resolution")):
        before["resolution"] = FIRST_SIZES.get(str(settings.get("model") or DEFAULT))
        settings = {name: value for name, value in settings.items() if name != "resolution"}
    return {**before, **settings}


STEPS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (from_1,)
"""From each schema to the next."""
