"""Between the values of the controls and a request: both ways, without loss.

Values name pictures by upload id (see `app.paths`), some with edits beside it, so nothing a browser sends can name
another file.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from framepack.app.service.paths import find_file, find_lora, from_client
from framepack.app.ui.controls import CONTROLS, Control, Values
from framepack.app.ui.kinds import Choice, Number, Rows, Slide, Whole
from framepack.jobs.folders import Folders
from framepack.media.cuts import sizes_of_pngs
from framepack.spec.model import RequestError
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

NO_PICTURE = "Add a picture first: drop one into the frame, or paste it."
FOLLOWING = ("seconds", "steps")
"""Numbers whose first value is the model's."""
LONG = 2**53
"""From here on a browser's numbers are no longer whole."""


class FieldError(ValueError):
    """A mistake in one `field`; "" where several do not fit together."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@cache
def defaults() -> dict[str, Any]:
    """What the controls show at first: the request's own defaults, no size, and no picture."""
    request = GenerationRequest(image=Picture(file=Path("-")))
    return values_of(request.model_dump(mode="json") | {"image": None, "resolution": None})


def first(model: str, field: str) -> Any:
    """What a number is that follows from the model, until someone chooses."""
    return GenerationRequest.own(model)[field]


def values_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The controls' values for a request's JSON in the form a client sees. Raises KeyError for a missing field."""
    return {control.field: shown(control.widget, inside(request, control.field)) for control in CONTROLS}


def json_of(values: Values) -> dict[str, Any]:
    """The request's JSON of the controls' values, in the form a client sends; nothing is validated."""
    request: dict[str, Any] = {}
    for control in CONTROLS:
        *outer, name = control.field.split(".")
        target = request
        for part in outer:
            target = target.setdefault(part, {})
        target[name] = meant(control, values)
    return request


def request_of(values: Values, folders: Folders, own: Sequence[Path] = ()) -> GenerationRequest:
    """The validated request. ValueError in a sentence for what cannot work. own: see `from_client`."""
    if not values["image"]:
        raise FieldError("image", NO_PICTURE)
    for field, text in findings(values).items():
        raise FieldError(field, text)
    return GenerationRequest.model_validate(from_client(json_of(values), folders, own))


def findings(values: Values) -> dict[str, str]:
    """What cannot work, as {field: sentence}; the field is "" where several do not fit together."""
    if wrong := dict(unreadable(values)):
        return wrong
    try:
        draft(values)
    except RequestError as error:
        fields = [c.field for c in CONTROLS if error.field == c.field or error.field.startswith(f"{c.field}.")]
        return {fields[0] if fields else "": str(error)}
    return {}


def unreadable(values: Values) -> Iterator[tuple[str, str]]:
    """Fields with something else in the place of a number, each with a sentence."""
    for control in CONTROLS:
        value, widget = values[control.field], control.widget
        if isinstance(widget, Rows):
            for index, row in enumerate(value or []):
                for column in widget.columns:
                    if column.kind == "number" and isinstance(row[column.key], str) and not empty(row[column.key]):
                        told = f"{column.label}, {control.label.lower()} {index + 1}"
                        yield control.field, f"{told}: a number is needed, got {clipped(row[column.key])}"
        elif isinstance(widget, Whole | Number | Slide) and not readable(widget, value):
            whole = "whole " * (isinstance(widget, Whole) or whole_steps(widget))
            yield control.field, f"{control.label} must be a {whole}number, got {clipped(value)}"


def readable(widget: Whole | Number | Slide, value: Any) -> bool:
    """Whether it is a number of the control's kind, or nothing, which means the default."""
    if empty(value):
        return True
    if isinstance(widget, Whole):
        text = str(value).strip()
        return text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 24
    if isinstance(value, str):
        return False
    return not whole_steps(widget) or (float(value).is_integer() and abs(value) < LONG)


def empty(value: object) -> bool:
    """Whether nothing was typed."""
    return value is None or not str(value).strip()


def whole_steps(widget: Number | Slide) -> bool:
    """Whether a slider has whole numbers only."""
    return isinstance(widget, Slide) and widget.step == 1


def clipped(value: object) -> str:
    """What was typed, as far as a sentence has room for it."""
    text = value if isinstance(value, str) else f"{value:g}"
    return repr(text if len(text) <= 24 else f"{text[:24]}…") if isinstance(value, str) else text


def beyond(values: Values) -> dict[str, str]:
    """What to know of numbers that the request allows and their slider does not reach."""
    sliders = {control.field: control.widget for control in CONTROLS if isinstance(control.widget, Slide)}
    return {
        field: f"Taken as typed, though the slider goes from {slider.low:g} to {slider.high:g}."
        for field, slider in sliders.items()
        if isinstance(value := values[field], int | float) and not slider.low <= value <= slider.high
    }


def draft(values: Values) -> GenerationRequest:
    """The request as far as it can be told without its files."""
    return GenerationRequest.model_validate(json_of(values) | {"image": values["image"] or "-"})


def sizes(request: GenerationRequest, folders: Folders) -> dict[str, tuple[int, int]]:
    """Width and height of a draft's pictures, as far as they are known without decoding."""
    return sizes_of_pngs(request, lambda file: find_file(str(file), (folders.uploads, folders.outputs)))


def restored(
    request: Mapping[str, Any], folders: Folders, own: Sequence[Path] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The values for settings from elsewhere, and a sentence for each thing that could not be restored.

    own: LoRA files of the job that is edited, see `from_client`. ValueError where they are no request at all.
    """
    said: list[str] = []
    pictures = request.get("image")
    try:
        whole = GenerationRequest.stored(dict(request) | {"image": pictures or "-"})
    except RequestError as error:
        raise ValueError(f"These settings do not fit this FramePack: {error}") from error
    values = values_of(whole.model_dump(mode="json") | {"image": pictures})
    if whole.length == VARIANTS[whole.model].length:
        values["length"] = ""  # the model's own way, which follows when another is chosen
    if whole.resolution == VARIANTS[whole.model].bucket_base:
        values["resolution"] = ""
    values["image"] = here(pictures, folders, said) if pictures else None
    for field in ("frames", "end_frame"):
        values[field] = [row for row in values[field] if here(row["image"], folders, said)]
    kept = {file.name for file in own}
    values["loras"] = [row for row in values["loras"] if row["file"] in kept or lora_here(row["file"], folders, said)]
    return values, said


def lora_here(name: str, folders: Folders, said: list[str]) -> bool:
    """Whether it is among the service's LoRAs; a sentence where it is not."""
    try:
        find_lora(name, folders)
    except ValueError:
        said.append(f"The LoRA {name} is not among those of this service: add it again.")
        return False
    return True


def here(picture: Any, folders: Folders, said: list[str]) -> Any:
    """The picture, where its file is one of ours; None and a sentence otherwise. It may have edits beside its file."""
    name = picture["file"] if isinstance(picture, Mapping) else picture
    try:
        find_file(name, (folders.uploads, folders.outputs))
    except ValueError:
        said.append(f"The picture {name} is not on this machine: add it again.")
        return None
    return picture


def inside(request: Mapping[str, Any], field: str) -> Any:
    """The value at a dotted field."""
    value: Any = request
    for part in field.split("."):
        value = value[part]
    return value


def shown(widget: object, value: Any) -> Any:
    """A field's value as its widget holds it."""
    if isinstance(widget, Rows):
        return ([value] if value else []) if widget.single else list(value)
    if isinstance(widget, Whole):
        return "" if value is None else str(value)
    if isinstance(widget, Choice):
        return value or ""
    return value


def meant(control: Control, values: Values) -> Any:
    """A control's value as the field wants it. An empty number is its default; what is none stays as it is."""
    value, widget = values[control.field], control.widget
    if isinstance(widget, Rows):
        rows = [cells(widget, row) for row in value or []]
        return (rows[0] if rows else None) if widget.single else rows
    if isinstance(widget, Whole | Number | Slide):
        if empty(value):
            return at_first(control, values)
        return plain(value) if readable(widget, value) else value
    if isinstance(widget, Choice):
        return value or None
    return value


def at_first(control: Control, values: Values) -> Any:
    """What an empty number means."""
    if control.field in FOLLOWING:
        return first(str(values["model"]), control.field)
    value = defaults()[control.field]
    return None if empty(value) else plain(value)


def plain(value: Any) -> int | float:
    """A number as JSON has it: whole where it is."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < LONG else value
    return int(value)


def cells(widget: Rows, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose empty numbers are what a new row has."""
    usual = {column.key: column.start for column in widget.columns if column.kind == "number"}
    return {key: usual[key] if key in usual and empty(value) else value for key, value in row.items()}
