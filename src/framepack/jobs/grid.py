"""A grid: parameters and values, of which a batch makes all combinations; and how large a batch may be."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from framepack.files.text import json_of
from framepack.jobs.fields import TEXTS, field_names, parse_value, set_value
from framepack.spec.prompt_times import OPENING
from framepack.spec.rules import shortened

Grid = Sequence[tuple[str, Sequence[Any]]]
"""Parameters and the values each takes; `output.crf` names a parameter inside another."""
MAX_JOBS = 10_000
"""Jobs a batch may have."""
MAX_BYTES = 100_000_000
"""Bytes its jobs may take together; a grid can multiply one long request by ten thousand."""
OBJECT_BYTES = 1000
"""Bytes of memory that each object in a request counts for, however short it is."""
MAX_NAME, MAX_PARAMETERS = 100, 20
"""Characters of a parameter's name, and parameters of a grid."""
MAX_LABEL = 60
"""Characters of a value that a label shows."""


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


def check_batch(requests: Sequence[Mapping[str, Any]], grid: Grid) -> None:
    """ValueError where the requests in all combinations of the grid's values are too many, or take too many bytes."""
    long = next((name for name, _ in grid if len(name) > MAX_NAME), None)
    if len(grid) > MAX_PARAMETERS or long:
        raise ValueError(
            f"a grid may have {MAX_PARAMETERS} parameters with names of {MAX_NAME} characters, "
            f"got {len(grid)}{f' and {shortened(long)}' if long else ''}"
        )
    for index, fields in enumerate(map(grid_fields, grid)):
        if both := sorted(fields.intersection(*[set().union(*map(grid_fields, grid[:index]))])):
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
    if name.rpartition(".")[2] in TEXTS and values.startswith("[") and not OPENING.match(values):
        return name, parse_list(values)
    return name, [parse_value(name, value.strip()) for value in re.split(r",(?![^\[\]]*\])", values)]


def parse_list(text: str) -> list[str]:
    """Texts with commas in them, as a list in JSON."""
    values = json_of(text)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f'texts with commas are a list such as ["one, two", "three"], got {shortened(text)}')
    return values
