"""`framepack eval --control`: measures what the controls do, shows each row, writes tables and plots."""

import tempfile
from pathlib import Path

from rich.console import Console

from framepack.app.settings import Settings as Machine
from framepack.pipeline.load import load
from framepack.training.evaluate.control.bench import Bench, Row
from framepack.training.evaluate.control.parts import Measured, chosen, measure
from framepack.training.evaluate.control.report import goal_table, write_control
from framepack.training.evaluate.results import Settings


def control_command(
    settings: Settings, only: tuple[str, ...], folder: Path, *, device: str, dtype: str, models_dir: Path | None
) -> None:
    """Measure the parts named, or all; the tables are in `folder` afterwards, also of a run that is ended early."""
    chosen(only)
    folder.mkdir(parents=True, exist_ok=True)
    models_dir = models_dir or Machine.from_environment().models_dir
    models = {model: load(model, models_dir=models_dir, dtype=dtype, device=device) for model in settings.models}
    console, measured, files = Console(stderr=True, soft_wrap=True), Measured(), list[Path]()

    def on_row(row: Row) -> None:
        values = "  ".join(f"{name} {value:.3g}" for name, value in row.values.items())
        console.print(f"{row.part}: {row.model}, {row.scene}, {row.case}: {values}", highlight=False, markup=False)

    with tempfile.TemporaryDirectory(prefix="framepack-eval-") as place:
        bench = Bench(settings=settings, models=models, folder=Path(place))
        try:
            measure(bench, only, measured, on_row)
        finally:
            if measured.rows:
                files = write_control(measured, settings, folder)
                console.print(f"tables, rows and plots: {folder}", highlight=False, markup=False)
    print(goal_table(measured.goals))
    print(files[0])
