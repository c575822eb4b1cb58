"""A .cube file, a table of colours, looked through before FFmpeg reads it, which says of a bad one only that it is bad.

Source: Adobe's Cube LUT Specification 1.0.
"""

from math import isfinite
from pathlib import Path

from framepack.files.errors import MediaError
from framepack.media.source import open_source

BYTES_MOST = 64 << 20
SIZES = range(2, 257)
"""Points a side that FFmpeg reads."""
WAY_OUT = "export it again as a 3D table"


def check_cube(path: Path) -> None:
    """MediaError, which says what is wrong with which file, for one that is no 3D table of finite numbers."""
    with open_source(path) as file:
        data = file.read(BYTES_MOST + 1)
    if len(data) > BYTES_MOST:
        raise MediaError(f"'{path}' has more than {BYTES_MOST >> 20} MB: it is no colour table")
    lines = [line.split() for line in data.decode("utf-8", "replace").splitlines()]
    words: dict[str, list[str]] = {}
    rows: list[list[str]] = []
    for line in lines:
        if not line or line[0].startswith("#"):
            continue
        if line[0][0].isalpha() and numbers(line) is None:
            words.setdefault(line[0], line[1:])
        else:
            rows.append(line)
    _check_size(path, words, len(rows))
    _check_domain(path, words)
    for place, row in enumerate(rows, 1):
        if len(row) != 3 or not is_finite(numbers(row)):
            raise MediaError(f"row {place} of '{path}' is no three finite numbers: {WAY_OUT}")


def _check_size(path: Path, words: dict[str, list[str]], rows: int) -> None:
    if "LUT_1D_SIZE" in words:
        raise MediaError(f"'{path}' holds a 1D table, and only 3D ones are read: {WAY_OUT}")
    said = words.get("LUT_3D_SIZE", [])
    if len(said) != 1 or not said[0].isascii() or not said[0].isdigit() or len(said[0]) > 3:
        raise MediaError(f"'{path}' does not say a LUT_3D_SIZE of {SIZES[0]} to {SIZES[-1]}: {WAY_OUT}")
    side = int(said[0])
    if side not in SIZES:
        raise MediaError(f"'{path}' says a LUT_3D_SIZE of {side}, and {SIZES[0]} to {SIZES[-1]} are read: {WAY_OUT}")
    if rows != side**3:
        raise MediaError(f"'{path}' has {rows} rows of the {side**3} of a table of {side} a side: {WAY_OUT}")


def _check_domain(path: Path, words: dict[str, list[str]]) -> None:
    """Where a table says from which to which colour it goes, it goes up."""
    low, high = (numbers(words.get(f"DOMAIN_{end}", [usual] * 3)) for end, usual in (("MIN", "0"), ("MAX", "1")))
    if not low or not high or len(low) != 3 or len(high) != 3 or not is_finite([*low, *high]):
        raise MediaError(f"DOMAIN_MIN or DOMAIN_MAX of '{path}' is no three finite numbers: {WAY_OUT}")
    if any(above <= below for below, above in zip(low, high, strict=True)):
        raise MediaError(f"DOMAIN_MAX of '{path}' is not above DOMAIN_MIN: {WAY_OUT}")


def numbers(words: list[str]) -> list[float] | None:
    """What the words of a line say; None where one is no number."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def is_finite(values: list[float] | None) -> bool:
    """Whether there are numbers, and none is infinite or none at all."""
    return values is not None and all(isfinite(value) for value in values)
