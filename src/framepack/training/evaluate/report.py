"""An evaluation as a summary, as JSON and as contact sheets.

Boundary: reads an `Evaluation`, writes files; measures nothing. Plots: `evaluate_plots`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from framepack.media.marks import MARKED
from framepack.media.sheet import contact_sheet, save_png
from framepack.training.evaluate.goals import goals
from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.metrics import MEASURES, Drift
from framepack.training.evaluate.plots import write_plots
from framepack.training.evaluate.rows import PARTS, Drifted, Evaluation, Followed
from framepack.training.evaluate.words import WHOLE


def summary(evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
    """Means over scenes: a list of lines for each part."""
    seen = {row.scene for row in (*evaluation.following, *evaluation.sprites)}
    codec = {
        kind: mean(row.sharpness for row in rows if row.scene in seen)
        for (kind,), rows in grouped(evaluation.codec, lambda row: (row.kind,))
    }
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
                "psnr given": mean(row.given for row in rows),
                "psnr without": mean(row.without for row in rows),
                "gain": mean(row.gain for row in rows),
            }
            for (model, kind, place), rows in grouped(
                evaluation.keyframes, lambda row: (row.model, row.kind, row.place)
            )
        ],
        "drift": [
            {**line, "sharpness loss": mean(row.sharpness_loss for row in rows)}
            for line, rows in _drift(evaluation.drift, lambda measured: measured.difference)
        ],
        "slope": [line for line, _ in _drift(evaluation.drift, lambda measured: measured.slope)],
        "nearness": [
            {"pictures": kind, "order": order}
            | {
                f"section {number}": mean(values)
                for number, values in enumerate(zip(*(row.nearness for row in rows), strict=True), start=1)
            }
            for (kind, order), rows in grouped(evaluation.drift, lambda row: (row.kind, row.order))
            if order != "truth"
        ],
        "codec": [
            {
                "pictures": kind,
                "number": len(rows),
                "psnr, picture": mean(row.image_psnr for row in rows),
                "psnr, clip": mean(row.clip_psnr for row in rows),
                "sharpness": mean(row.sharpness for row in rows),
            }
            for (kind,), rows in grouped(evaluation.codec, lambda row: (row.kind,))
        ],
        "controls": [
            {
                "model": model,
                "motion": motion,
                "setting": f"{control} {value}",
                "amplitude": mean(row.amplitude for row in rows),
                "psnr": mean(row.psnr for row in rows),
                "end to start": mean(row.start for row in rows),
                "roughness": mean(row.roughness for row in rows),
                "followed": mean(row.hit for row in rows),
            }
            for (model, motion, control, value), rows in grouped(
                evaluation.controls, lambda row: (row.model, row.motion, row.control, f"{row.value:g}")
            )
        ],
        "words": [
            {
                "model": model,
                "motion": motion,
                "paraphrases": len(rows),
                "followed": mean(row.hit for row in rows),
                "psnr": mean(row.psnr for row in rows),
            }
            for (model, motion), rows in grouped(evaluation.words, lambda row: (row.model, row.motion))
        ],
        "unknown": [
            {
                "model": model,
                "sentences": len(rows),
                "followed": mean(row.psnr >= WHOLE for row in rows),
                "psnr": mean(row.psnr for row in rows),
                "worst": min(row.psnr for row in rows),
            }
            for (model,), rows in grouped(evaluation.unknown, lambda row: (row.model,))
        ],
        "sizes": [
            {
                "model": model,
                "motions": motions,
                "side": side,
                "steps": steps,
                "psnr": mean(row.psnr for row in rows),
                "sharpness": mean(row.sharpness for row in rows),
                "followed": mean(row.hit for row in rows),
            }
            for (model, motions, side, steps), rows in grouped(
                evaluation.sizes, lambda row: (row.model, row.motion.split()[0], str(row.side), str(row.steps))
            )
        ],
    }


def _models(rows: Sequence[Followed], codec: Mapping[str, float]) -> list[dict[str, Any]]:
    """Prompt following of each model on each kind of picture; `codec`: the sharpness that the VAE keeps."""
    return [
        {
            "model": model,
            "pictures": kind,
            "videos": len(part),
            "followed": mean(row.hit for row in part),
            "psnr": mean(row.psnr for row in part),
            "ssim": mean(row.ssim for row in part),
            "gain": mean(row.gain for row in part if row.motion != "still"),
            "sharpness": mean(row.sharpness for row in part),
            "of the bound": mean(row.sharpness for row in part) / codec.get(kind, float("nan")),
        }
        for (model, kind), part in grouped(rows, lambda row: (row.model, row.kind))
    ]


def _drift(rows: Sequence[Drifted], value: Callable[[Drift], float]) -> Iterator[tuple[dict[str, Any], list[Drifted]]]:
    """A number for each measure in each order on each kind of picture, and the rows behind them."""
    for (kind, order), part in grouped(rows, lambda row: (row.kind, row.order)):
        means = {name: mean(value(row.drift[name]) for row in part) for name in MEASURES}
        yield {"pictures": kind, "order": order, **means}, part


def _motions(rows: Sequence[Followed]) -> list[dict[str, Any]]:
    """Prompt following of each motion."""
    return [
        {
            "motion": motion,
            "followed": mean(row.hit for row in part),
            "psnr": mean(row.psnr for row in part),
            "gain": mean(row.gain for row in part if row.motion != "still"),
        }
        for (motion,), part in grouped(rows, lambda row: (row.motion,))
    ]


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write evaluation.json, a contact sheet for each scene, and plots; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{**vars(goal), "met": goal.met} for goal in goals(evaluation)]
    content = {"settings": asdict(evaluation.settings), "notices": evaluation.notices, "goals": lines}
    content["summary"] = summary(evaluation)
    for part in PARTS:
        content[part] = [asdict(row) for row in getattr(evaluation, part)]
    (folder / "evaluation.json").write_text(json.dumps(_finite(content), indent=1) + "\n", encoding="utf-8")
    return [folder / "evaluation.json", *_sheets(evaluation, folder), *write_plots(evaluation, folder)]


def _sheets(evaluation: Evaluation, folder: Path) -> list[Path]:
    files = []
    for (name,), samples in grouped(evaluation.samples, lambda sample: (sample.sheet,)):
        pictures = [frame for sample in samples for frame in sample.frames]
        labels = [label for sample in samples for label in sample.labels]
        files.append(folder / f"{name}.png")
        save_png(files[-1], contact_sheet(pictures, len(samples[0].frames), labels=labels), MARKED)
    return files


def _finite(content: Any) -> Any:
    """JSON knows no NaN: null instead."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
