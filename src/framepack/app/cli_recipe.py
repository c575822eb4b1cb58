"""`framepack train RECIPE` in the terminal: trains a small model from nothing, or goes on with it."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from framepack.app.runtime import choose_device
from framepack.training import recipe as recipe_module
from framepack.training import trainer
from framepack.training.recipe import Recipe

RECIPES = Path(recipe_module.__file__).parent / "recipes"


def recipe_command(name: str, folder: Path, *, minutes: float | None, workers: int, device: str) -> None:
    """Train by the recipe until its last step or for some minutes; `folder/model` is the model as it stands."""
    file = find_recipe(name)
    recipe = Recipe.read(file)
    console = Console(stderr=True)
    console.print(f"{file.stem}: {recipe.schedule.steps} steps into {folder}", highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("drawing pictures, fitting the VAE", total=recipe.schedule.steps)

        def show(line: trainer.Progress) -> None:
            text = f"loss {line.loss:.4f}, {line.samples} samples"
            progress.update(task, completed=line.step, description=text)

        done = trainer.train(
            recipe,
            folder,
            device=choose_device(device),
            seconds=None if minutes is None else 60 * minutes,
            workers=workers,
            on_progress=show,
        )
    rest = recipe.schedule.steps - done
    said = f"{rest} steps are left: the same command goes on" if rest else "done"
    console.print(f"{said}. Try it: framepack generate PICTURE --models-dir {folder / 'model'}", soft_wrap=True)
    print(folder / "model")


def find_recipe(name: str) -> Path:
    """A file, or the name of a recipe in the package; ValueError that lists these."""
    if Path(name).is_file():
        return Path(name)
    bundled = {file.stem: file for file in sorted(RECIPES.glob("*.toml"))}
    if name not in bundled:
        raise ValueError(f"there is no recipe {name!r}: give a .toml file or one of {', '.join(bundled)}")
    return bundled[name]
