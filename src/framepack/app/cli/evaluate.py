"""`framepack eval`: runs an evaluation in the terminal, shows its tables, writes its files."""

import math
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from framepack.app.settings import Settings as Machine
from framepack.pipeline.load import load
from framepack.spec.variants import VARIANTS
from framepack.training.data.motions import SPRITE_MOTIONS
from framepack.training.evaluate.controls import SWEEPS
from framepack.training.evaluate.goals import Goal, goals
from framepack.training.evaluate.pipeline import pipeline_generator, pipeline_reconstruct
from framepack.training.evaluate.prompts import PARAPHRASES, UNKNOWN
from framepack.training.evaluate.report import summary, write_report
from framepack.training.evaluate.results import PARTS, Evaluation, MotionResult, Result, Settings
from framepack.training.evaluate.run import evaluate
from framepack.training.evaluate.scenes import photo_files

TITLES = {
    "following": "prompt following",
    "motions": "by motion",
    "sprites": "cut-outs that move over the scene",
    "sprite motions": "by motion of the cut-out",
    "keyframes": "key frames, dB at their time",
    "drift": "drift, |M(first 15%) - M(last 15%)|",
    "slope": "change a section (least squares)",
    "nearness": "dB to the true video, section by section",
    "codec": "the VAE alone",
    "controls": "what --motion and --consistency do",
    "sizes": "by size and steps",
    "words": "paraphrases",
    "unknown": "sentences that ask for nothing known",
}
CAPTIONS = {
    "following": "gain: dB over a video that stands still; sharpness: of the truth's, and of what the VAE keeps",
    "unknown": "followed: whole, the last frame within 26 dB of the start, a gain and an offset for each colour aside",
    "codec": "dB that encoding and decoding leave; sharpness: of the true clip's",
    "controls": "amplitude: of the best-fitting true motion; psnr: dB to it; end to start: dB, the motion undone",
}
PIPED_WIDTH = 130
"""Columns of the tables where nobody says how wide the page is: none is cut."""
SHARES = ("followed", "sharpness", "of the bound", "sharpness loss")


def evaluate_command(settings: Settings, folder: Path, *, device: str, dtype: str, models_dir: Path | None) -> None:
    """Evaluate and show; the numbers are in `folder` afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):  # a folder that cannot be written to is reported before the work
        pass
    models_dir = models_dir or Machine.from_environment().models_dir
    framepacks = {model: load(model, models_dir=models_dir, dtype=dtype, device=device) for model in settings.models}
    generate = pipeline_generator(framepacks, settings)
    reconstruct = pipeline_reconstruct(framepacks[settings.models[0]])
    console, result = Console(stderr=True), Evaluation(settings=settings)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("evaluating", total=expected_rows(settings))

        def on_result(part: str, result: Result) -> None:
            shown = f"{result.motion} -> {result.nearest}" if isinstance(result, MotionResult) else part
            progress.update(task, advance=1, description=f"{result.kind}: {shown}")

        try:
            evaluate(settings, generate, reconstruct, on_result=on_result, into=result)
        except BaseException:
            if any(getattr(result, part) for part in PARTS):
                write_report(result, folder)
                console.print(f"the results so far are in {folder}", highlight=False, markup=False, soft_wrap=True)
            raise
    for notice in result.notices:
        console.print(f"[yellow]note:[/] {escape(notice)}", highlight=False, soft_wrap=True)
    files = write_report(result, folder)
    shown = Console(soft_wrap=True)
    if not shown.is_terminal:
        shown.width = PIPED_WIDTH
    for part, lines in summary(result).items():
        if lines:
            shown.print(table(TITLES[part], lines, shares=part not in ("drift", "slope")))
            shown.print(CAPTIONS.get(part, ""))
    reached = goals(result)
    if reached:
        shown.print(goal_table(reached))
    print(files[0])


def expected_rows(settings: Settings) -> int:
    """Results to come, where all photos are there."""
    scenes = settings.procedural + settings.photos
    drifting = min(settings.procedural, settings.drift_scenes) + min(settings.photos, settings.drift_scenes)
    asked = len(settings.motions) * len(settings.models)
    orders = len({VARIANTS[model].planner for model in settings.models}) + 2
    counts = {
        "codec": settings.procedural + (len(photo_files()) if settings.photos else 0),
        "following": scenes * asked,
        "sprites": settings.procedural * len(SPRITE_MOTIONS) * len(settings.models),
        "keyframes": 2 * scenes * len(settings.inverted),
        "drift": drifting * len(settings.drifting) * orders,
        "controls": scenes * len(settings.models) * len(settings.steered) * sum(map(len, SWEEPS.values())),
        "words": len(settings.models) * sum(map(len, PARAPHRASES.values())),
        "unknown": len(settings.models) * len(UNKNOWN),
        "sizes": settings.photos * asked * len(settings.sides) * len(settings.step_counts),
    }
    return sum(counts[part] for part in settings.parts)


def table(title: str, lines: list[dict[str, str | int | float]], *, shares: bool = True) -> Table:
    """Lines of equal keys as a table: shares in percent, other numbers with two decimals."""
    made = Table(title=title, title_justify="left")
    for name, value in lines[0].items():
        made.add_column(name, justify="left" if isinstance(value, str) else "right")
    for line in lines:
        made.add_row(*(cell(value, share=is_share(name, shares)) for name, value in line.items()))
    return made


def goal_table(reached: list[Goal]) -> Table:
    """What was wanted, what was reached."""
    made = Table("goal", title="goals of the bundled model", title_justify="left")
    for name in ("wanted", "reached", ""):
        made.add_column(name, justify="right")
    for goal in reached:
        most = "at most " if goal.at_most else ""
        share = "dB" not in goal.goal
        wanted, got = (cell(value, share=share) for value in (goal.wanted, goal.reached))
        made.add_row(goal.goal, most + wanted, got, "[green]met[/]" if goal.met else "[yellow]not yet[/]")
    return made


def is_share(name: str, shares: bool) -> bool:
    """Whether a column is in percent; drift's own "sharpness" is not."""
    return name in SHARES and (shares or name == "sharpness loss")


def cell(value: str | int | float, *, share: bool) -> str:
    """One number as text."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.0%}" if share else f"{value:.2f}"
    return str(value)
