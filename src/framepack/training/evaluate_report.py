"""An evaluation as a summary, as JSON, as contact sheets and as plots.

Boundary: reads an `Evaluation`, writes files; measures nothing. Plots need matplotlib and are left out without it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from framepack.media.sheet import contact_sheet, save_png
from framepack.training.evaluate_metrics import MEASURES
from framepack.training.evaluate_rows import PARTS, Drifted, Evaluation, Followed
from framepack.training.motions import MOTIONS

T = TypeVar("T")


def summary(evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """Means over scenes: a list of lines for each part."""
    codec = {kind: _mean(c.sharpness for c in rows) for (kind,), rows in _by(evaluation.codec, lambda c: (c.kind,))}
    return {
        "following": _models(evaluation.following, codec),
        "motions": _motions(evaluation.following),
        "sprites": _models(evaluation.sprites, codec),
        "sprite motions": _motions(evaluation.sprites),
        "keyframes": [
            {
                "model": model,
                "pictures": kind,
                "place": place,
                "psnr given": _mean(row.given for row in rows),
                "psnr without": _mean(row.without for row in rows),
                "gain": _mean(row.gain for row in rows),
            }
            for (model, kind, place), rows in _by(evaluation.keyframes, lambda row: (row.model, row.kind, row.place))
        ],
        "drift": [
            {
                "pictures": kind,
                "order": order,
                **{name: _mean(row.drift[name].difference for row in rows) for name in MEASURES},
                "sharpness loss": _mean(row.sharpness_loss for row in rows),
                "sharpness slope": _mean(row.drift["sharpness"].slope for row in rows),
            }
            for (kind, order), rows in _by(evaluation.drift, lambda row: (row.kind, row.order))
        ],
        "codec": [
            {
                "pictures": kind,
                "psnr, picture": _mean(row.image_psnr for row in rows),
                "psnr, clip": _mean(row.clip_psnr for row in rows),
                "sharpness": _mean(row.sharpness for row in rows),
            }
            for (kind,), rows in _by(evaluation.codec, lambda row: (row.kind,))
        ],
    }


def _models(rows: Sequence[Followed], codec: Mapping[str, float]) -> list[dict[str, Any]]:
    """Prompt following of each model on each kind of picture; `codec`: the sharpness that the VAE keeps."""
    return [
        {
            "model": model,
            "pictures": kind,
            "videos": len(part),
            "followed": _mean(row.hit for row in part),
            "psnr": _mean(row.psnr for row in part),
            "ssim": _mean(row.ssim for row in part),
            "gain": _mean(row.gain for row in part if row.motion != "still"),
            "sharpness": _mean(row.sharpness for row in part),
            "of the bound": _mean(row.sharpness for row in part) / codec.get(kind, float("nan")),
        }
        for (model, kind), part in _by(rows, lambda row: (row.model, row.kind))
    ]


def _motions(rows: Sequence[Followed]) -> list[dict[str, Any]]:
    """Prompt following of each motion."""
    return [
        {
            "motion": motion,
            "followed": _mean(row.hit for row in part),
            "psnr": _mean(row.psnr for row in part),
            "gain": _mean(row.gain for row in part if row.motion != "still"),
        }
        for (motion,), part in _by(rows, lambda row: (row.motion,))
    ]


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write evaluation.json, a contact sheet for each scene, and plots; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"settings": asdict(evaluation.settings), "notices": evaluation.notices, "summary": summary(evaluation)}
    for part in PARTS:
        content[part] = [asdict(row) for row in getattr(evaluation, part)]
    (folder / "evaluation.json").write_text(json.dumps(_finite(content), indent=1) + "\n", encoding="utf-8")
    return [folder / "evaluation.json", *_sheets(evaluation, folder), *_plots(evaluation, folder)]


def confusion(evaluation: Evaluation) -> np.ndarray:
    """(motions asked, motions shown), shares of each row; rows that were never asked are zero."""
    names = list(MOTIONS)
    counts = np.zeros((len(names), len(names)))
    for row in evaluation.following:
        counts[names.index(row.motion), names.index(row.nearest)] += 1
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _sheets(evaluation: Evaluation, folder: Path) -> list[Path]:
    files = []
    for (name,), samples in _by(evaluation.samples, lambda sample: (sample.sheet,)):
        pictures = [frame for sample in samples for frame in sample.frames]
        labels = [label for sample in samples for label in sample.labels]
        files.append(folder / f"{name}.png")
        save_png(files[-1], contact_sheet(pictures, len(samples[0].frames), labels=labels))
    return files


def _plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    if not find_spec("matplotlib"):
        return []
    files = []
    if evaluation.following:
        files.append(_plot_confusion(evaluation, folder / "confusion.png"))
    if evaluation.drift:
        files.append(_plot_drift(evaluation.drift, folder / "drift.png"))
    return files


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


def _plot_drift(rows: Sequence[Drifted], file: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (order,), videos in _by(rows, lambda row: (row.order,)):
        courses = np.mean([row.sharpness for row in videos], axis=0)
        axes.plot(range(1, len(courses) + 1), courses, marker="o", label=order, ls="--" if order == "truth" else "-")
    axes.set(xlabel="section of the video", ylabel="sharpness (mean gradient)")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(file, dpi=110)
    return file


def _by(rows: Iterable[T], key: Callable[[T], tuple[str, ...]]) -> list[tuple[tuple[str, ...], list[T]]]:
    """Rows grouped by a key, groups in the order in which they first came."""
    rows = list(rows)
    rank = {name: number for number, name in enumerate(dict.fromkeys(map(key, rows)))}
    ordered = sorted(rows, key=lambda row: rank[key(row)])
    return [(name, list(group)) for name, group in groupby(ordered, key)]


def _mean(values: Iterable[float]) -> float:
    listed = [float(value) for value in values]
    return sum(listed) / len(listed) if listed else float("nan")


def _finite(content: Any) -> Any:
    """JSON knows no NaN: null instead."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
