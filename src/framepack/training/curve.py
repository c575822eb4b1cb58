"""A run's log as a picture: loss and learning rate over samples, drawn with PIL."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE, MARGIN = (960, 480), 60
LOSS, RATE, GRID = (31, 98, 173), (214, 140, 30), (225, 225, 225)


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a `log.csv`; an empty list when there is none."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def draw_curve(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Write a PNG: the loss (logarithmic, smoothed over five rows) and the learning rates' factor. Needs two rows."""
    if len(rows) < 2:
        return
    losses = [_mean([row["loss"] for row in rows[max(0, i - 2) : i + 3]]) for i in range(len(rows))]
    low, high = math.log10(min(losses)), math.log10(max(losses))
    width, height = SIZE[0] - 2 * MARGIN, SIZE[1] - 2 * MARGIN
    last = rows[-1]["samples"]
    image = Image.new("RGB", SIZE, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for part in range(6):
        y = MARGIN + height * part / 5
        draw.line([(MARGIN, y), (MARGIN + width, y)], fill=GRID)
        value = 10 ** (high - (high - low) * part / 5)
        draw.text((MARGIN - 8, y), f"{value:.3g}", fill=LOSS, font=font, anchor="rm")
        draw.text((MARGIN + width + 8, y), f"{1 - part / 5:.1f}", fill=RATE, font=font, anchor="lm")
        x = MARGIN + width * part / 5
        draw.text((x, MARGIN + height + 10), f"{last * part / 5000:.0f}k", fill="black", font=font, anchor="ma")
    scale = height / max(high - low, 1e-9)
    xs = [MARGIN + width * row["samples"] / last for row in rows]
    rates = [(x, MARGIN + height * (1 - row["rate"])) for x, row in zip(xs, rows, strict=True)]
    draw.line(rates, fill=RATE, width=1)
    points = [(x, MARGIN + (high - math.log10(loss)) * scale) for x, loss in zip(xs, losses, strict=True)]
    draw.line(points, fill=LOSS, width=2)
    draw.text((MARGIN, 20), "loss (left, logarithmic)", fill=LOSS, font=font)
    draw.text((MARGIN + width, 20), "learning rate (right, share of its peak)", fill=RATE, font=font, anchor="ra")
    draw.text((SIZE[0] / 2, SIZE[1] - 18), "samples", fill="black", font=font, anchor="mm")
    image.save(path)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
