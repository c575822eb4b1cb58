"""Fields of a request's JSON by dotted names such as `output.crf`: read, set and merged.

A picture is its path, or an object with edits; both are handled as the object.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from framepack.files.text import TwiceSaid, json_of
from framepack.spec.picture import typed

PICTURE = "image"
"""The field of a picture, in a request and in its keyframes."""
TEXTS = ("prompt", "negative_prompt", "text")
"""Fields that are text, even where they look like JSON."""
CURRENT_FOLDER = Path()


def parse_setting(text: str) -> tuple[str, Any]:
    """`steps=20` as a name and its value."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"a setting is NAME=VALUE, got {text!r}")
    return name, parse_value(name, value)


def parse_value(name: str, text: str, folder: Path = CURRENT_FOLDER) -> Any:
    """The value of JSON, else the text itself; a picture's edits as an object, a prompt as it is.

    folder: of relative paths. ValueError for an invalid edit, and for JSON that has a name twice.
    """
    last = name.rpartition(".")[2]
    if last == PICTURE:
        return typed(text, folder)
    if last in TEXTS:
        return text
    try:
        return json_of(text)
    except TwiceSaid:
        raise
    except ValueError:
        return text


def set_field(data: dict[str, Any], name: str, value: Any) -> None:
    """Set the field of a dotted name. ValueError where it has a value already."""
    *parents, last = name.split(".")
    for parent in parents:
        below = as_object(name, parent, data.get(parent, {}))
        data[parent] = below
        data = below
    placed = keep_edits(last, data.get(last), value)
    if last in data and (placed is value or "file" in data[last]):
        raise ValueError(f"{name} is given twice: keep one of the two")
    data[last] = placed


def set_value(data: Mapping[str, Any], name: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of `data` with the field of a name of several parts set; only what changes is copied."""
    first, *inner = name
    if not inner:
        return merge(data, {first: value})
    below = as_object(".".join(name), first, data.get(first, {}))
    return {**data, first: set_value(below, tuple(inner), value)}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` updated by `over`, object by object; another picture keeps the edits that it does not set."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        if name == PICTURE and isinstance(below, str) and isinstance(value, dict):
            below = {"file": below}
        if isinstance(below, dict) and isinstance(value, dict):
            merged[name] = merge(below, value)
        else:
            merged[name] = keep_edits(name, below, value)
    return merged


def field_names(data: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted names of all fields in a request's JSON; a picture's path counts as its `file`."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from field_names(value, f"{above}{name}.")
        else:
            yield f"{above}{name}.file" if name == PICTURE and isinstance(value, str) else f"{above}{name}"


def keep_edits(name: str, before: Any, value: Any) -> Any:
    """The value; of a picture's path, the object with the edits it had before."""
    if name == PICTURE and isinstance(before, dict) and isinstance(value, str):
        return {**before, "file": value}
    return value


def as_object(name: str, parent: str, value: Any) -> dict[str, Any]:
    """A copy of the object of the field `parent`, for setting its field `name`; a picture's path becomes an object."""
    if parent == PICTURE and isinstance(value, str):
        return {"file": value}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is a field inside {parent}, which has a value of its own")
    return dict(value)
