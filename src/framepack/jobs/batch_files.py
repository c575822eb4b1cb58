"""Batches that lie on a disk: a folder of pictures, a list of prompts, a JSONL or a CSV file, as items of a batch.

A mistake is told with its line. Reads text, never a picture. What becomes of items is `batch`.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from framepack.jobs.batch import MOST, Item, items_of_prompts, lines_of, merge, put
from framepack.jobs.paths import Kind, change_paths

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"}
FILE_MOST = 100_000_000
"""Bytes a file with a batch may have."""
PROMPT_MOST = 1_000_000
"""Bytes of a text beside a picture."""


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
    text = file.read_text(encoding="utf-8-sig")
    yield from items_of_prompts(text, defaults, f"{file}, line")


def read_jsonl(file: Path, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """One item for each line that is a JSON object of request fields."""
    for number, line in lines_of(file.read_text(encoding="utf-8-sig")):
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


def at_home(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What an item says itself, with its pictures and LoRAs relative to the folder of the file that names them."""

    def locate(kind: Kind, path: str) -> str:
        return path if kind == "output" else str(folder / path)

    return change_paths(data, locate)
