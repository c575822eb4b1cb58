"""Several videos at once: pictures, sentences and one field's values become the items of a batch.

Items, grids and their bounds are those of the command line's `batch`. Knows no component.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from framepack.app.service.batches import BatchView, queue_batch
from framepack.app.service.job_service import Service
from framepack.app.service.paths import from_client
from framepack.app.ui import form
from framepack.app.ui.controls import CONTROLS, Control, Values
from framepack.app.ui.kinds import Choice, Number, Slide, Switch, Whole
from framepack.jobs.batch import Item, items_of_prompts, lines_of
from framepack.jobs.grid import Grid, check_batch, parse_grid
from framepack.jobs.job import Job
from framepack.spec.request import GenerationRequest

NOT_ALONE = ("width", "height")
"""Fields that make no grid of their own, as they go together."""
NUMBERS = (Number, Slide, Whole)
SHOWN = 24
"""Characters of a picture's name in a label."""
View = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Many:
    """What makes the videos differ. `pictures` are (upload, name), `prompts` one sentence a line; none: the form's."""

    pictures: tuple[tuple[str, str], ...] = ()
    prompts: str = ""
    field: str = ""
    values: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing makes them differ."""
        return not (self.pictures or self.prompts.strip() or (self.field and self.values.strip()))


def read(event: Mapping[str, Any]) -> Many:
    """What a browser says; ValueError for what is none of it."""
    pictures = event.get("pictures") or []
    if not isinstance(pictures, Sequence) or not all(isinstance(one, Mapping) for one in pictures):
        raise ValueError("the pictures cannot be read: load the page again")
    return Many(
        pictures=tuple((str(one.get("id")), str(one.get("name") or "picture")) for one in pictures),
        prompts=str(event.get("prompts") or ""),
        field=str(event.get("field") or ""),
        values=str(event.get("values") or ""),
    )


def choices() -> list[View]:
    """The fields one can go through, what they are called, and what their values look like."""
    return [
        {"field": control.field, "label": control.label, "hint": hint(control)}
        for control in CONTROLS
        if isinstance(control.widget, (*NUMBERS, Choice, Switch)) and control.field not in NOT_ALONE
    ]


def hint(control: Control) -> str:
    """Values of a field, as an example."""
    match control.widget:
        case Choice(choices=choices):
            return ", ".join(value for _, value in choices if value)
        case Switch():
            return "true, false"
        case Slide() as slide:
            usual, apart = form.defaults()[control.field], (slide.high - slide.low) / 4
            around = (max(slide.low, usual - apart), usual, min(slide.high, usual + apart))
            return ", ".join(f"{round(value / slide.step) * slide.step:g}" for value in around)
        case Whole() if control.field == "seed":
            return "1..4"
    return "numbers, with a comma between them"


def grid_of(many: Many) -> Grid:
    """The field and its values, read as the command line reads them. ValueError for what is none."""
    if not many.field or not many.values.strip():
        return ()
    if many.field not in [choice["field"] for choice in choices()]:
        raise ValueError(f"there is no field called {many.field[:40]!r} to go through")
    values = ",".join(part.strip() for part in many.values.split(",") if part.strip())
    return (parse_grid(f"{many.field}={values}"),)


def items_of(base: Mapping[str, Any], many: Many) -> list[Item]:
    """Each picture with each sentence; the form's own where there are none. ValueError where they are too many."""
    lines = sum(1 for _ in lines_of(many.prompts))
    check_batch([{}], [("picture", [0] * max(len(many.pictures), 1)), ("sentence", [0] * max(lines, 1))])
    items = []
    for number, (upload, name) in enumerate(many.pictures, 1):
        short = Path(name).stem[:SHOWN]
        items.append(Item(data={**base, "image": upload}, label=short, origin=f"picture {number} ({name[:SHOWN]})"))
    items = items or [Item(data=dict(base), label="", origin="")]
    return [said for item in items for said in with_sentences(item, many.prompts)]


def with_sentences(item: Item, prompts: str) -> list[Item]:
    """The item with each of the sentences, or as it is."""
    origin = f"{item.origin}, line" if item.origin else "line"
    said = items_of_prompts(prompts, item.data, origin)
    each = [Item(data=one.data, label=f"{item.label} {one.label}".strip(), origin=one.origin) for one in said]
    return each or [item]


def count(many: Many) -> int:
    """How many videos it makes. ValueError where they are too many, or the values are none."""
    if many.empty:
        return 0
    items, grid = items_of({}, many), grid_of(many)
    check_batch([item.data for item in items], grid)
    return len(items) * prod(len(values) for _, values in grid)


def counted(event: Mapping[str, Any]) -> View:
    """The same for the page: the number, or what is wrong; `asked` is given back."""
    try:
        return {"asked": event.get("asked"), "count": count(read(event)), "wrong": ""}
    except ValueError as error:
        return {"asked": event.get("asked"), "count": 0, "wrong": str(error)}


def make(service: Service, values: Values, many: Many, machine: Mapping[str, Any]) -> list[Job]:
    """Queue them all, or none. ValueError, with its row, for what cannot work."""
    if many.empty:
        raise ValueError("Add pictures, sentences or values first: they are what makes the videos differ.")
    if not values["image"] and not many.pictures:
        raise form.FieldError("image", form.NO_PICTURE)
    for field, text in form.findings(values).items():
        raise form.FieldError(field, text)
    base, folders = form.json_of(values), service.folders

    def request(data: dict[str, Any]) -> GenerationRequest:
        return GenerationRequest.model_validate(from_client(data, folders))

    items = items_of(base, many)
    return queue_batch(service, items[0].data["prompt"] or "batch", items, grid_of(many), request, machine)


def view(batch: BatchView) -> View:
    """A batch as the page shows it."""
    names = {"done": "done", "running": "being made", "queued": "waiting", "paused": "paused", "failed": "failed"}
    names["cancelled"] = "stopped"
    told = [f"{batch.counts[status]} {name}" for status, name in names.items() if batch.counts.get(status)]
    return {
        "name": batch.name,
        "title": batch.title,
        "jobs": batch.jobs,
        "line": ", ".join(told),
        "unfinished": batch.unfinished,
        "percent": round(100 * (batch.jobs - batch.unfinished) / batch.jobs),
        "sheet": batch.sheet,
        "file": f"{batch.name}.sheet.png",
    }
