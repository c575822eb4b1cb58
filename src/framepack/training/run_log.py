"""A run's log: rows in a CSV, and the same as a plot. The plot needs matplotlib and is left out without it."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from framepack.files.atomic import atomic_write

Rows = Sequence[Mapping[str, float]]


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a line to a CSV, after a header in a new file; floats are written with six digits."""
    new = not path.is_file() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})


def truncate_log(path: Path, step: int) -> None:
    """Drop incomplete lines and those after the checkpoint's step, the first column: these steps will be repeated."""
    if path.is_file():
        header, lines = _read(path)
        remaining = [line for line, row in lines if next(iter(row.values())) <= step]
        if not remaining:
            path.unlink()
            return
        with atomic_write(path) as temporary:
            temporary.write_text("\n".join([header, *remaining]) + "\n", encoding="utf-8")


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log; none if there is no file. Incomplete lines, as a full disk leaves them, are skipped."""
    return [row for _, row in _read(path)[1]] if path.is_file() else []


def _read(path: Path) -> tuple[str, list[tuple[str, dict[str, float]]]]:
    """The header, and each complete line with its values."""
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    names, complete = header.split(","), []
    for line in lines:
        with suppress(ValueError):
            complete.append((line, dict(zip(names, map(float, line.split(",")), strict=True))))
    return header, complete


def plot_log(rows: Rows, path: Path, *, samples: Rows = (), axis: str = "samples") -> None:
    """Write a PNG of a log of two rows or more: the loss (logarithmic, smoothed) and, if logged, the learning rate.

    samples: rows about sample videos, in a panel of their own. axis: the column on the x axis.
    """
    if len(rows) < 2 or not find_spec("matplotlib"):
        return
    from matplotlib.figure import Figure

    panels = 2 if samples else 1
    figure = Figure(figsize=(9.6, 4.2 * panels), layout="constrained")
    loss, *below = figure.subplots(panels, sharex=True, squeeze=False)[:, 0]
    _plot(loss, [row[axis] for row in rows], smoothed([row["loss"] for row in rows], 2), "loss", "C0")
    loss.set_yscale("log")
    if "rate" in rows[0]:
        _plot(loss.twinx(), [row[axis] for row in rows], [row["rate"] for row in rows], "learning rate / peak", "C1")
    for panel in below:
        seen = [row[axis] for row in samples]
        _plot(panel, seen, [row["followed"] for row in samples], "prompts followed (share)", "C2", marker="o")
        gain = [row["gain"] for row in samples]
        _plot(panel.twinx(), seen, gain, "PSNR over a still picture (dB)", "C1", marker="o")
        panel.set_ylim(0, 1)
    figure.supxlabel(axis)
    figure.savefig(path, dpi=100)


def smoothed(values: Sequence[float], radius: int) -> list[float]:
    """The mean of each value and `radius` on each side."""
    return [fmean(values[max(0, i - radius) : i + radius + 1]) for i in range(len(values))]


def _plot(axes: Any, x: Sequence[float], y: Sequence[float], label: str, colour: str, marker: str = "") -> None:
    axes.plot(x, y, color=colour, marker=marker)
    axes.set_ylabel(label, color=colour)
    axes.grid(alpha=0.3)
