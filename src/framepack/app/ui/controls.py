"""The table of controls: one for each field of a request, with the field's own range, choices and help.

A field without a row in `control_rows` gets a control under "Advanced", labelled by its name. Pure data: `components`
makes widgets of it, `form` converts values to a request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from framepack.app.ui.control_rows import ROWS, Place, Row, Values, always
from framepack.app.ui.widget_types import (
    Accepted,
    Checkbox,
    Choice,
    Column,
    Dropdown,
    Image,
    Integer,
    Number,
    Rows,
    Slider,
    Textbox,
    Widget,
)
from framepack.spec.fields import RequestField, fields_of
from framepack.spec.model import Model
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS, Task

SERVICE_FIELDS = ("output.path", "output.overwrite", "redo", "still")
"""Fields that the service sets, or routes of their own. They have no control."""
OF_TASKS = ("target", "strength", "motion_mask", "end_frame")
"""Fields that only some tasks use. While their controls are hidden, their values stay in the form and are not used."""
FINE_SPAN, SLIDER_SPAN = 1, 100
"""A slider that spans at most FINE_SPAN has steps of 0.01, others 0.1. Beyond SLIDER_SPAN there is none."""
SOURCES = {"image": "start", "target": "target"}
"""Fields that may be videos, and what their tasks call them."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control: the request's field (dotted), its label, help and widget, and when it is visible."""

    field: str
    label: str
    help: str
    widget: Widget
    place: Place
    visible: Callable[[Values], bool] = always


def controls_of(model: type[Model]) -> tuple[Control, ...]:
    """A control for each field of the model but those that the service sets."""
    fields = {one.name: one for one in fields_of(model) if one.name not in SERVICE_FIELDS}
    order = [*(name for name in ROWS if name in fields), *(name for name in fields if name not in ROWS)]
    return tuple(control_of(fields[name], ROWS.get(name) or Row(label=label_of(name))) for name in order)


def control_of(one: RequestField, row: Row) -> Control:
    """The control of a field."""
    text = f"{one.summary} {row.extra_help}".strip()
    widget = widget_of(one, row)
    return Control(field=one.name, label=row.label, help=text, widget=widget, place=row.place, visible=row.visible)


def label_of(name: str) -> str:
    """A label made of a field's name."""
    return name.rpartition(".")[2].replace("_", " ").capitalize()


def widget_of(one: RequestField, row: Row) -> Widget:
    """The widget for a field's type and bounds."""
    if issubclass(one.kind, Picture):
        accepts: dict[str, Accepted] = {task: accepted(one.name, task) for task in TASKS}
        return Image(accepts=accepts, main=one.required, painted=one.name == "motion_mask")
    if issubclass(one.kind, Model):
        return Rows(columns=columns_of(one.kind, row), add=row.add, single=not one.many)
    if one.choices:
        none = ("",) if one.default is None else ()
        make = Choice if one.name == "task" else Dropdown
        return make(choices=tuple((row.choice_labels.get(name, name), name) for name in (*none, *one.choices)))
    if one.kind is bool:
        return Checkbox()
    if one.kind not in (int, float):
        return Textbox(lines=row.lines, placeholder=row.placeholder, optional=one.default is None)
    low, high = one.usual or one.bounds[:2]
    if one.default is None or high - low > SLIDER_SPAN:
        return Integer(placeholder="auto" if one.default is None else "") if one.kind is int else Number()
    return Slider(low=low, high=high, step=step_of(one, high - low))


def accepted(field: str, task: Task) -> Accepted:
    """What a field of a picture takes for a task."""
    row, key = TASKS[task], SOURCES.get(field)
    if key not in row.clips:
        return "image"
    return "any" if row.pictures else "video"


def step_of(one: RequestField, span: float) -> float:
    """The step of a slider."""
    if one.kind is int:
        return 1
    return 0.01 if span <= FINE_SPAN else 0.1


def columns_of(model: type[Model], row: Row) -> tuple[Column, ...]:
    """The cells of a list's rows."""
    kinds: dict[type, Literal["image", "number", "text", "lora"]] = {Picture: "image", str: "text"}
    return tuple(
        Column(
            key=one.name,
            label=row.columns.get(one.name, label_of(one.name)),
            kind="number" if one.kind in (int, float) else kinds.get(one.kind, "lora"),
            start=(row.first_second if one.required else one.default) if one.kind in (int, float) else "",
            **({"low": one.bounds.low, "high": one.bounds.high} if one.bounds.range else {}),
            step=0.05 if one.bounds.high < 10 else 0.1,
        )
        for one in fields_of(model)
    )


CONTROLS = controls_of(GenerationRequest)
BY_FIELD = {control.field: control for control in CONTROLS}
