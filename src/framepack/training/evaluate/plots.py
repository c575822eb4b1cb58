"""An evaluation as plots: what was asked against what is shown, shares by motion, measures over the sections.

Boundary: reads an `Evaluation`, writes pictures. They need matplotlib and are left out without it.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS
from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.metrics import MEASURES
from framepack.training.evaluate.rows import Drifted, Evaluation, Followed


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the plots of all parts that were measured; returns the files."""
    if not find_spec("matplotlib"):
        return []
    files = []
    if evaluation.following:
        files.append(_plot_confusion(evaluation, folder / "confusion.png"))
    if evaluation.following or evaluation.sprites:
        files.append(_plot_motions([*evaluation.following, *evaluation.sprites], folder / "following.png"))
    if evaluation.drift:
        files.append(_plot_drift(evaluation.drift, folder / "drift.png"))
    return files


def confusion(evaluation: Evaluation) -> np.ndarray:
    """(motions asked, motions shown), shares of each row; rows that were never asked are zero."""
    names = list(MOTIONS)
    counts = np.zeros((len(names), len(names)))
    for row in evaluation.following:
        counts[names.index(row.motion), names.index(row.nearest)] += 1
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _plot_confusion(evaluation: Evaluation, file: Path) -> Path:
    from matplotlib.figure import Figure

    names = list(MOTIONS)
    figure = Figure(figsize=(7, 6.4), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(confusion(evaluation), vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="shown (nearest true video)", ylabel="asked")
    figure.colorbar(picture, label="share")
    figure.savefig(file, dpi=110)
    return file


def _plot_motions(rows: Sequence[Followed], file: Path) -> Path:
    """A bar for each motion, model and kind of picture."""
    from matplotlib.figure import Figure

    names = [name for name in (*MOTIONS, *SPRITE_MOTIONS) if any(row.motion == name for row in rows)]
    groups = grouped(rows, lambda row: (row.model, row.kind))
    figure = Figure(figsize=(max(7, 0.55 * len(names)), 5), layout="constrained")
    axes = figure.subplots()
    for number, ((model, kind), part) in enumerate(groups):
        shares = [mean(row.hit for row in part if row.motion == name) for name in names]
        places = np.arange(len(names)) + (number - (len(groups) - 1) / 2) * 0.8 / len(groups)
        axes.bar(places, np.nan_to_num(shares), 0.8 / len(groups), label=f"{model}, {kind}")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set(ylabel="prompts followed (share)", ylim=(0, 1.05))
    axes.legend(fontsize="small", ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    figure.savefig(file, dpi=110)
    return file


def _plot_drift(rows: Sequence[Drifted], file: Path) -> Path:
    """Each measure over the sections, a line for each order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, name in zip(figure.subplots(2, 3, sharex=True).flat, MEASURES, strict=True):
        for (order,), videos in grouped(rows, lambda row: (row.order,)):
            course = np.mean([row.drift[name].course for row in videos], axis=0)
            style = "--" if order == "truth" else "-"
            axes.plot(range(1, len(course) + 1), course, marker="o", label=order, ls=style)
        axes.set(title=name)
        axes.set_ylim(bottom=0)
    figure.axes[0].legend()
    figure.supxlabel("section of the video")
    figure.savefig(file, dpi=110)
    return file
