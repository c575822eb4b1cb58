"""Reads text and JSON that people and programs write: UTF-8, and no name twice in a JSON object.

Every mistake is a ValueError that names the file, or nothing where there is none, and says the way out.
"""

import codecs
import json
from pathlib import Path
from typing import Any

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks with which Windows' editors and shells begin a text."""
SHOWN = 60
"""Characters of a name that a message repeats."""
MESSAGE_MOST, WAY_OUT = 300, 100
"""Characters of a message, and how many of them are kept from its end, where the way out stands."""
JOINERS = "\u200c\u200d"
"""Not seen themselves, but parts of words and of emoji."""


def printable_line(message: str, most: int = MESSAGE_MOST) -> str:
    """A message as a line that any screen can show: what would move the cursor is spelt out.

    Of one that is too long, since it repeats something long, the middle is left out.
    """
    message = message.strip()
    if len(message) > 2 * most:
        message = message[:most] + message[-most:]
    line = "".join(_spelt(character) for character in message)
    return line if len(line) <= most else f"{line[: most - WAY_OUT - 3]} … {line[-WAY_OUT:]}"


def _spelt(character: str) -> str:
    shown = character.isprintable() or character in JOINERS
    return character if shown else character.encode("unicode_escape").decode()


def written(error: UnicodeError) -> tuple[str | bytes, int]:
    """For `codecs.register_error`: what an output cannot say is written as the file system has it, else spelt out."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    try:
        return part.encode(error.encoding, "surrogateescape"), error.end
    except UnicodeEncodeError:
        return part.encode("ascii", "backslashreplace").decode(), error.end


def text_of_file(file: Path, most: int) -> str:
    """All of a text file: UTF-8, or what its byte order mark says. ValueError for what is no text."""
    try:
        if file.is_dir():
            raise ValueError(f"{file} is a folder: name a file in it")
        if not file.is_file():
            raise ValueError(f"there is no file {file}; check its name")
        if (size := file.stat().st_size) > most:
            raise ValueError(f"{file} has {size} bytes, at most {most} can be read: split it")
        content = file.read_bytes()
        text = content.decode(next((name for mark, name in MARKS if content.startswith(mark)), "utf-8"))
        if "\0" in text:
            raise UnicodeError
    except UnicodeError:
        raise ValueError(f"{file} is not text in UTF-8: save it as UTF-8 (spreadsheets call it CSV UTF-8)") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_of(text: str) -> Any:
    """What a text of JSON says; ValueError for what is none, and where an object says a name twice."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "integer string" not in str(error):
            raise
        raise ValueError("it has a number of thousands of digits") from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number that JSON knows: write one")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise TwiceSaid(f"{twice[:SHOWN]!r} is given twice in one object: keep one")
    return found


class TwiceSaid(ValueError):  # noqa: N818 - reads as the sentence it is
    """A name is said twice where only one can hold."""
