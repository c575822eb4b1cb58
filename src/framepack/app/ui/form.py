"""Between the values of the controls and a request: both ways, without loss.

Values name pictures by upload id (see `app.paths`), so nothing a browser sends can name another file.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from framepack.app.paths import find_file, find_lora, from_client
from framepack.app.ui.controls import CONTROLS, Values
from framepack.app.ui.kinds import Number, Rows, Slide, Whole
from framepack.app.ui.shortcuts import length_for
from framepack.jobs.folders import Folders
from framepack.spec.request import GenerationRequest, explain

NO_PICTURE = "Add a picture first: drop one into the frame, or paste it."
PICTURES = ("image", "frames", "end_frame")
"""Fields that name files, which a preset does not keep."""


@cache
def defaults() -> dict[str, Any]:
    """What the controls show at first: the request's own defaults, the length its model does best, and no picture."""
    request = GenerationRequest(image=Path("-"))
    length = {"seconds": first_length(request.model)}
    return values_of(request.model_dump(mode="json") | {"image": None, **length})


def first_length(model: str) -> float:
    """Seconds a video of this model has until someone chooses."""
    return length_for(model, GenerationRequest.model_fields["seconds"].default)


def values_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The controls' values for a request's JSON in the form a client sees. Raises KeyError for a missing field."""
    return {control.field: shown(control.widget, inside(request, control.field)) for control in CONTROLS}


def json_of(values: Values) -> dict[str, Any]:
    """The request's JSON of the controls' values, in the form a client sends; nothing is validated."""
    request: dict[str, Any] = {}
    for control in CONTROLS:
        *outer, name = control.field.split(".")
        target = request
        for part in outer:
            target = target.setdefault(part, {})
        target[name] = meant(control.widget, values[control.field])
    return request


def request_of(values: Values, folders: Folders, own: Sequence[Path] = ()) -> GenerationRequest:
    """The validated request. ValueError in a sentence for what cannot work. own: see `from_client`."""
    if not values["image"]:
        raise ValueError(NO_PICTURE)
    try:
        return GenerationRequest.model_validate(from_client(json_of(values), folders, own))
    except ValidationError as error:
        raise ValueError(explain(error)) from error


def findings(values: Values) -> dict[str, str]:
    """The first thing that cannot work, as {field: sentence}; the field is "" where several do not fit together."""
    try:
        draft(values)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        fields = [c.field for c in CONTROLS if where == c.field or where.startswith(f"{c.field}.")]
        return {fields[0] if fields else "": explain(error)}
    return {}


def draft(values: Values) -> GenerationRequest:
    """The request as far as it can be told without its files."""
    return GenerationRequest.model_validate(json_of(values) | {"image": values["image"] or "-"})


def restored(
    request: Mapping[str, Any], folders: Folders, own: Sequence[Path] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The values for settings from elsewhere, and a sentence for each thing that could not be restored.

    own: LoRA files of the job that is edited, see `from_client`. ValueError where they are no request at all.
    """
    said: list[str] = []
    pictures = request.get("image")
    try:
        whole = GenerationRequest.model_validate(dict(request) | {"image": pictures or "-"})
    except ValidationError as error:
        raise ValueError(f"These settings do not fit this FramePack: {explain(error)}") from error
    values = values_of(whole.model_dump(mode="json") | {"image": pictures})
    values["image"] = here(pictures, folders, said) if pictures else None
    for field in ("frames", "end_frame"):
        values[field] = [row for row in values[field] if here(row["image"], folders, said)]
    kept = {file.name for file in own}
    values["loras"] = [row for row in values["loras"] if row["file"] in kept or lora_here(row["file"], folders, said)]
    return values, said


class Kept(NamedTuple):
    """A form that a browser kept."""

    values: dict[str, Any]
    beside: tuple[bool, str]
    """Whether the seed is kept, GB of GPU memory to leave free."""


def kept(values: Values, *, lock: bool, preserve: str) -> str:
    """What a browser keeps of a form, as JSON; `recalled` reads it."""
    return json.dumps({"request": json_of(values), "lock": bool(lock), "preserve": str(preserve or "")})


def recalled(text: str, folders: Folders) -> dict[str, Kept]:
    """The forms in a browser's JSON, by their names; pictures and LoRAs that are gone are left out without a word.

    One that another version kept, or someone else wrote, is none.
    """
    found: dict[str, Kept] = {}
    with suppress(ValueError, TypeError, AttributeError):
        for name, one in json.loads(text).items():
            with suppress(ValueError, TypeError, KeyError):
                values, _ = restored(json_of(defaults()) | dict(one["request"]), folders)
                found[name] = Kept(values, (one["lock"] is True, str(one["preserve"])[:20]))
    return found


def lora_here(name: str, folders: Folders, said: list[str]) -> bool:
    """Whether it is among the service's LoRAs; a sentence where it is not."""
    try:
        find_lora(name, folders)
    except ValueError:
        said.append(f"The LoRA {name} is not among those of this service: add it again.")
        return False
    return True


def here(name: str, folders: Folders, said: list[str]) -> str | None:
    """The name, where its file is one of ours; None and a sentence otherwise."""
    try:
        find_file(name, (folders.uploads, folders.outputs))
    except ValueError:
        said.append(f"The picture {name} is not on this machine: add it again.")
        return None
    return name


def inside(request: Mapping[str, Any], field: str) -> Any:
    """The value at a dotted field."""
    value: Any = request
    for part in field.split("."):
        value = value[part]
    return value


def shown(widget: object, value: Any) -> Any:
    """A field's value as its widget holds it."""
    if isinstance(widget, Rows):
        return ([value] if value else []) if widget.single else list(value)
    if isinstance(widget, Whole):
        return "" if value is None else str(value)
    return value


def meant(widget: object, value: Any) -> Any:
    """A widget's value as the field wants it; what is no number stays as it is, for validation to say so."""
    if isinstance(widget, Rows):
        rows: Sequence[Any] = value or []
        return (rows[0] if rows else None) if widget.single else list(rows)
    if isinstance(widget, Whole):
        text = str(value).strip()
        if not text and widget.placeholder:
            return None
        return int(text) if text.isascii() and text.isdigit() else text
    if isinstance(widget, Number | Slide):
        if value in (None, ""):
            return None
        return int(value) if isinstance(value, float) and value.is_integer() else value
    return value
