"""Text that people and their programs write: UTF-8, and JSON in which no name is said twice.

Every mistake is a ValueError that names the file, or nothing where there is none, and says the way out.
"""

import json
from pathlib import Path
from typing import Any

SHOWN = 60
"""Characters of a name that a message repeats."""


def text_of_file(file: Path, most: int) -> str:
    """All of a text file, which may begin with a byte order mark."""
    try:
        if not file.is_file():
            raise ValueError(f"there is no file {file}; check its name")
        if (size := file.stat().st_size) > most:
            raise ValueError(f"{file} has {size} bytes, at most {most} can be read: make several of it")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text in UTF-8: save it as UTF-8 (spreadsheets call it CSV UTF-8)") from None


def json_of(text: str) -> Any:
    """What a text of JSON says; ValueError for what is none, and where an object says a name twice."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise TwiceSaid(f"{twice[:SHOWN]!r} is said twice in one place: keep one of the two")
    return found


class TwiceSaid(ValueError):  # noqa: N818 - reads as the sentence it is
    """A name is said twice where only one can hold."""
