"""A run's log: rows in a CSV, and the same as a picture, drawn with PIL."""

import csv
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from framepack.files.atomic import atomic_write

WIDTH, PANEL, MARGIN = 960, 420, 60
BLUE, ORANGE, GREEN, GRID = (31, 98, 173), (214, 140, 30), (34, 130, 84), (225, 225, 225)
Colour = tuple[int, int, int]
Rows = Sequence[Mapping[str, float]]


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a line to a CSV, with a header where it is the first; numbers with six digits."""
    new = not path.is_file() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})


def cut_rows(path: Path, step: int) -> None:
    """Drop lines later than a checkpoint, whose steps are made again, and lines cut off. The step comes first."""
    if path.is_file():
        header, lines = _read(path)
        kept = [line for line, row in lines if next(iter(row.values())) <= step]
        if not kept:
            path.unlink()
            return
        with atomic_write(path) as temporary:
            temporary.write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log; an empty list when there is none. Lines cut off, as by a full disk, are left out."""
    return [row for _, row in _read(path)[1]] if path.is_file() else []


def _read(path: Path) -> tuple[str, list[tuple[str, dict[str, float]]]]:
    """The header, and each whole line with what it says."""
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    names, whole = header.split(","), []
    for line in lines:
        with suppress(ValueError):
            whole.append((line, dict(zip(names, map(float, line.split(",")), strict=True))))
    return header, whole


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: its column, its colour and its axis from `low` to `high`, on the left or the right."""

    column: str
    name: str
    colour: Colour
    low: float
    high: float
    left: bool
    logarithmic: bool = False
    smooth: int = 0
    """Rows on each side that are averaged."""

    def height(self, value: float) -> float:
        """0 at the bottom, 1 at the top."""
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return (value - low) / max(high - low, 1e-9)

    def label(self, part: float) -> str:
        """What the axis says at that height."""
        if self.logarithmic:
            return f"{self.low * (self.high / self.low) ** part:.3g}"
        return f"{self.low + (self.high - self.low) * part:.3g}"


def draw_curve(rows: Rows, path: Path, *, samples: Rows = (), axis: str = "samples") -> None:
    """Write a PNG of a log: the loss (logarithmic, smoothed over five rows) and, if logged, the learning rates' factor.

    samples: rows of measured sample videos, in a panel of their own. axis: the column along the bottom. Needs two rows.
    """
    if len(rows) < 2:
        return
    losses = smoothed([row["loss"] for row in rows], 2)
    panels: list[tuple[Rows, list[Line]]] = [
        (rows, [_line("loss", "loss (logarithmic)", BLUE, losses, True, logarithmic=True, smooth=2)])
    ]
    if "rate" in rows[0]:
        panels[0][1].append(_line("rate", "learning rate (share of its peak)", ORANGE, [0.0, 1.0], False))
    if samples:
        gains = [row["gain"] for row in samples]
        share = _line("followed", "prompts followed (share)", GREEN, [0.0, 1.0], True)
        gain = _line("gain", "PSNR over a still picture (dB)", ORANGE, [min(0.0, *gains), max(1.0, *gains)], False)
        panels.append((samples, [share, gain]))
    image = Image.new("RGB", (WIDTH, PANEL * len(panels) + MARGIN // 2), "white")
    draw, last = ImageDraw.Draw(image), rows[-1][axis]
    for number, (content, lines) in enumerate(panels):
        _panel(draw, PANEL * number + MARGIN, content, lines, axis, last)
    draw.text((WIDTH / 2, image.height - 18), axis, fill="black", font=ImageFont.load_default(14), anchor="mm")
    image.save(path)


def smoothed(values: Sequence[float], reach: int) -> list[float]:
    """The mean of each value and `reach` on each side."""
    parts = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def _line(
    column: str,
    name: str,
    colour: Colour,
    values: Sequence[float],
    left: bool,
    *,
    logarithmic: bool = False,
    smooth: int = 0,
) -> Line:
    """A line whose axis spans `values`."""
    return Line(
        column=column,
        name=name,
        colour=colour,
        low=min(values),
        high=max(values),
        left=left,
        logarithmic=logarithmic,
        smooth=smooth,
    )


def _panel(draw: ImageDraw.ImageDraw, top: float, rows: Rows, lines: Sequence[Line], axis: str, last: float) -> None:
    """One picture of curves with its grid, axes and names."""
    font = ImageFont.load_default(14)
    width, height = WIDTH - 2 * MARGIN, PANEL - 2 * MARGIN
    for part in range(6):
        y, x = top + height * (1 - part / 5), MARGIN + width * part / 5
        draw.line([(MARGIN, y), (MARGIN + width, y)], fill=GRID)
        for line in lines:
            at, anchor = (MARGIN - 8, "rm") if line.left else (MARGIN + width + 8, "lm")
            draw.text((at, y), line.label(part / 5), fill=line.colour, font=font, anchor=anchor)
        draw.text((x, top + height + 10), _short(last * part / 5), fill="black", font=font, anchor="ma")
    for line in lines:
        values = smoothed([row[line.column] for row in rows], line.smooth)
        points = [
            (MARGIN + width * row[axis] / last, top + height * (1 - line.height(value)))
            for row, value in zip(rows, values, strict=True)
        ]
        draw.line(points, fill=line.colour, width=2 if line.left else 1)
        if len(points) < 40:
            for x, y in points:
                draw.ellipse([(x - 3, y - 3), (x + 3, y + 3)], fill=line.colour)
        at, anchor = (MARGIN, "la") if line.left else (MARGIN + width, "ra")
        draw.text((at, top - 36), line.name, fill=line.colour, font=font, anchor=anchor)


def _short(value: float) -> str:
    return f"{value / 1000:.0f}k" if value >= 10_000 else f"{value:.0f}"
