"""Forms that a browser kept: all that was typed, mistakes included, as far as this service can still show it."""

import json
from contextlib import suppress
from typing import Any, NamedTuple, assert_never

from framepack.app.ui.controls import CONTROLS
from framepack.app.ui.form import defaults, here, lora_here
from framepack.app.ui.kinds import Choice, Column, Number, Picture, Rows, Slide, Switch, Text, Whole, Widget
from framepack.jobs.folders import Folders
from framepack.spec import picture as spec


class Kept(NamedTuple):
    """A form that a browser kept."""

    values: dict[str, Any]
    beside: tuple[bool, str]
    """Whether the seed is kept, GB of GPU memory to leave free."""
    editing: str
    """The job it edits, or empty."""


def recalled(text: str, folders: Folders) -> dict[str, Kept]:
    """The forms in a browser's JSON, by their names; pictures and LoRAs that are gone are left out without a word.

    A field that another version kept otherwise, or someone else wrote, has its default; what is no form at all is none.
    """
    found: dict[str, Kept] = {}
    with suppress(ValueError, AttributeError):
        for name, one in json.loads(text).items():
            with suppress(TypeError, KeyError):
                values = typed(one["values"], folders)
                beside = (one["lock"] is True, str(one["preserve"])[:20])
                found[name] = Kept(values, beside, str(one["editing"])[:80])
    return found


def typed(given: dict[str, Any], folders: Folders) -> dict[str, Any]:
    """Values for all controls: those given where the control could have held them, else its default."""
    values = dict(defaults())
    for control in CONTROLS:
        if control.field in given and fits(control.widget, given[control.field]):
            values[control.field] = given[control.field]
    values["image"] = values["image"] and here(values["image"], folders, [])
    for field in ("frames", "end_frame"):
        values[field] = [row for row in values[field] if here(row["image"], folders, [])]
    values["loras"] = [row for row in values["loras"] if lora_here(row["file"], folders, [])]
    return values


def fits(widget: Widget, value: Any) -> bool:
    """Whether this control could have held this value."""
    match widget:
        case Picture():
            return value is None or is_picture(value)
        case Text() | Whole():
            return isinstance(value, str)
        case Number() | Slide():
            return is_number(value)
        case Choice(choices=choices):
            return value in [choice for _, choice in choices]
        case Switch():
            return isinstance(value, bool)
        case Rows(columns=columns):
            return isinstance(value, list) and all(is_row(columns, row) for row in value)
    assert_never(widget)


def is_row(columns: tuple[Column, ...], row: Any) -> bool:
    """Whether it has a cell of the right kind for each column."""
    return (
        isinstance(row, dict)
        and row.keys() == {column.key for column in columns}
        and all(holds(column, row[column.key]) for column in columns)
    )


def holds(column: Column, cell: Any) -> bool:
    """Whether a cell of that column could have held this."""
    if column.kind == "number":
        return is_number(cell)
    return is_picture(cell) if column.kind == "picture" else isinstance(cell, str)


def is_picture(value: Any) -> bool:
    """An upload's id, or its file's with edits that can be made."""
    if not isinstance(value, dict):
        return isinstance(value, str)
    with suppress(ValueError):
        spec.Picture.model_validate(value)
        return isinstance(value["file"], str)
    return False


def is_number(value: Any) -> bool:
    """A number, or what someone typed in its place."""
    return isinstance(value, int | float | str) and not isinstance(value, bool)
