"""Reads the forms that a browser has saved: all that was typed, mistakes included, as far as it can still be shown."""

import json
from contextlib import suppress
from typing import Any, NamedTuple, assert_never

from framepack.app.ui.controls import CONTROLS
from framepack.app.ui.form import IMAGES, defaults
from framepack.app.ui.restore import existing_image, lora_exists
from framepack.app.ui.widget_types import (
    Checkbox,
    Choice,
    Column,
    Dropdown,
    Image,
    Integer,
    Number,
    Rows,
    Slider,
    Textbox,
    Widget,
)
from framepack.jobs.folders import Folders
from framepack.spec.picture import Picture


class Extras(NamedTuple):
    """Settings of the form that are no fields of a request."""

    lock: bool
    """Whether the seed stays for the next video."""
    preserve: str
    """GB of GPU memory to leave free, as typed."""


class SavedForm(NamedTuple):
    """A form that a browser has saved."""

    values: dict[str, Any]
    extras: Extras
    editing: str
    """The job it edits, or empty."""


def read_saved_forms(text: str, folders: Folders) -> dict[str, SavedForm]:
    """The forms in a browser's JSON, by name. Images and LoRAs that are gone are left out without a message.

    A field that is missing or invalid gets its default. An entry that is no form is left out.
    """
    forms: dict[str, SavedForm] = {}
    with suppress(ValueError, AttributeError):
        for name, saved in json.loads(text).items():
            with suppress(TypeError, KeyError):
                values = valid_values(saved["values"], folders)
                extras = Extras(saved["lock"] is True, str(saved["preserve"])[:20])
                forms[name] = SavedForm(values, extras, str(saved["editing"])[:80])
    return forms


def valid_values(given: dict[str, Any], folders: Folders) -> dict[str, Any]:
    """Values of all controls: the given one where its control can hold it, else the default."""
    values = dict(defaults())
    for control in CONTROLS:
        if control.field in given and accepts(control.widget, given[control.field]):
            values[control.field] = given[control.field]
    for field in IMAGES:
        values[field] = values[field] and existing_image(values[field], folders, [])
    for field in ("frames", "end_frame", "reference"):
        values[field] = [row for row in values[field] if existing_image(row["image"], folders, [])]
    values["loras"] = [row for row in values["loras"] if lora_exists(row["file"], folders, [])]
    return values


def accepts(widget: Widget, value: Any) -> bool:
    """Whether this control can hold this value."""
    match widget:
        case Image():
            return value is None or is_image(value)
        case Textbox() | Integer():
            return isinstance(value, str)
        case Number() | Slider():
            return is_number_or_text(value)
        case Dropdown(choices=choices) | Choice(choices=choices):
            return value in [choice for _, choice in choices]
        case Checkbox():
            return isinstance(value, bool)
        case Rows(columns=columns):
            return isinstance(value, list) and all(is_row(columns, row) for row in value)
    assert_never(widget)


def is_row(columns: tuple[Column, ...], row: Any) -> bool:
    """Whether it has a cell of the right kind for each column."""
    return (
        isinstance(row, dict)
        and row.keys() == {column.key for column in columns}
        and all(cell_accepts(column, row[column.key]) for column in columns)
    )


def cell_accepts(column: Column, cell: Any) -> bool:
    """Whether a cell of this column can hold this value."""
    if column.kind == "number":
        return is_number_or_text(cell)
    return is_image(cell) if column.kind == "image" else isinstance(cell, str)


def is_image(value: Any) -> bool:
    """An upload's id, or an object with it and valid edits."""
    if not isinstance(value, dict):
        return isinstance(value, str)
    with suppress(ValueError):
        Picture.model_validate(value)
        return isinstance(value["file"], str)
    return False


def is_number_or_text(value: Any) -> bool:
    """A number, or text typed in its place."""
    return isinstance(value, int | float | str) and not isinstance(value, bool)
