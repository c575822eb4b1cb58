"""Rows in groups, and their means. Knows nothing of what is in a row."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TypeVar

T = TypeVar("T")


def grouped(rows: Iterable[T], key: Callable[[T], tuple[str, ...]]) -> list[tuple[tuple[str, ...], list[T]]]:
    """Rows grouped by a key, groups in the order in which they first came."""
    rows = list(rows)
    rank = {name: number for number, name in enumerate(dict.fromkeys(map(key, rows)))}
    ordered = sorted(rows, key=lambda row: rank[key(row)])
    return [(name, list(group)) for name, group in groupby(ordered, key)]


def mean(values: Iterable[float]) -> float:
    """NaN where there are none."""
    listed = [float(value) for value in values]
    return sum(listed) / len(listed) if listed else float("nan")
