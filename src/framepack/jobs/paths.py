"""Every path inside a request's JSON: where they are, and how to change them all. Opens nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from framepack.spec.picture import typed

Kind = Literal["picture", "lora", "finishing file", "output"]
PATHS: dict[tuple[str, ...], Kind] = {
    ("image",): "picture",
    ("image", "file"): "picture",
    ("target",): "picture",
    ("target", "file"): "picture",
    ("motion_mask",): "picture",
    ("motion_mask", "file"): "picture",
    ("frames", "*", "image"): "picture",
    ("frames", "*", "image", "file"): "picture",
    ("end_frame", "image"): "picture",
    ("end_frame", "image", "file"): "picture",
    ("reference", "image"): "picture",
    ("reference", "image", "file"): "picture",
    ("loras", "*", "file"): "lora",
    ("finish", "network"): "finishing file",
    ("finish", "lut"): "finishing file",
    ("finish", "audio"): "finishing file",
    ("output", "path"): "output",
}
"""Where a request has paths: a picture is its path, or an object with edits beside the file. A test compares this with
the request's schema."""


def change_paths(request: dict[str, Any], change: Callable[[Kind, str], str | None]) -> dict[str, Any]:
    """A copy of a request's JSON with each path that is text replaced by the result of `change`."""
    return _map_texts(request, lambda at, text: change(PATHS[at], text) if at in PATHS else text)


def parse_pictures(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A copy of a request's JSON in which pictures that are written FILE[EDITS] are objects."""

    def parse(at: tuple[str, ...], text: str) -> Any:
        return typed(text, folder) if PATHS.get(at) == "picture" and (*at, "file") in PATHS else text

    return _map_texts(request, parse)


def paths_in(request: dict[str, Any]) -> Iterator[Path]:
    """All paths of a request's JSON."""
    found: list[str] = []
    change_paths(request, lambda _, path: found.append(path) or path)
    return map(Path, found)


def _map_texts(value: Any, change: Callable[[tuple[str, ...], str], Any], at: tuple[str, ...] = ()) -> Any:
    """A copy of `value` with each text replaced. at: its keys from the top, * for an index of a list."""
    if isinstance(value, dict):
        return {key: _map_texts(inner, change, (*at, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_map_texts(inner, change, (*at, "*")) for inner in value]
    return change(at, value) if isinstance(value, str) else value
