"""`framepack train RECIPE` in the terminal: trains a small model from nothing or from another, or goes on with it."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from framepack.files.assets import BUNDLED
from framepack.pipeline.device import choose_device
from framepack.training.allocator import keep_freed_memory
from framepack.training.data.sample_recipe import SampleMetrics
from framepack.training.replicas import rank
from framepack.training.transformer import trainer
from framepack.training.transformer.recipe import Recipe
from framepack.training.vae.train import VaeProgress

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


SHOWN_SAMPLES = 6


def recipe_command(
    name: str,
    folder: Path,
    *,
    minutes: float | None,
    sample_minutes: float | None,
    start: Path | None,
    workers: int,
    compiled: bool,
    device: str,
) -> None:
    """Train by the recipe until its last step or for some minutes; `folder/model` is the model as it stands.

    Of the processes that torchrun started, the first one speaks.
    """
    file = find_recipe(name)
    recipe = Recipe.read(file)
    if sample_minutes is not None:
        recipe = replace(recipe, samples=replace(recipe.samples, minutes=sample_minutes))
    keep_freed_memory()
    console = Console(stderr=True, quiet=rank() > 0)
    console.print(
        f"{file.stem}: {recipe.schedule.steps} steps into {folder}", highlight=False, markup=False, soft_wrap=True
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console)
    task = progress.add_task("drawing pictures, fitting the VAE", total=recipe.vae.steps)
    sampled: list[SampleMetrics] = []
    with Live(progress, console=console) as live:

        def show(line: VaeProgress | trainer.Progress | SampleMetrics) -> None:
            if isinstance(line, VaeProgress):
                progress.update(task, completed=line.step, description=f"VAE {line.psnr:.1f} dB")
            elif isinstance(line, SampleMetrics):
                sampled.append(line)
                live.update(Group(progress, sample_table(sampled[-SHOWN_SAMPLES:], folder)))
            else:
                text = f"loss {line.loss:.4f}, {line.samples} samples"
                progress.update(task, completed=line.step, total=recipe.schedule.steps, description=text)

        done = trainer.train(
            recipe,
            folder,
            device=choose_device(device),
            seconds=None if minutes is None else 60 * minutes,
            workers=workers,
            compiled=compiled,
            start=find_start(start),
            on_progress=show,
        )
    say_end(done, recipe.schedule.steps, folder, console)


def say_end(done: int, steps: int, folder: Path, console: Console) -> None:
    """How far the training is, and what to do next."""
    if not done:
        console.print("The VAE is not ready yet: the same command goes on with it", soft_wrap=True)
        return
    rest = max(0, steps - done)
    said = f"{rest} steps are left: the same command goes on" if rest else "done"
    console.print(
        f"{said}. Try it: framepack generate PICTURE --models-dir {folder / 'model'}", markup=False, soft_wrap=True
    )
    if not rank():
        print(folder / "model")


def sample_table(rows: list[SampleMetrics], folder: Path) -> Table:
    """The last samplings, and where their videos are."""
    table = Table(title=f"sample videos in {escape(str(folder / 'samples'))}", title_justify="left")
    for name in ("step", "prompts followed", "PSNR", "over a still picture"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(str(row.step), f"{row.followed:.0%}", f"{row.psnr:.1f} dB", f"{row.gain:+.1f} dB")
    return table


def find_start(folder: Path | None) -> Path | None:
    """The folder of the model to begin with; `mini`, where no such folder is, names the bundled one."""
    bundled = folder is not None and folder == Path("mini") and not folder.is_dir()
    return BUNDLED / "mini" if bundled else folder


def find_recipe(name: str) -> Path:
    """A file, or the name of a recipe in the package; ValueError that lists these."""
    if Path(name).is_file():
        return Path(name)
    bundled = {file.stem: file for file in sorted(RECIPES.glob("*.toml"))}
    if name not in bundled:
        raise ValueError(f"there is no recipe {name!r}: give a .toml file or one of {', '.join(bundled)}")
    return bundled[name]
