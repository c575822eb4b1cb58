"""Batches of requests: items, each in all combinations of a grid's values, with labels that distinguish them.

The command line, the HTTP API and the page make their batches here. Everything is checked before anything is queued; an
error names its row. Items from files are read by `batch_files`.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from framepack.files.text import TwiceSaid, json_of
from framepack.spec.picture import typed
from framepack.spec.request import GenerationRequest
from framepack.spec.rules import shortened

Grid = Sequence[tuple[str, Sequence[Any]]]
"""Parameters and the values each takes; `output.crf` names a parameter inside another."""
MAX_JOBS = 10_000
"""Jobs a batch may have."""
MAX_BYTES = 100_000_000
"""Bytes its jobs may take together; a grid can multiply one long request by ten thousand."""
OBJECT_BYTES = 1000
"""Bytes of memory that each object in a request counts for, however short it is."""
PICTURE = "image"
"""The field of a picture, in a request and in its keyframes: a path, or an object with edits."""
TEXTS = ("prompt", "negative_prompt", "text")
"""Fields that are text, even where they look like JSON."""
CURRENT_FOLDER = Path()
MAX_NAME, MAX_PARAMETERS = 100, 20
"""Characters of a parameter's name, and parameters of a grid."""
MAX_LABEL = 60
"""Characters of a value that a label shows."""


class BatchError(ValueError):
    """A request of a batch is not valid; the message begins with its row."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One request of a batch. origin: where it was read. own_fields: those that the batch's settings do not set."""

    data: dict[str, Any]
    label: str
    origin: str
    own_fields: frozenset[str] = frozenset()


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


def expand(data: Mapping[str, Any], grid: Grid) -> Iterator[tuple[dict[str, Any], str]]:
    """The request's JSON in all combinations of the grid's values, each with its label such as `seed=1 steps=20`.

    A generator; what the grid does not change is shared by all. ValueError at once where they are too many.
    """
    check_batch([data], grid)
    names = [tuple(name.split(".")) for name, _ in grid]
    choices = [[(value, f"{name}={str(value)[:MAX_LABEL]}") for value in values] for name, values in grid]

    def variants() -> Iterator[tuple[dict[str, Any], str]]:
        for combination in product(*choices):
            variant = dict(data)
            for name, (value, _) in zip(names, combination, strict=True):
                variant = set_value(variant, name, value)
            yield variant, " ".join(label for _, label in combination)

    return variants()


def set_value(data: Mapping[str, Any], name: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of `data` with the field of a name of several parts set; only what changes is copied."""
    first, *inner = name
    if not inner:
        return merge(data, {first: value})
    below = as_object(".".join(name), first, data.get(first, {}))
    return {**data, first: set_value(below, tuple(inner), value)}


def check_batch(requests: Sequence[Mapping[str, Any]], grid: Grid) -> None:
    """ValueError where the requests in all combinations of the grid's values are too many, or take too many bytes."""
    long = next((name for name, _ in grid if len(name) > MAX_NAME), None)
    if len(grid) > MAX_PARAMETERS or long:
        raise ValueError(
            f"a grid may have {MAX_PARAMETERS} parameters with names of {MAX_NAME} characters, "
            f"got {len(grid)}{f' and {shortened(long)}' if long else ''}"
        )
    for place, one in enumerate(map(grid_fields, grid)):
        if both := sorted(one.intersection(*[set().union(*map(grid_fields, grid[:place]))])):
            raise ValueError(f"a grid names {both[0]} twice: give all its values at once")
    combinations = prod(len(choices) for _, choices in grid)
    if not 1 <= combinations <= MAX_JOBS:
        raise ValueError(
            f"a grid must have 1..{MAX_JOBS} combinations; give each parameter fewer values, but at least one"
        )
    if len(requests) * combinations > MAX_JOBS:
        raise ValueError(f"a batch may have {MAX_JOBS} jobs; use fewer items or a smaller grid")
    total = combinations * sum(map(estimate_bytes, requests))
    for _, choices in grid:
        total += len(requests) * combinations // len(choices) * sum(map(estimate_bytes, choices))
    check_bytes(total)


def grid_fields(parameter: tuple[str, Sequence[Any]]) -> set[str]:
    """The dotted names of the fields that a grid's parameter sets."""
    name, values = parameter
    found: set[str] = set()
    for value in values:
        found |= set(field_names(set_value({}, tuple(name.split(".")), value)))
    return found


def check_bytes(total: int) -> None:
    """ValueError where jobs take too many bytes together."""
    if total > MAX_BYTES:
        raise ValueError(
            f"a batch may take {MAX_BYTES // 10**6} MB in the queue, this one would take about {total // 10**6}: "
            "shorten its requests, or use fewer items or a smaller grid"
        )


def estimate_bytes(value: Any) -> int:
    """About how many bytes a part of a request takes in the queue or in memory, whichever is more."""
    text = json.dumps(value, default=str)
    return len(text) + OBJECT_BYTES * text.count("{")


def parse_grid(text: str) -> tuple[str, list[Any]]:
    """`seed=1,2,3` or `seed=1..3` as a name and its values."""
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise ValueError(f"a grid is NAME=VALUE,VALUE,... or NAME=FIRST..LAST, got {text!r}")
    span = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", values)
    if span:
        first, last = int(span[1]), int(span[2])
        if not 0 <= last - first < MAX_JOBS:
            raise ValueError(f"a grid's range goes up and has at most {MAX_JOBS} values, got {text!r}")
        return name, list(range(first, last + 1))
    if name.rpartition(".")[2] in TEXTS and values.startswith("["):
        return name, parse_list(values)
    return name, [parse_value(name, value.strip()) for value in re.split(r",(?![^\[\]]*\])", values)]


def parse_list(text: str) -> list[str]:
    """Texts with commas in them, as a list in JSON."""
    values = json_of(text)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f'texts with commas are a list such as ["one, two", "three"], got {shortened(text)}')
    return values


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


def items_of_prompts(text: str, defaults: Mapping[str, Any], origin: str = "line") -> Iterator[Item]:
    """One item for each line that is a prompt; empty ones and those that begin with # are left out."""
    for number, line in lines_of(text):
        if not line.startswith("#"):
            data, own_fields = {**defaults, "prompt": line}, frozenset({"prompt"})
            yield Item(data=data, label=line[:MAX_LABEL], origin=f"{origin} {number}", own_fields=own_fields)


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if line.strip():
            yield number, line.strip()


def make_requests(
    items: Sequence[Item],
    grid: Grid,
    *,
    resolve: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    make: Callable[[dict[str, Any]], GenerationRequest] = GenerationRequest.model_validate,
) -> tuple[list[GenerationRequest], list[str]]:
    """All items in all combinations of the grid, as requests and labels; BatchError for the first invalid one.

    resolve: replaces the name of a preset by its settings. make: makes a request of its JSON.
    """
    check_batch([item.data for item in items], grid)
    requests, labels, files, total = [], [], set(), 0
    for item in items:
        for data, label in expand(item.data, grid):
            row = ", ".join(part for part in (item.origin, label) if part)
            try:
                total += estimate_bytes(whole := resolve(data))
                requests.append(make(whole))
            except ValueError as error:
                raise BatchError(f"{row}: {error}") from error
            check_bytes(total)
            labels.append(" ".join(part for part in (item.label if len(items) > 1 else "", label) if part))
            file = requests[-1].output.path and requests[-1].output.path.absolute()
            if file and file in files:
                raise BatchError(f"{row}: another job of the batch writes {file} too; leave output.path out")
            files.add(file)
    return requests, labels


def batch_name(title: str) -> str:
    """A unique name for a batch, which is a file name too."""
    return f"{_slug(title)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


def title_of(name: str) -> str:
    """The title in a name made by `batch_name`."""
    return re.sub(r"-\d{8}-\d{6}-[0-9a-f]{8}$", "", name).replace("-", " ")


def has_title(name: str, title: str) -> bool:
    """Whether `batch_name` made the name from this title."""
    return re.fullmatch(re.escape(_slug(title)) + r"-\d{8}-\d{6}-[0-9a-f]{8}", name) is not None


def _slug(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:40] or "batch"
