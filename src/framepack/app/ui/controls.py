"""The table of controls: one for each field of a request, whose range, choices and help are the field's own.

A field needs no row here: it then stands under "Advanced", called as it is named. Pure data. What a widget looks like
is `widgets`, how values become a request is `form`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from framepack.app.ui.kinds import Choice, Column, Number, Picture, Rows, Slide, Switch, Text, Whole, Widget
from framepack.media.video import FORMATS
from framepack.spec.fields import RequestField, fields_of
from framepack.spec.model import Model
from framepack.spec.picture import Picture as PictureOfRequest
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

Place = Literal["picture", "prompt", "along", "video", "advanced"]
Values = Mapping[str, Any]
"""Values of controls by the name of their field."""
CHOSEN_BY_THE_SERVICE = ("output.path", "output.overwrite")
"""Fields without a control."""
FINE, WIDE = 1, 100
"""Numbers that span no more than FINE go by hundredths, others by tenths; beyond WIDE no slider helps."""


def always(values: Values) -> bool:
    """Most controls are always there."""
    return True


@dataclass(frozen=True, kw_only=True)
class Control:
    """One row: the request's field (dots lead inside), what it is called and explained by, and when it is shown."""

    field: str
    label: str
    help: str
    widget: Widget
    place: Place
    shown: Callable[[Values], bool] = always


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the page says of a field beside what the field says of itself."""

    label: str
    place: Place = "advanced"
    shown: Callable[[Values], bool] = always
    more: str = ""
    """Help that only means something on the page."""
    lines: int = 1
    placeholder: str = ""
    add: str = "Add"
    """What the button of a list says."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What the cells of a list are called."""
    begins: float = 0
    """The second that a new row of a list has."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """What choices are called; "" is none of them."""


ROWS = {
    "image": Row(
        label="Picture",
        place="picture",
        more="Several make several videos. Drop a FramePack video here and its settings come back.",
    ),
    "prompt": Row(label="What happens", place="prompt", lines=3, placeholder="The camera pans left."),
    "negative_prompt": Row(
        label="What should not happen",
        place="prompt",
        lines=2,
        placeholder="blurry, shaking camera",
        shown=lambda values: values["cfg"] != 1,
    ),
    "frames": Row(
        label="Keyframes",
        place="along",
        add="Add pictures",
        columns={"image": "Picture", "second": "At second"},
        begins=1.0,
        shown=lambda values: VARIANTS[values["model"]].keyframes_ahead or bool(values["frames"]),
    ),
    "end_frame": Row(
        label="Last picture",
        place="along",
        add="Add the end",
        columns={"image": "Picture"},
        shown=lambda values: VARIANTS[values["model"]].keyframes_ahead or bool(values["end_frame"]),
    ),
    "prompts": Row(
        label="Then",
        place="along",
        add="Add a sentence",
        columns={"second": "From second", "text": "What happens then"},
        begins=1.2,
    ),
    "model": Row(label="Model", place="video", titles={name: f"{name}: {row.title}" for name, row in VARIANTS.items()}),
    "seconds": Row(label="Length in seconds", place="video"),
    "motion": Row(label="Motion", place="video"),
    "consistency": Row(label="Consistency", place="video"),
    "seed": Row(label="Seed", place="video"),
    "steps": Row(label="Steps", place="video"),
    "guidance": Row(label="Guidance", place="video"),
    "resolution": Row(
        label="Resolution", place="video", shown=lambda values: not values["width"] and not values["height"]
    ),
    "width": Row(label="Width", place="video", shown=lambda values: not values["resolution"]),
    "height": Row(label="Height", place="video", shown=lambda values: not values["resolution"]),
    "output.format": Row(
        label="File format",
        place="video",
        more="The page plays them all, and hands out the others as well.",
        titles={name: f"{name}: {row.description}" for name, row in FORMATS.items()},
    ),
    "output.fps": Row(label="Frames a second"),
    "output.crf": Row(label="Compression", shown=lambda values: FORMATS[values["output.format"]].heeds_quality),
    "output.live": Row(label="Show provisional frames early"),
    "output.mark": Row(label="Mark as made by AI"),
    "window": Row(label="Window"),
    "length": Row(
        label="What the length means",
        titles={"": "the model's own", "exact": "to the frame", "sections": "whole sections"},
    ),
    "cfg": Row(label="CFG"),
    "cfg_rescale": Row(label="CFG rescale", shown=lambda values: values["cfg"] != 1),
    "sampler": Row(label="Sampler"),
    "shift": Row(label="Shift"),
    "cache": Row(label="Cache"),
    "cache_threshold": Row(label="Cache threshold", shown=lambda values: values["cache"] != "none"),
    "loras": Row(label="LoRAs", add="Add a LoRA"),
}
"""In the order of the page; fields without a row come after these."""


def controls_of(model: type[Model]) -> tuple[Control, ...]:
    """A control for each field of the model that someone chooses."""
    fields = {one.name: one for one in fields_of(model) if one.name not in CHOSEN_BY_THE_SERVICE}
    order = [*(name for name in ROWS if name in fields), *(name for name in fields if name not in ROWS)]
    return tuple(control_of(fields[name], ROWS.get(name) or Row(label=called(name))) for name in order)


def control_of(one: RequestField, row: Row) -> Control:
    """The control of a field."""
    told = f"{one.summary} {row.more}".strip()
    widget = widget_of(one, row)
    return Control(field=one.name, label=row.label, help=told, widget=widget, place=row.place, shown=row.shown)


def called(name: str) -> str:
    """A field's name as a label."""
    return name.rpartition(".")[2].replace("_", " ").capitalize()


def widget_of(one: RequestField, row: Row) -> Widget:
    """What a field is chosen with, by its type and bounds."""
    if issubclass(one.kind, PictureOfRequest):
        return Picture()
    if issubclass(one.kind, Model):
        return Rows(columns=columns_of(one.kind, row), add=row.add, single=not one.many)
    if one.choices:
        none = ("",) if one.default is None else ()
        return Choice(choices=tuple((row.titles.get(name, name), name) for name in (*none, *one.choices)))
    if one.kind is bool:
        return Switch()
    if one.kind not in (int, float):
        return Text(lines=row.lines, placeholder=row.placeholder)
    low, high = one.usual or one.bounds[:2]
    if one.default is None or high - low > WIDE:
        return Whole(placeholder="auto" if one.default is None else "") if one.kind is int else Number()
    return Slide(low=low, high=high, step=step_of(one, high - low))


def step_of(one: RequestField, span: float) -> float:
    """How far a slider goes at a time."""
    if one.kind is int:
        return 1
    return 0.01 if span <= FINE else 0.1


def columns_of(model: type[Model], row: Row) -> tuple[Column, ...]:
    """The cells of a list's rows."""
    kinds: dict[type, Literal["picture", "number", "text", "lora"]] = {PictureOfRequest: "picture", str: "text"}
    return tuple(
        Column(
            key=one.name,
            label=row.columns.get(one.name, called(one.name)),
            kind="number" if one.kind in (int, float) else kinds.get(one.kind, "lora"),
            start=(row.begins if one.required else one.default) if one.kind in (int, float) else "",
            **({"low": one.bounds.low, "high": one.bounds.high} if one.bounds.range else {}),
            step=0.05 if one.bounds.high < 10 else 0.1,
        )
        for one in fields_of(model)
    )


CONTROLS = controls_of(GenerationRequest)
BY_FIELD = {control.field: control for control in CONTROLS}
