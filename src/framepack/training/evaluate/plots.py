"""An evaluation as plots: what was asked against what is shown, shares by motion, measures over the sections.

Boundary: reads an `Evaluation`, writes pictures. They need matplotlib and are left out without it.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS
from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.metrics import MEASURES
from framepack.training.evaluate.results import DriftResult, Evaluation, PromptResult


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the plots of all parts that were measured; returns the files."""
    if not find_spec("matplotlib"):
        return []
    figures: dict[str, Any] = {}
    if evaluation.following:
        figures["confusion.png"] = _plot_confusion(evaluation)
    if evaluation.following or evaluation.sprites:
        figures["following.png"] = _plot_motions([*evaluation.following, *evaluation.sprites])
    if evaluation.drift:
        figures["drift.png"] = _plot_drift(evaluation.drift)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=110)
    return [folder / name for name in figures]


def confusion(evaluation: Evaluation) -> np.ndarray:
    """(motions asked, motions shown), shares of each row; rows that were never asked are zero."""
    names = list(MOTIONS)
    counts = np.zeros((len(names), len(names)))
    for row in evaluation.following:
        counts[names.index(row.motion), names.index(row.nearest)] += 1
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _plot_confusion(evaluation: Evaluation) -> Any:
    names = list(MOTIONS)
    figure = _figure(7, 6.4)
    axes = figure.subplots()
    picture = axes.imshow(confusion(evaluation), vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="shown (nearest true video)", ylabel="asked")
    figure.colorbar(picture, label="share")
    return figure


def _plot_motions(results: Sequence[PromptResult]) -> Any:
    """A bar for each motion, model and kind of picture."""
    names = [name for name in (*MOTIONS, *SPRITE_MOTIONS) if any(result.motion == name for result in results)]
    groups = grouped(results, lambda result: (result.model, result.kind))
    figure = _figure(max(7, 0.55 * len(names)), 5)
    axes = figure.subplots()
    for number, ((model, kind), part) in enumerate(groups):
        shares = [mean(result.hit for result in part if result.motion == name) for name in names]
        places = np.arange(len(names)) + (number - (len(groups) - 1) / 2) * 0.8 / len(groups)
        axes.bar(places, np.nan_to_num(shares), 0.8 / len(groups), label=f"{model}, {kind}")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set(ylabel="prompts followed (share)", ylim=(0, 1.05))
    axes.legend(fontsize="small", ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def _plot_drift(results: Sequence[DriftResult]) -> Any:
    """Each measure over the sections, a line for each order."""
    figure = _figure(11, 6)
    for axes, name in zip(figure.subplots(2, 3, sharex=True).flat, MEASURES, strict=True):
        for (order,), videos in grouped(results, lambda result: (result.order,)):
            course = np.mean([video.drift[name].course for video in videos], axis=0)
            style = "--" if order == "truth" else "-"
            axes.plot(range(1, len(course) + 1), course, marker="o", label=order, ls=style)
        axes.set(title=name)
        axes.set_ylim(bottom=0)
    figure.axes[0].legend()
    figure.supxlabel("section of the video")
    return figure
