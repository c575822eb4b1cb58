"""Many requests at once: items, each of them in all combinations of a grid's values, and what tells them apart.

The command line, the HTTP API and the page make their batches here. Everything is checked before anything is queued; a
mistake is told with its row. Items from files are `batch_files`.
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
MOST = 10_000
"""Jobs a batch may have."""
BYTES_MOST = 100_000_000
"""Bytes its jobs may take together, by what they say; a grid can multiply one long request by ten thousand."""
OBJECT = 1000
"""Bytes of memory that an object in a request counts with, however short it is."""
PICTURE = "image"
"""What a request, and each of its further pictures, calls its picture: a path, or an object with edits."""
TEXTS = ("prompt", "negative_prompt", "text")
"""Fields that are text, whatever they look like."""
HERE = Path()
NAME_MOST, GRID_MOST = 100, 20
"""Characters of a parameter's name, and parameters of a grid."""
LABEL = 60
"""Characters of a value that a label shows."""


class BatchMistake(ValueError):  # noqa: N818 - reads as the sentence it is
    """One of a batch's requests cannot be; the sentence begins with its row."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One request of a batch, what tells it from the others, where it was read, and the names it gives itself."""

    data: dict[str, Any]
    label: str
    origin: str
    own: frozenset[str] = frozenset()


def put(data: dict[str, Any], name: str, value: Any) -> None:
    """Set `value` under a dotted name. ValueError where something is there already."""
    *parents, last = name.split(".")
    for parent in parents:
        below = inside(name, parent, data.get(parent, {}))
        data[parent] = below
        data = below
    placed = with_edits(last, data.get(last), value)
    if last in data and (placed is value or "file" in data[last]):
        raise ValueError(f"{name} is given twice: keep one of the two")
    data[last] = placed


def with_edits(name: str, before: Any, value: Any) -> Any:
    """The value; where it is a picture's path, with the edits that stand in its place."""
    if name == PICTURE and isinstance(before, dict) and isinstance(value, str):
        return {**before, "file": value}
    return value


def inside(name: str, parent: str, value: Any) -> dict[str, Any]:
    """A copy of what `parent` is, for `name` to be put into: a picture that is a path is its object."""
    if parent == PICTURE and isinstance(value, str):
        return {"file": value}
    if not isinstance(value, dict):
        raise ValueError(f"{name} names something inside {parent}, which has a value of its own")
    return dict(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, object by object; another picture keeps the edits it says nothing of."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        if name == PICTURE and isinstance(below, str) and isinstance(value, dict):
            below = {"file": below}
        if isinstance(below, dict) and isinstance(value, dict):
            merged[name] = merge(below, value)
        else:
            merged[name] = with_edits(name, below, value)
    return merged


def leaves(data: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted names of all settings in a request's JSON; a picture that is a path is its `file`."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}.file" if name == PICTURE and isinstance(value, str) else f"{above}{name}"


def expand(data: Mapping[str, Any], grid: Grid) -> Iterator[tuple[dict[str, Any], str]]:
    """The request's JSON in all combinations of the grid's values, each with its label such as `seed=1 steps=20`.

    One after the other: what is no value of the grid's is shared by all. ValueError at once where they are too many.
    """
    check_batch([data], grid)
    names = [tuple(name.split(".")) for name, _ in grid]
    choices = [[(value, f"{name}={str(value)[:LABEL]}") for value in values] for name, values in grid]

    def variants() -> Iterator[tuple[dict[str, Any], str]]:
        for combination in product(*choices):
            variant = dict(data)
            for name, (value, _) in zip(names, combination, strict=True):
                variant = with_value(variant, name, value)
            yield variant, " ".join(label for _, label in combination)

    return variants()


def with_value(data: Mapping[str, Any], name: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of `data`, no deeper than it must be, with `value` under a name of several parts."""
    first, *inner = name
    if not inner:
        return merge(data, {first: value})
    below = inside(".".join(name), first, data.get(first, {}))
    return {**data, first: with_value(below, tuple(inner), value)}


def check_batch(requests: Sequence[Mapping[str, Any]], grid: Grid) -> None:
    """ValueError where the requests in all combinations of the grid's values are too many, or take too much room."""
    long = next((name for name, _ in grid if len(name) > NAME_MOST), None)
    if len(grid) > GRID_MOST or long:
        raise ValueError(
            f"a grid may have {GRID_MOST} parameters with names of {NAME_MOST} characters, "
            f"got {len(grid)}{f' and {shortened(long)}' if long else ''}"
        )
    for place, one in enumerate(map(settings_of_grid, grid)):
        if both := sorted(one.intersection(*[set().union(*map(settings_of_grid, grid[:place]))])):
            raise ValueError(f"a grid names {both[0]} twice: give all its values at once")
    combinations = prod(len(choices) for _, choices in grid)
    if not 1 <= combinations <= MOST:
        raise ValueError(f"a grid must have 1..{MOST} combinations; give each parameter fewer values, but at least one")
    if len(requests) * combinations > MOST:
        raise ValueError(f"a batch may have {MOST} jobs; use fewer items or a smaller grid")
    total = combinations * sum(map(size_of, requests))
    for _, choices in grid:
        total += len(requests) * combinations // len(choices) * sum(map(size_of, choices))
    check_room(total)


def settings_of_grid(parameter: tuple[str, Sequence[Any]]) -> set[str]:
    """The dotted names that a grid's parameter decides."""
    name, values = parameter
    found: set[str] = set()
    for value in values:
        found |= set(leaves(with_value({}, tuple(name.split(".")), value)))
    return found


def check_room(total: int) -> None:
    """ValueError where jobs take too many bytes together."""
    if total > BYTES_MOST:
        raise ValueError(
            f"a batch may take {BYTES_MOST // 10**6} MB in the queue, this one would take about {total // 10**6}: "
            "shorten its requests, or use fewer items or a smaller grid"
        )


def size_of(value: Any) -> int:
    """About how many bytes a part of a request takes in the queue or in memory, whichever is more."""
    text = json.dumps(value, default=str)
    return len(text) + OBJECT * text.count("{")


def parse_grid(text: str) -> tuple[str, list[Any]]:
    """`seed=1,2,3` or `seed=1..3` as a name and its values."""
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise ValueError(f"a grid is NAME=VALUE,VALUE,... or NAME=FIRST..LAST, got {text!r}")
    span = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", values)
    if span:
        first, last = int(span[1]), int(span[2])
        if not 0 <= last - first < MOST:
            raise ValueError(f"a grid's range goes up and has at most {MOST} values, got {text!r}")
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


def parse_value(name: str, text: str, folder: Path = HERE) -> Any:
    """JSON where it is some, else the text itself; a picture's edits as an object, a prompt as it is.

    folder: where paths begin. ValueError for what is no edit, and for JSON that says a name twice.
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
            data, own = {**defaults, "prompt": line}, frozenset({"prompt"})
            yield Item(data=data, label=line[:LABEL], origin=f"{origin} {number}", own=own)


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines with something in them."""
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
    """All items in all combinations of the grid, as requests and labels; BatchMistake with the first mistake's row.

    resolve: puts the settings of a preset in the place of its name. make: makes a request of its JSON.
    """
    check_batch([item.data for item in items], grid)
    requests, labels, files, total = [], [], set(), 0
    for item in items:
        for data, label in expand(item.data, grid):
            row = ", ".join(part for part in (item.origin, label) if part)
            try:
                total += size_of(whole := resolve(data))
                requests.append(make(whole))
            except ValueError as error:
                raise BatchMistake(f"{row}: {error}") from error
            check_room(total)
            labels.append(" ".join(part for part in (item.label if len(items) > 1 else "", label) if part))
            file = requests[-1].output.path and requests[-1].output.path.absolute()
            if file and file in files:
                raise BatchMistake(f"{row}: another job of the batch writes {file} too; leave output.path out")
            files.add(file)
    return requests, labels


def batch_name(title: str) -> str:
    """A name for a batch that no other has, and that is a file name."""
    return f"{_plain(title)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


def title_of(name: str) -> str:
    """The title that `batch_name` made the name of, as far as it is in it."""
    return re.sub(r"-\d{8}-\d{6}-[0-9a-f]{8}$", "", name).replace("-", " ")


def has_title(name: str, title: str) -> bool:
    """Whether `batch_name` made the name of this title."""
    return re.fullmatch(re.escape(_plain(title)) + r"-\d{8}-\d{6}-[0-9a-f]{8}", name) is not None


def _plain(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:40] or "batch"
