"""A .cube file, a table of colours, looked through before FFmpeg reads it, which says of a bad one only that it is bad.

Source: Adobe's Cube LUT Specification 1.0.
"""

import re
from math import isfinite
from pathlib import Path

from framepack.files.errors import MediaError
from framepack.media.source import open_source

BYTES_MOST = 64 << 20
SIZES = range(2, 257)
"""Points a side that FFmpeg reads."""
LINE_MOST = 500
"""Letters of a line; FFmpeg cuts longer ones in two."""
SIZE, RANGE = "LUT_3D_SIZE", "LUT_3D_INPUT_RANGE"
WORDS = {"TITLE", "DOMAIN_MIN", "DOMAIN_MAX"}
"""What FFmpeg takes behind the size."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
WAY_OUT = "export it again as a 3D table"


def check_cube(path: Path) -> None:
    """MediaError, which says what is wrong with which file, for one that FFmpeg would not read, or read otherwise."""
    with open_source(path) as file:
        data = file.read(BYTES_MOST + 1)
    if len(data) > BYTES_MOST:
        raise MediaError(f"'{path}' has more than {BYTES_MOST >> 20} MB: it is no colour table")
    lines = [line.removesuffix("\r") for line in data.decode("utf-8", "replace").split("\n")]
    if any("\r" in line or len(line.encode()) > LINE_MOST for line in lines):
        raise MediaError(
            f"'{path}' has a line of more than {LINE_MOST} letters, or ends of lines of its own: {WAY_OUT}"
        )
    place = next((number for number, line in enumerate(lines) if line.startswith(SIZE)), None)
    before = [line.split() for line in lines[:place] if line.strip()]
    if any(line[0] == "LUT_1D_SIZE" for line in before):
        raise MediaError(f"'{path}' holds a 1D table, and only 3D ones are read: {WAY_OUT}")
    if place is None:
        raise MediaError(f"no line of '{path}' begins with {SIZE}: {WAY_OUT}")
    parts = [line.split() for line in lines[place + 1 :] if line.strip() and not line.lstrip().startswith("#")]
    words = {part[0]: part[1:] for part in parts if part[0][0].isalpha()}
    if unread := sorted(words.keys() - WORDS):
        raise MediaError(f"'{path}' says {unread[0][:40]} behind {SIZE}: move that line before it")
    rows = [part for part in parts if not part[0][0].isalpha()]
    _check_size(path, lines[place].split()[1:], len(rows))
    _check_domain(path, words)
    _check_range(path, next((line[1:] for line in before if line[0] == RANGE), None))
    for number, row in enumerate(rows, 1):
        if len(row) != 3 or not is_finite(numbers(row)):
            raise MediaError(f"row {number} of '{path}' is no three finite numbers: {WAY_OUT}")


def _check_size(path: Path, said: list[str], rows: int) -> None:
    if len(said) != 1 or not said[0].isascii() or not said[0].isdigit() or len(said[0]) > 3:
        raise MediaError(f"'{path}' does not say a {SIZE} of {SIZES[0]} to {SIZES[-1]}: {WAY_OUT}")
    side = int(said[0])
    if side not in SIZES:
        raise MediaError(f"'{path}' says a {SIZE} of {side}, and {SIZES[0]} to {SIZES[-1]} are read: {WAY_OUT}")
    if rows != side**3:
        raise MediaError(f"'{path}' has {rows} rows of the {side**3} of a table of {side} a side: {WAY_OUT}")


def _check_range(path: Path, said: list[str] | None) -> None:
    """Resolve's word for what DOMAIN_MIN and DOMAIN_MAX say, which FFmpeg does not know."""
    if said is not None and numbers(said) != [0, 1]:
        raise MediaError(f"'{path}' has a {RANGE} other than 0 to 1: export it again with that")


def _check_domain(path: Path, words: dict[str, list[str]]) -> None:
    """Where a table says from which to which colour it goes, it goes up."""
    low, high = (numbers(words.get(f"DOMAIN_{end}", [usual] * 3)) for end, usual in (("MIN", "0"), ("MAX", "1")))
    if not low or not high or len(low) != 3 or len(high) != 3 or not is_finite([*low, *high]):
        raise MediaError(f"DOMAIN_MIN or DOMAIN_MAX of '{path}' is no three finite numbers: {WAY_OUT}")
    if any(above <= below for below, above in zip(low, high, strict=True)):
        raise MediaError(f"DOMAIN_MAX of '{path}' is not above DOMAIN_MIN: {WAY_OUT}")


def numbers(words: list[str]) -> list[float] | None:
    """What the words of a line say; None where one is no number."""
    return [float(word) for word in words] if all(map(NUMBER.fullmatch, words)) else None


def is_finite(values: list[float] | None) -> bool:
    """Whether there are numbers, and none is infinite or none at all."""
    return values is not None and all(isfinite(value) for value in values)
