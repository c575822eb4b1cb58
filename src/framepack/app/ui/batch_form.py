"""Several videos at once: images, prompts and the values of one field become the items of a batch.

Items, grids and their bounds are those of the command line's `batch`. Knows no component.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from framepack.app.service.batches import BatchView, queue_batch
from framepack.app.service.job_service import Service
from framepack.app.service.kinds import with_usable_files
from framepack.app.service.paths import from_client
from framepack.app.ui import form
from framepack.app.ui.control_rows import Values
from framepack.app.ui.controls import CONTROLS, Control
from framepack.app.ui.widget_types import Checkbox, Dropdown, Integer, Number, Slider
from framepack.jobs.batch import Item, items_of_prompts, lines_of
from framepack.jobs.grid import Grid, check_batch, parse_grid
from framepack.jobs.job import Job
from framepack.spec.request import GenerationRequest

PAIRED_FIELDS = ("width", "height")
"""Fields that make no grid, because they go together."""
NUMBERS = (Number, Slider, Integer)
NAME_LENGTH = 24
"""Characters of an image's name in a label."""
STATUS_LABELS = {
    "done": "done",
    "running": "running",
    "queued": "waiting",
    "paused": "paused",
    "failed": "failed",
    "cancelled": "stopped",
}
View = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BatchForm:
    """What differs between the videos. Without images or prompts, those of the form are used."""

    images: tuple[tuple[str, str], ...] = ()
    """(upload, name) of each."""
    prompts: str = ""
    """One a line."""
    field: str = ""
    values: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.images or self.prompts.strip() or (self.field and self.values.strip()))


def read(event: Mapping[str, Any]) -> BatchForm:
    """The batch form that a browser sent. Raises ValueError for anything else."""
    images = event.get("images") or []
    if not isinstance(images, Sequence) or not all(isinstance(image, Mapping) for image in images):
        raise ValueError("the images cannot be read: reload the page")
    return BatchForm(
        images=tuple((str(image.get("id")), str(image.get("name") or "image")) for image in images),
        prompts=str(event.get("prompts") or ""),
        field=str(event.get("field") or ""),
        values=str(event.get("values") or ""),
    )


def grid_fields() -> list[View]:
    """The fields that a grid can have, with their labels and example values."""
    return [
        {"field": control.field, "label": control.label, "hint": example_values(control)}
        for control in CONTROLS
        if isinstance(control.widget, (*NUMBERS, Dropdown, Checkbox)) and control.field not in PAIRED_FIELDS
    ]


def example_values(control: Control) -> str:
    """Values of a field, as an example."""
    match control.widget:
        case Dropdown(choices=choices):
            return ", ".join(value for _, value in choices if value)
        case Checkbox():
            return "true, false"
        case Slider() as slider:
            usual, apart = form.defaults()[control.field], (slider.high - slider.low) / 4
            values = (max(slider.low, usual - apart), usual, min(slider.high, usual + apart))
            return ", ".join(f"{round(value / slider.step) * slider.step:g}" for value in values)
        case Integer() if control.field == "seed":
            return "1..4"
    return "numbers, separated by commas"


def grid_of(batch: BatchForm) -> Grid:
    """The field and its values, parsed as on the command line. Raises ValueError for invalid ones."""
    if not batch.field or not batch.values.strip():
        return ()
    if batch.field not in [choice["field"] for choice in grid_fields()]:
        raise ValueError(f"there is no field called {batch.field[:40]!r} to go through")
    values = ",".join(part.strip() for part in batch.values.split(",") if part.strip())
    return (parse_grid(f"{batch.field}={values}"),)


def items_of(base: Mapping[str, Any], batch: BatchForm) -> list[Item]:
    """An item for each image with each prompt. Raises ValueError where there are too many."""
    lines = sum(1 for _ in lines_of(batch.prompts))
    check_batch([{}], [("image", [0] * max(len(batch.images), 1)), ("prompt", [0] * max(lines, 1))])
    items = []
    for number, (upload, name) in enumerate(batch.images, 1):
        short = Path(name).stem[:NAME_LENGTH]
        origin = f"image {number} ({name[:NAME_LENGTH]})"
        items.append(Item(data={**base, "image": upload}, label=short, origin=origin))
    items = items or [Item(data=dict(base), label="", origin="")]
    return [prompted for item in items for prompted in with_prompts(item, batch.prompts)]


def with_prompts(item: Item, prompts: str) -> list[Item]:
    """The item with each of the prompts, or unchanged where there are none."""
    origin = f"{item.origin}, line" if item.origin else "line"
    prompted = items_of_prompts(prompts, item.data, origin)
    each = [Item(data=one.data, label=f"{item.label} {one.label}".strip(), origin=one.origin) for one in prompted]
    return each or [item]


def count(batch: BatchForm) -> int:
    """The number of videos. Raises ValueError for too many of them and for invalid values."""
    if batch.empty:
        return 0
    items, grid = items_of({}, batch), grid_of(batch)
    check_batch([item.data for item in items], grid)
    return len(items) * prod(len(values) for _, values in grid)


def count_view(event: Mapping[str, Any]) -> View:
    """The number of videos or the error, as the page shows it. `serial` says which question this answers."""
    try:
        return {"serial": event.get("serial"), "count": count(read(event)), "error": ""}
    except ValueError as error:
        return {"serial": event.get("serial"), "count": 0, "error": str(error)}


def submit(service: Service, values: Values, batch: BatchForm, machine: Mapping[str, Any]) -> list[Job]:
    """Queue all videos, or none. Raises ValueError for an invalid one, with its row."""
    if batch.empty:
        raise ValueError("Add images, prompts or values first: the videos differ by them.")
    first = {**values, "image": batch.images[0][0] if batch.images else values["image"]}
    form.require_files(first)
    for field, message in form.validation_errors(first).items():
        raise form.FieldError(field, message)
    base, folders = form.json_of(values), service.folders

    def request(data: dict[str, Any]) -> GenerationRequest:
        return with_usable_files(GenerationRequest.model_validate(from_client(data, folders)), folders)

    items = items_of(base, batch)
    return queue_batch(service, items[0].data["prompt"] or "batch", items, grid_of(batch), request, machine)


def batch_view(batch: BatchView) -> View:
    """A batch as the page shows it."""
    counts = [f"{batch.counts[status]} {label}" for status, label in STATUS_LABELS.items() if batch.counts.get(status)]
    return {
        "name": batch.name,
        "title": batch.title,
        "jobs": batch.jobs,
        "line": ", ".join(counts),
        "unfinished": batch.unfinished,
        "percent": round(100 * (batch.jobs - batch.unfinished) / batch.jobs),
        "sheet": batch.sheet,
        "file": f"{batch.name}.sheet.png",
    }
