"""Many requests from a folder of pictures, a list of prompts, a JSONL or a CSV file, and grids over parameters.

Everything is checked before anything is queued; a mistake is told with its line. Reads text, never a picture.
"""

import csv
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from framepack.jobs.paths import Kind, change_paths
from framepack.spec.model import explain
from framepack.spec.request import GenerationRequest
from framepack.spec.rules import shortened

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"}
Grid = Sequence[tuple[str, Sequence[Any]]]
"""Parameters and the values each takes; `output.crf` names a parameter inside another."""
MOST = 10_000
"""Jobs a batch may have."""
BYTES_MOST = 100_000_000
"""Bytes its jobs may take together, by what they say; a grid can multiply one long request by ten thousand."""
OBJECT = 1000
"""Bytes of memory that an object in a request counts with, however short it is."""
FILE_MOST = 100_000_000
"""Bytes a file with a batch may have."""
PROMPT_MOST = 1_000_000
"""Bytes of a text beside a picture."""
NAME_MOST, GRID_MOST = 100, 20
"""Characters of a parameter's name, and parameters of a grid."""
LABEL = 60
"""Characters of a value that a label shows."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One request of a batch, what tells it from the others, and where it was read."""

    data: dict[str, Any]
    label: str
    origin: str


def read_batch(source: Path, defaults: Mapping[str, Any]) -> list[Item]:
    """The items of a folder, a .txt, a .jsonl or a .csv; each has `defaults` where it says nothing itself.

    Pictures and LoRAs in a file are relative to its folder. ValueError where nothing can be made of it.
    """
    readers = {".txt": read_prompts, ".jsonl": read_jsonl, ".csv": read_csv}
    if source.is_dir():
        found = read_folder(source, defaults)
    elif source.suffix.lower() in readers:
        check_size(source, FILE_MOST)
        found = readers[source.suffix.lower()](source, defaults)
    else:
        raise ValueError(f"a batch is a folder of pictures, a .txt, a .jsonl or a .csv, got {str(source)!r}")
    items = list(islice(found, MOST + 1))
    if not items:
        raise ValueError(f"{source} has nothing in it to make videos of")
    if len(items) > MOST:
        raise ValueError(f"a batch may have {MOST} jobs, {source} has more: make several of it")
    return items


def check_size(file: Path, most: int) -> None:
    """ValueError for a file that is not there, or larger than anything of its kind."""
    if not file.is_file():
        raise ValueError(f"there is no file {file}; check its name")
    if file.stat().st_size > most:
        raise ValueError(f"{file} has {file.stat().st_size} bytes, at most {most} can be read: make several of it")


def read_folder(folder: Path, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each picture, in the order of names; a text of the same name is its prompt."""
    for picture in sorted(folder.iterdir()):
        if picture.suffix.lower() in PICTURES and picture.is_file():
            text = picture.with_suffix(".txt")
            if text.is_file():
                check_size(text, PROMPT_MOST)
            prompt = {"prompt": text.read_text(encoding="utf-8-sig").strip()} if text.is_file() else {}
            data = {**defaults, "image": str(picture), **prompt}
            yield Item(data=data, label=picture.stem, origin=str(picture))


def read_prompts(file: Path, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each line that is a prompt; empty ones and those that begin with # are left out."""
    if "image" not in defaults:
        raise ValueError("a list of prompts needs a picture; add --set image=FILE")
    for number, line in lines_of(file):
        if not line.startswith("#"):
            yield Item(data={**defaults, "prompt": line}, label=line[:60], origin=f"{file}, line {number}")


def read_jsonl(file: Path, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each line that is a JSON object of request fields."""
    for number, line in lines_of(file):
        origin = f"{file}, line {number}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{origin}: this is not JSON ({error})") from error
        if not isinstance(data, dict):
            raise ValueError(f"{origin}: a request is a JSON object, got {line[:60]}")
        yield Item(data=merge(defaults, at_home(data, file.parent)), label=f"line {number}", origin=origin)


def read_csv(file: Path, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each row. The first row names the fields, `output.crf` one inside another.

    An empty cell says nothing.
    """
    with file.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text)
        for row in rows_of(reader, file):
            origin = f"{file}, line {reader.line_num}"
            if None in row:
                raise ValueError(f"{origin}: there are more cells than the first row has names")
            data: dict[str, Any] = {}
            for name, cell in row.items():
                if cell:
                    put(data, name.strip(), cell)
            merged = merge(defaults, at_home(data, file.parent))
            yield Item(data=merged, label=f"line {reader.line_num}", origin=origin)


def rows_of(reader: "csv.DictReader[str]", file: Path) -> Iterator[dict[str, str]]:
    """Its rows; ValueError where the file is no table."""
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num}: this is no row of a table ({error})") from error


def lines_of(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines with something in them."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def at_home(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What an item says itself, with its pictures and LoRAs relative to the folder of the file that names them."""

    def locate(kind: Kind, path: str) -> str:
        return path if kind == "output" else str(folder / path)

    return change_paths(data, locate)


def put(data: dict[str, Any], name: str, value: Any) -> None:
    """Set `value` under a dotted name."""
    *parents, last = name.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ValueError(f"{name} names something inside {parent}, which has a value of its own")
    data[last] = value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, object by object."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


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
        return {**data, first: value}
    below = data.get(first, {})
    if not isinstance(below, dict):
        raise ValueError(f"{'.'.join(name)} names something inside {first}, which has a value of its own")
    return {**data, first: with_value(below, tuple(inner), value)}


def check_batch(requests: Sequence[Mapping[str, Any]], grid: Grid) -> None:
    """ValueError where the requests in all combinations of the grid's values are too many, or take too much room."""
    long = next((name for name, _ in grid if len(name) > NAME_MOST), None)
    if len(grid) > GRID_MOST or long:
        raise ValueError(
            f"a grid may have {GRID_MOST} parameters with names of {NAME_MOST} characters, "
            f"got {len(grid)}{f' and {shortened(long)}' if long else ''}"
        )
    combinations = prod(len(choices) for _, choices in grid)
    if not 1 <= combinations <= MOST:
        raise ValueError(f"a grid must have 1..{MOST} combinations; give each parameter fewer values, but at least one")
    if len(requests) * combinations > MOST:
        raise ValueError(f"a batch may have {MOST} jobs; use fewer items or a smaller grid")
    total = combinations * sum(map(size_of, requests))
    for _, choices in grid:
        total += len(requests) * combinations // len(choices) * sum(map(size_of, choices))
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
    return name, [parse_value(value) for value in values.split(",")]


def parse_setting(text: str) -> tuple[str, Any]:
    """`steps=20` as a name and its value."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"a setting is NAME=VALUE, got {text!r}")
    return name, parse_value(value)


def parse_value(text: str) -> Any:
    """JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def make_requests(items: Sequence[Item], grid: Grid) -> tuple[list[GenerationRequest], list[str]]:
    """All items in all combinations of the grid, as requests and labels; ValueError with the first mistake's line."""
    check_batch([item.data for item in items], grid)
    requests, labels, files = [], [], set()
    for item in items:
        for data, label in expand(item.data, grid):
            try:
                requests.append(GenerationRequest.model_validate(data))
            except ValidationError as error:
                raise ValueError(f"{item.origin}: {explain(error)}") from error
            labels.append(" ".join(part for part in (item.label if len(items) > 1 else "", label) if part))
            file = requests[-1].output.path and requests[-1].output.path.absolute()
            if file and file in files:
                raise ValueError(f"{item.origin}: another job of the batch writes {file} too; leave output.path out")
            files.add(file)
    return requests, labels


def batch_name(title: str) -> str:
    """A name for a batch that no other has, and that is a file name."""
    return f"{_plain(title)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


def has_title(name: str, title: str) -> bool:
    """Whether `batch_name` made the name of this title."""
    return re.fullmatch(re.escape(_plain(title)) + r"-\d{8}-\d{6}-[0-9a-f]{8}", name) is not None


def _plain(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:40] or "batch"
