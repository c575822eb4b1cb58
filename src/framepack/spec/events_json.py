"""Events as JSON and back: one object with a `type` tag, the event's own fields, paths as text.

A preview travels as one PNG, its frames below each other. Knows nothing of pipes or HTTP, and never unpickles.
"""

import base64
import io
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.spec.events import (
    Cancelled,
    Event,
    Failed,
    Finished,
    Look,
    Notice,
    Planned,
    PlannedStage,
    SectionDone,
    StageStarted,
    StepDone,
)

if TYPE_CHECKING:
    import numpy as np

TAGS: dict[str, type[Event]] = {
    "planned": Planned,
    "stage": StageStarted,
    "notice": Notice,
    "step": StepDone,
    "section": SectionDone,
    "finished": Finished,
    "cancelled": Cancelled,
    "failed": Failed,
}
NAMES = {kind: tag for tag, kind in TAGS.items()}


def to_json(event: Event, *, preview: bool = True) -> dict[str, Any]:
    """A JSON-ready object. `preview=False` leaves a step's picture out."""
    data: dict[str, Any] = {"type": NAMES[type(event)]}
    if isinstance(event, Planned):
        return data | asdict(event)
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name == "preview":
            if preview and value is not None:
                data["preview"] = preview_to_json(value)
        elif isinstance(value, Look):
            data[field.name] = asdict(value)
        else:
            data[field.name] = str(value) if isinstance(value, Path) else value
    return data


def from_json(data: dict[str, Any]) -> Event:
    """The event of such an object; ValueError where it is none."""
    tag = data.get("type")
    kind = TAGS.get(tag) if isinstance(tag, str) else None
    if kind is None:
        raise ValueError(f"an event's type must be one of {', '.join(TAGS)}, got {tag!r}")
    values = {name: value for name, value in data.items() if name != "type"}
    if values.get("file") is not None:
        values["file"] = Path(values["file"])
    if values.get("preview") is not None:
        values["preview"] = preview_from_json(values["preview"])
    try:
        if kind is Planned:
            values["stages"] = tuple(PlannedStage(**stage) for stage in values["stages"])
            values["notes"] = tuple(values["notes"])
        if values.get("look") is not None:
            values["look"] = look_from_json(values["look"])
        return kind(**values)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a {tag} event: {error}") from error


def look_from_json(data: dict[str, Any]) -> Look:
    """What `asdict` made, once through JSON."""
    return Look(**{**data, "colour": tuple(data["colour"])})


def strip_png(preview: "np.ndarray") -> bytes:
    """The frames of a preview (T, h, w, 3) uint8 below each other as one PNG of T * h rows."""
    from PIL import Image

    frames, height, width, _ = preview.shape
    file = io.BytesIO()
    Image.fromarray(preview.reshape(frames * height, width, 3)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def preview_to_json(preview: "np.ndarray") -> dict[str, Any]:
    """Frame count and the strip as base64 text."""
    return {"frames": int(preview.shape[0]), "png": base64.b64encode(strip_png(preview)).decode("ascii")}


def preview_from_json(data: dict[str, Any]) -> "np.ndarray":
    """uint8 (T, h, w, 3); ValueError where the strip does not divide into its frames."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(data["png"])), formats=["PNG"]) as picture:
        strip = np.asarray(picture.convert("RGB"))
    frames = data["frames"]
    if frames < 1 or strip.shape[0] % frames:
        raise ValueError(f"a preview strip of {strip.shape[0]} rows does not hold {frames} frames")
    return strip.reshape(frames, strip.shape[0] // frames, strip.shape[1], 3)
