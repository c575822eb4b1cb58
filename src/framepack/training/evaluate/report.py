"""An evaluation as a summary, as JSON and as contact sheets.

Boundary: reads an `Evaluation`, writes files; measures nothing. Plots: `plots`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from framepack.media.marks import MARKED
from framepack.media.sheet import contact_sheet, save_png
from framepack.training.evaluate.goals import goals
from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.metrics import MEASURES
from framepack.training.evaluate.plots import write_plots
from framepack.training.evaluate.prompts import WHOLE
from framepack.training.evaluate.results import PARTS, Evaluation, PromptResult, SheetRow

Line = dict[str, Any]
Columns = Mapping[str, str | Callable[[Sequence[Any]], float]]
"""Each a title, and the attribute whose mean is shown, or a function of a group's results."""


def summary(evaluation: Evaluation) -> dict[str, list[Line]]:
    """Means over scenes: a list of lines for each part."""
    kind, order = {"pictures": "kind"}, {"pictures": "kind", "order": "order"}
    drift = {name: _drift_mean(name, "difference") for name in MEASURES} | {"sharpness loss": "sharpness_loss"}
    slope = {name: _drift_mean(name, "slope") for name in MEASURES}
    near = {f"section {i + 1}": _nearness_mean(i) for i in range(evaluation.settings.sections)}
    generated = [result for result in evaluation.drift if result.order != "truth"]
    return {
        "following": _following(evaluation, evaluation.following),
        "motions": table(evaluation.following, {"motion": "motion"}, MOTION_COLUMNS),
        "sprites": _following(evaluation, evaluation.sprites),
        "sprite motions": table(evaluation.sprites, {"motion": "motion"}, MOTION_COLUMNS),
        "keyframes": table(evaluation.keyframes, {"model": "model", **kind, "place": "place"}, KEYFRAME_COLUMNS),
        "drift": table(evaluation.drift, order, drift),
        "slope": table(evaluation.drift, order, slope),
        "nearness": table(generated, order, near),
        "codec": table(evaluation.codec, kind, CODEC_COLUMNS),
        "controls": table(evaluation.controls, CONTROL_KEYS, CONTROL_COLUMNS),
        "words": table(evaluation.words, {"model": "model", "motion": "motion"}, PARAPHRASE_COLUMNS),
        "unknown": table(evaluation.unknown, {"model": "model"}, UNKNOWN_COLUMNS),
        "sizes": table(evaluation.sizes, SIZE_KEYS, SIZE_COLUMNS),
    }


def table(results: Sequence[Any], keys: Mapping[str, str], columns: Columns) -> list[Line]:
    """A line for each group of results with equal `keys`, each a title and an attribute."""
    lines = []
    for group, part in grouped(results, lambda result: tuple(str(getattr(result, name)) for name in keys.values())):
        line: Line = dict(zip(keys, group, strict=True))
        for title, column in columns.items():
            line[title] = mean(getattr(one, column) for one in part) if isinstance(column, str) else column(part)
        lines.append(line)
    return lines


def _following(evaluation: Evaluation, results: Sequence[PromptResult]) -> list[Line]:
    """Prompt following of each model on each kind of picture, and the share of the sharpness that the VAE keeps."""
    scenes = {result.scene for result in (*evaluation.following, *evaluation.sprites)}
    bounds = {
        kind: mean(result.sharpness for result in part if result.scene in scenes)
        for (kind,), part in grouped(evaluation.codec, lambda result: (result.kind,))
    }
    columns = {
        "videos": len,
        "followed": "hit",
        "psnr": "psnr",
        "ssim": "ssim",
        "gain": _moving_gain,
        "sharpness": "sharpness",
        "of the bound": lambda part: mean(one.sharpness for one in part) / bounds.get(part[0].kind, float("nan")),
    }
    return table(results, {"model": "model", "pictures": "kind"}, columns)


def _moving_gain(part: Sequence[PromptResult]) -> float:
    return mean(result.gain for result in part if result.motion != "still")


def _drift_mean(measure: str, attribute: str) -> Callable[[Sequence[Any]], float]:
    return lambda part: mean(getattr(result.drift[measure], attribute) for result in part)


def _nearness_mean(section: int) -> Callable[[Sequence[Any]], float]:
    return lambda part: mean(result.nearness[section] for result in part)


MOTION_COLUMNS: Columns = {"followed": "hit", "psnr": "psnr", "gain": _moving_gain}
KEYFRAME_COLUMNS: Columns = {"psnr given": "given", "psnr without": "without", "gain": "gain"}
CODEC_COLUMNS: Columns = {
    "number": len,
    "psnr, picture": "image_psnr",
    "psnr, clip": "clip_psnr",
    "sharpness": "sharpness",
}
CONTROL_KEYS = {"model": "model", "motion": "motion", "setting": "setting"}
CONTROL_COLUMNS: Columns = {
    "amplitude": "amplitude",
    "psnr": "psnr",
    "end to start": "start",
    "roughness": "roughness",
    "followed": "hit",
}
PARAPHRASE_COLUMNS: Columns = {"paraphrases": len, "followed": "hit", "psnr": "psnr"}
UNKNOWN_COLUMNS: Columns = {
    "sentences": len,
    "followed": lambda part: mean(result.psnr >= WHOLE for result in part),
    "psnr": "psnr",
    "worst": lambda part: min(result.psnr for result in part),
}
SIZE_KEYS = {"model": "model", "motions": "motions", "side": "side", "steps": "steps"}
SIZE_COLUMNS: Columns = {"psnr": "psnr", "sharpness": "sharpness", "followed": "hit"}


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write evaluation.json, a contact sheet for each scene, and plots; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{**vars(goal), "met": goal.met} for goal in goals(evaluation)]
    content = {"settings": asdict(evaluation.settings), "notices": evaluation.notices, "goals": lines}
    content["summary"] = summary(evaluation)
    for part in PARTS:
        content[part] = [asdict(result) for result in getattr(evaluation, part)]
    (folder / "evaluation.json").write_text(json.dumps(_finite(content), indent=1) + "\n", encoding="utf-8")
    sheets = [
        write_sheet(folder / f"{name}.png", rows)
        for (name,), rows in grouped(evaluation.samples, lambda row: (row.sheet,))
    ]
    return [folder / "evaluation.json", *sheets, *write_plots(evaluation, folder)]


def write_sheet(file: Path, rows: Sequence[SheetRow]) -> Path:
    """Write a contact sheet; returns `file`."""
    pictures = [frame for row in rows for frame in row.frames]
    labels = [label for row in rows for label in row.labels]
    save_png(file, contact_sheet(pictures, len(rows[0].frames), labels=labels), MARKED)
    return file


def _finite(content: Any) -> Any:
    """JSON knows no NaN: null instead."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
