"""The rows that the GPU benchmarks measure: each is printed and written down at once, so that a crash loses none."""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

GB = 1_000_000_000
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, ImportError, OSError, MemoryError)
"""What a card, a library or another version of a rival may raise; its row says so."""
HEAD = "| | seconds | of resident speed | peak GB | planned GB | copied GB | |\n|---|---|---|---|---|---|---|"
RESIDENT = "step: ours, all of the card"


class Rows:
    """A file of JSON lines, and the time in which to fill it."""

    def __init__(self, file: Path | None, seconds: float) -> None:
        self.file, self.deadline = file, time.monotonic() + seconds
        self.longest = 0.0
        """Seconds that a row took so far."""

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    def add(self, name: str, **measured: Any) -> None:
        """One more row, see `line` for what it may hold."""
        print(line({"name": name, **measured}, None), flush=True)
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"name": name, **measured}) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def is_late(self, name: str, factor: float = 1.0) -> bool:
        """Whether too little time is left for another row; one that is left out says so."""
        if self.left > factor * self.longest:
            return False
        self.add(name, note=f"left out: {max(self.left, 0):.0f} s were left for it")
        return True


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a file; a line that a crash cut off is passed over."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All of them as markdown."""
    resident = next((row["seconds"] for row in rows if row["name"] == RESIDENT and row.get("whole")), None)
    return "\n".join([HEAD, *(line(row, resident) for row in rows)])


def line(row: Mapping[str, Any], resident: float | None) -> str:
    """resident: seconds of a step with all weights on the device."""
    seconds = row.get("seconds")
    share = f"{resident / seconds:.2f}" if resident and seconds and row["name"].startswith("step:") else ""
    sizes = (f"{row[key] / GB:.2f}" if row.get(key) is not None else "" for key in ("peak", "planned", "copied"))
    cells = (row["name"], "" if seconds is None else f"{seconds:.3f}", share, *sizes, row.get("note", ""))
    return f"| {' | '.join(cells)} |"


def failure(error: BaseException) -> str:
    """What to say of one."""
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    said = str(error).splitlines()
    return f"{type(error).__name__}: {said[0] if said else ''}"[:160].replace("|", "/")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What all parts are told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("full", "small"), default="full")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="544x704", help="height x width")
    parser.add_argument("--seconds", type=float, default=600, help="begin no row that would not be done by then")
    parser.add_argument("--rows", type=Path, help="a file to add the rows to, as JSON lines")
    return parser
