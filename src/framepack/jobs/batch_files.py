"""Reads the items of a batch from a folder of pictures, a list of prompts, a JSONL or a CSV file.

An error names its line. Reads text, never a picture. Requests are made of the items by `batch`.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from framepack.files.names import located
from framepack.files.text import TwiceSaid, json_of, text_of_file
from framepack.jobs.batch import Item, items_of_prompts, lines_of
from framepack.jobs.fields import PICTURE, field_names, merge, parse_value, set_field
from framepack.jobs.grid import MAX_JOBS
from framepack.jobs.paths import Kind, change_paths, parse_pictures
from framepack.spec.rules import shortened

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"}
MAX_FILE_BYTES = 100_000_000
"""Of a file with a batch."""
MAX_COLUMNS = 1000
MAX_PROMPT_BYTES = 1_000_000
"""Of a text file that is a picture's prompt."""


def read_batch(source: Path, defaults: Mapping[str, Any]) -> list[Item]:
    """The items of a folder, a .txt, a .jsonl or a .csv; with `defaults` for the fields that it does not set.

    Pictures and LoRAs in a file are relative to its folder. ValueError where it is no batch.
    """
    readers = {".txt": read_prompts, ".jsonl": read_jsonl, ".csv": read_csv}
    if source.is_dir():
        found = read_folder(source, defaults)
    elif source.suffix.lower() in readers:
        found = readers[source.suffix.lower()](source, text_of_file(source, MAX_FILE_BYTES), defaults)
    else:
        if not source.exists():
            raise ValueError(f"there is no file or folder {source}; check its name")
        raise ValueError(f"a batch is a folder of pictures, a .txt, a .jsonl or a .csv, got {str(source)!r}")
    items = list(islice(found, MAX_JOBS + 1))
    if not items:
        raise ValueError(f"{source} has nothing in it to make videos of")
    if len(items) > MAX_JOBS:
        raise ValueError(f"a batch may have {MAX_JOBS} jobs, {source} has more: make several of it")
    return items


def item_of(fields: dict[str, Any], defaults: Mapping[str, Any], label: str, origin: str) -> Item:
    """An item of the fields that a file sets, and of the defaults for the others.

    Where it sets another picture than the defaults, the edits of theirs do not apply.
    """
    image = defaults.get(PICTURE)
    if f"{PICTURE}.file" in set(field_names(fields)) & set(field_names(defaults)) and isinstance(image, dict):
        defaults = {name: value for name, value in defaults.items() if name != PICTURE}
    return Item(data=merge(defaults, fields), label=label, origin=origin, own_fields=frozenset(field_names(fields)))


def unused(settings: Mapping[str, Any], items: Sequence[Item]) -> list[str]:
    """The settings for all items that have no effect, as each item has its own."""
    names = list(field_names(settings))
    lost = [name for name in names if all(name in item.own_fields for item in items)]
    if f"{PICTURE}.file" in lost:
        lost += [name for name in names if name.startswith(f"{PICTURE}.") and name not in lost]
    return lost


def read_folder(folder: Path, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each picture, in the order of names; a text file of the same name has its prompt."""
    for picture in sorted(folder.iterdir()):
        if picture.suffix.lower() in SUFFIXES and picture.is_file():
            text = picture.with_suffix(".txt")
            prompt = {"prompt": text_of_file(text, MAX_PROMPT_BYTES).strip()} if text.is_file() else {}
            yield item_of({"image": str(picture), **prompt}, defaults, picture.stem, str(picture))


def read_prompts(file: Path, text: str, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each line that is a prompt; empty ones and those that begin with # are left out."""
    if "image.file" not in field_names(defaults):
        raise ValueError("a list of prompts needs a picture; add --set image=FILE")
    yield from items_of_prompts(text, defaults, f"{file}, line")


def read_jsonl(file: Path, text: str, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each line that is a JSON object of request fields."""
    for number, line in lines_of(text):
        origin = f"{file}, line {number}"
        try:
            data = json_of(line)
        except TwiceSaid as error:
            raise ValueError(f"{origin}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{origin}: this is not JSON ({error})") from error
        if not isinstance(data, dict):
            raise ValueError(f"{origin}: a request is a JSON object, got {line[:60]}")
        with errors_at(origin):
            fields = resolve_paths(data, file.parent)
        yield item_of(fields, defaults, f"line {number}", origin)


def read_csv(file: Path, text: str, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each row. The first row names the fields, `output.crf` one inside another.

    An empty cell sets nothing. A cell that begins with [ or { is JSON.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for row in rows_of(reader, file):
        if not any(isinstance(cell, list) or (cell and cell.strip()) for cell in row.values()):
            continue
        origin = f"{file}, line {reader.line_num}"
        if None in row:
            raise ValueError(f"{origin}: there are more cells than the first row has names")
        data: dict[str, Any] = {}
        with errors_at(origin):
            for name, cell in row.items():
                if cell:
                    parsed = cell[0] in "[{" or name.strip().endswith(PICTURE)
                    set_field(data, name.strip(), parse_value(name.strip(), cell, file.parent) if parsed else cell)
            fields = resolve_paths(data, file.parent)
        yield item_of(fields, defaults, f"line {reader.line_num}", origin)


def rows_of(reader: "csv.DictReader[str]", file: Path) -> Iterator[dict[str, str]]:
    """The rows; ValueError where the file is no table."""
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if len(names) == 1 and (between := next((mark for mark in ";\t|" if mark in names[0]), "")):
            raise ValueError(f"{file}, line 1: its columns are separated by {between!r}: save it with commas")
        if "" in names:
            raise ValueError(f"{file}, line 1: column {names.index('') + 1} has no name: give it one, or remove it")
        if len(names) > MAX_COLUMNS:
            raise ValueError(f"{file}, line 1: a table may have {MAX_COLUMNS} columns, got {len(names)}: remove some")
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise ValueError(f"{file}, line 1: there are two columns called {shortened(twice[0])}: keep one of them")
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num + 1}: this is no row of a table ({error})") from error


@contextmanager
def errors_at(origin: str) -> Iterator[None]:
    """Put the row before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error


def resolve_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The fields of an item, with its pictures and LoRAs relative to the folder of the file that names them."""

    def locate(kind: Kind, path: str) -> str:
        return path if kind == "output" else str(folder / located(path))

    return change_paths(parse_pictures(data, folder), locate)
