"""Every path inside a request's JSON: which there are, and how to change them all. Opens nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from framepack.spec.picture import typed

Kind = Literal["picture", "lora", "output"]
PATHS: dict[tuple[str, ...], Kind] = {
    ("image",): "picture",
    ("image", "file"): "picture",
    ("frames", "*", "image"): "picture",
    ("frames", "*", "image", "file"): "picture",
    ("end_frame", "image"): "picture",
    ("end_frame", "image", "file"): "picture",
    ("loras", "*", "file"): "lora",
    ("output", "path"): "output",
}
"""Where a request has paths: a picture is its path, or an object with edits beside the file. A test compares this with
the request's schema."""


def change_paths(request: dict[str, Any], change: Callable[[Kind, str], str | None]) -> dict[str, Any]:
    """A copy of a request's JSON with each path that is text replaced by what `change` makes of it."""

    def walk(value: Any, at: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: walk(inner, (*at, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*at, "*")) for inner in value]
        return change(PATHS[at], value) if at in PATHS and isinstance(value, str) else value

    return walk(request, ())


def pictures_read(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A copy of a request's JSON in which pictures with edits that are written FILE[EDITS] are objects."""

    def walk(value: Any, at: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: walk(inner, (*at, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*at, "*")) for inner in value]
        picture = PATHS.get(at) == "picture" and (*at, "file") in PATHS
        return typed(value, folder) if picture and isinstance(value, str) else value

    return walk(request, ())


def paths_in(request: dict[str, Any]) -> Iterator[Path]:
    """All paths of a request's JSON."""
    found: list[str] = []
    change_paths(request, lambda _, path: found.append(path) or path)
    return map(Path, found)
