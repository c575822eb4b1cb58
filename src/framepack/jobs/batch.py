"""Batches of requests: items, each in all combinations of a grid's values, with labels that distinguish them.

The command line, the HTTP API and the page make their batches here. Everything is checked before anything is queued; an
error names its row. Items from files are read by `batch_files`.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framepack.jobs.grid import MAX_LABEL, Grid, check_batch, check_bytes, estimate_bytes, expand
from framepack.spec.request import GenerationRequest


class BatchError(ValueError):
    """A request of a batch is not valid; the message begins with its row."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One request of a batch. origin: where it was read. own_fields: those that the batch's settings do not set."""

    data: dict[str, Any]
    label: str
    origin: str
    own_fields: frozenset[str] = frozenset()


def items_of_prompts(text: str, defaults: Mapping[str, Any], origin: str = "line") -> Iterator[Item]:
    """One item for each line that is a prompt; empty ones and those that begin with # are left out."""
    for number, line in lines_of(text):
        if not line.startswith("#"):
            data, own_fields = {**defaults, "prompt": line}, frozenset({"prompt"})
            yield Item(data=data, label=line[:MAX_LABEL], origin=f"{origin} {number}", own_fields=own_fields)


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
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
    """All items in all combinations of the grid, as requests and labels; BatchError for the first invalid one.

    resolve: replaces the name of a preset by its settings. make: makes a request of its JSON.
    """
    check_batch([item.data for item in items], grid)
    requests, labels, files, total = [], [], set(), 0
    for item in items:
        for data, label in expand(item.data, grid):
            row = ", ".join(part for part in (item.origin, label) if part)
            try:
                total += estimate_bytes(whole := resolve(data))
                requests.append(make(whole))
            except ValueError as error:
                raise BatchError(f"{row}: {error}") from error
            check_bytes(total)
            labels.append(" ".join(part for part in (item.label if len(items) > 1 else "", label) if part))
            file = requests[-1].output.path and requests[-1].output.path.absolute()
            if file and file in files:
                raise BatchError(f"{row}: another job of the batch writes {file} too; leave output.path out")
            files.add(file)
    return requests, labels


def batch_name(title: str) -> str:
    """A unique name for a batch, which is a file name too."""
    return f"{_slug(title)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


def title_of(name: str) -> str:
    """The title in a name made by `batch_name`."""
    return re.sub(r"-\d{8}-\d{6}-[0-9a-f]{8}$", "", name).replace("-", " ")


def has_title(name: str, title: str) -> bool:
    """Whether `batch_name` made the name from this title."""
    return re.fullmatch(re.escape(_slug(title)) + r"-\d{8}-\d{6}-[0-9a-f]{8}", name) is not None


def _slug(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:40] or "batch"
