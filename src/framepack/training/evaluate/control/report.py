"""What `framepack eval --control` measured: tables in Markdown, JSON, and plots where matplotlib is installed.

Boundary: reads rows, writes files; measures nothing.
"""

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from framepack.training.evaluate.control.bench import Row
from framepack.training.evaluate.control.parts import Measured
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.results import Settings


def write_control(measured: Measured, settings: Settings, folder: Path) -> list[Path]:
    """Write control.json, control.md and the plots; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    goals = [{**vars(goal), "met": goal.met} for goal in measured.goals]
    rows = {part: [asdict(row) for row in found] for part, found in measured.rows.items()}
    content = {"settings": asdict(settings), "machine": machine(), "goals": goals, **rows}
    (folder / "control.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "control.md").write_text(markdown(measured, settings), encoding="utf-8")
    return [folder / "control.json", folder / "control.md", *write_plots(measured, folder)]


def machine() -> str:
    """Where and when."""
    threads = f"{torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else "1 thread"
    return f"{platform.machine()}, {threads}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"


def markdown(measured: Measured, settings: Settings) -> str:
    """The goals, then a table for each part."""
    width, height = settings.size
    pictures = f"{settings.procedural} drawn pictures, {settings.photos} photos"
    head = f"{width} x {height} pixels, {settings.steps} steps, {pictures}; {machine()}."
    parts = [head, goal_table(measured.goals)]
    parts += [f"## {part}\n{table(rows)}" for part, rows in measured.rows.items() if rows]
    return "\n\n".join(parts) + "\n"


def goal_table(goals: Sequence[Goal]) -> str:
    """What was wanted, what was reached."""
    lines = ["| goal | wanted | reached | |", "|---|---|---|---|"]
    for goal in goals:
        wanted = f"at most {goal.wanted:.3g}" if goal.at_most else f"{goal.wanted:.3g}"
        lines.append(f"| {goal.goal} | {wanted} | {goal.reached:.3g} | {'met' if goal.met else 'missed'} |")
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """A line for each model and case, the mean over the scenes."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    lines = [f"| model | | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for (model, case), part in grouped(rows, lambda row: (row.model, row.case)):
        cells = [cell([row.values[name] for row in part if name in row.values]) for name in names]
        lines.append(f"| {model} | {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """Their mean; empty where there are none."""
    return f"{mean(values):.3g}" if values else ""


def write_plots(measured: Measured, folder: Path) -> list[Path]:
    """The guard's course over the sections, keyframes by strength, moments of prompts, NAG; what was measured of it."""
    if not find_spec("matplotlib"):
        return []
    made = []
    for part, draw in PLOTS.items():
        if rows := measured.rows.get(part):
            from matplotlib.figure import Figure

            figure = Figure(figsize=(8, 3.2), layout="constrained")
            draw(figure, rows)
            made.append(folder / f"control-{part}.png")
            figure.savefig(made[-1], dpi=90)
    return made


def by_model(figure: Any, rows: Sequence[Row]) -> list[tuple[Any, list[Row]]]:
    """An axes for each model, and its rows."""
    groups = grouped(rows, lambda row: (row.model,))
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for one, ((model,), _) in zip(axes, groups, strict=True):
        one.set_title(model)
    return [(one, part) for one, (_, part) in zip(axes, groups, strict=True)]


def courses(figure: Any, rows: Sequence[Row]) -> None:
    """How far the mean colour has gone, a line for each strength: the mean over the scenes."""
    for axes, part in by_model(figure, [row for row in rows if row.course]):
        for (case,), found in grouped(part, lambda row: (row.case,)):
            lines = zip(*(row.course for row in found), strict=True)
            axes.plot([mean(values) for values in lines], label=case)
        axes.set(xlabel="sections looked at, as made", ylabel="colour moved, levels")
        axes.legend()


def strengths(figure: Any, rows: Sequence[Row]) -> None:
    """dB by strength, a line for each scene and case."""
    for axes, part in by_model(figure, rows):
        for row in part:
            names = [name for name in row.values if name[0].isdigit()]
            axes.plot([float(name) for name in names], row.course, marker="o", label=f"{row.case}, {row.scene}")
        axes.set(xlabel="strength", ylabel="dB to the picture")
        axes.legend(fontsize="small")


def moments(figure: Any, rows: Sequence[Row]) -> None:
    """When a prompt was asked for, and when it took over."""
    for axes, part in by_model(figure, rows):
        for (pair,), found in grouped(part, lambda row: (row.case.partition(" at ")[0],)):
            asked, seen = ([row.values[name] for row in found] for name in ("asked", "found"))
            axes.plot(asked, seen, "o", label=pair)
        axes.axline((0, 0), slope=1, color="grey", lw=0.8)
        axes.set(xlabel="asked for, s", ylabel="took over, s")
        axes.legend(fontsize="small")


def pairs(figure: Any, rows: Sequence[Row]) -> None:
    """The amplitude of the motion that is not wanted, each way: the mean over the scenes."""
    for axes, part in by_model(figure, rows):
        for (case,), found in grouped(part, lambda row: (row.case.partition(", nag")[0],)):
            ways = grouped(found, lambda row: (row.case.partition(", nag ")[2],))
            fallen = [mean(row.values["unwanted"] for row in of) for _, of in ways]
            axes.plot([way for (way,), _ in ways], fallen, marker="o", label=case)
        axes.set(xlabel="nag", ylabel="amplitude of the one not wanted")
        axes.legend(fontsize="x-small")


PLOTS = {"guard": courses, "keyframes": strengths, "restyle": strengths, "prompts": moments, "nag": pairs}
