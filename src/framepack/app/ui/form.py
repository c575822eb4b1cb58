"""Converts the controls' values to a request and back, without loss.

Values name images by upload id (see `service.paths`), some with edits. Nothing that a browser sends can name another
file.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from framepack.app.service.paths import find_file, find_lora, from_client
from framepack.app.ui.controls import CONTROLS, Control, Values
from framepack.app.ui.widget_types import Dropdown, Integer, Number, Rows, Slider, Textbox
from framepack.jobs.folders import Folders
from framepack.media.cuts import sizes_of_pngs
from framepack.spec.model import RequestError
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

NO_IMAGE = "Add an image first: drop it into the frame, or paste it."
MODEL_DEFAULTS = ("seconds", "steps")
"""Fields whose default depends on the model."""
MAX_SAFE_INTEGER = 2**53
"""Above this a browser's numbers are no longer exact."""


class FieldError(ValueError):
    """An invalid `field`; "" where several fields do not fit together."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@cache
def defaults() -> dict[str, Any]:
    """The controls' first values: the request's defaults, no size and no image."""
    request = GenerationRequest(image=Picture(file=Path("-")))
    return values_of(request.model_dump(mode="json") | {"image": None, "resolution": None})


def model_default(model: str, field: str) -> Any:
    """The model's own default of a field."""
    return GenerationRequest.own(model)[field]


def values_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The controls' values for a request's JSON as a client sees it. Raises KeyError for a missing field."""
    return {control.field: to_control(control.widget, get_field(request, control.field)) for control in CONTROLS}


def json_of(values: Values) -> dict[str, Any]:
    """The request's JSON for the controls' values, as a client sends it. Nothing is validated."""
    request: dict[str, Any] = {}
    for control in CONTROLS:
        *outer, name = control.field.split(".")
        target = request
        for part in outer:
            target = target.setdefault(part, {})
        target[name] = to_request(control, values)
    return request


def request_of(values: Values, folders: Folders, own: Sequence[Path] = ()) -> GenerationRequest:
    """The validated request. Raises ValueError for what cannot work. own: see `from_client`."""
    if not values["image"]:
        raise FieldError("image", NO_IMAGE)
    for field, text in validation_errors(values).items():
        raise FieldError(field, text)
    return GenerationRequest.model_validate(from_client(json_of(values), folders, own))


def validation_errors(values: Values) -> dict[str, str]:
    """Errors as {field: message}; the field is "" where several do not fit together."""
    if errors := dict(number_errors(values)):
        return errors
    try:
        draft_request(values)
    except RequestError as error:
        fields = [c.field for c in CONTROLS if error.field == c.field or error.field.startswith(f"{c.field}.")]
        return {fields[0] if fields else "": str(error)}
    return {}


def number_errors(values: Values) -> Iterator[tuple[str, str]]:
    """(field, message) for everything typed where a number is needed that is none."""
    for control in CONTROLS:
        value, widget = values[control.field], control.widget
        if isinstance(widget, Rows):
            for index, row in enumerate(value or []):
                for column in widget.columns:
                    cell = row[column.key]
                    if column.kind == "number" and isinstance(cell, str) and not is_empty(cell):
                        name = f"{column.label}, {control.label.lower()} {index + 1}"
                        yield control.field, f"{name} must be a number, got {shorten(cell)}"
        elif isinstance(widget, Integer | Number | Slider) and not is_number(widget, value):
            whole = "whole " * (isinstance(widget, Integer) or is_integer_slider(widget))
            yield control.field, f"{control.label} must be a {whole}number, got {shorten(value)}"


def is_number(widget: Integer | Number | Slider, value: Any) -> bool:
    """Whether it is a number of the control's kind, or empty, which means the default."""
    if is_empty(value):
        return True
    if isinstance(widget, Integer):
        text = str(value).strip()
        return text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 24
    if isinstance(value, str):
        return False
    return not is_integer_slider(widget) or (float(value).is_integer() and abs(value) < MAX_SAFE_INTEGER)


def is_empty(value: object) -> bool:
    """Whether nothing was typed."""
    return value is None or not str(value).strip()


def is_integer_slider(widget: Number | Slider) -> bool:
    """Whether it is a slider of whole numbers."""
    return isinstance(widget, Slider) and widget.step == 1


def shorten(value: object) -> str:
    """What was typed, short enough for a message."""
    if not isinstance(value, str):
        return f"{value:g}"
    return repr(value if len(value) <= 24 else f"{value[:24]}…")


def slider_notes(values: Values) -> dict[str, str]:
    """{field: note} for numbers that the request allows and the slider does not reach."""
    sliders = {control.field: control.widget for control in CONTROLS if isinstance(control.widget, Slider)}
    return {
        field: f"This value is used. It is outside the slider's range of {slider.low:g} to {slider.high:g}."
        for field, slider in sliders.items()
        if isinstance(value := values[field], int | float) and not slider.low <= value <= slider.high
    }


def draft_request(values: Values) -> GenerationRequest:
    """The request, validated without its files."""
    return GenerationRequest.model_validate(json_of(values) | {"image": values["image"] or "-"})


def image_sizes(request: GenerationRequest, folders: Folders) -> dict[str, tuple[int, int]]:
    """Width and height of a draft's images, as far as they are known without decoding."""
    return sizes_of_pngs(request, lambda file: find_file(str(file), (folders.uploads, folders.outputs)))


def restore_values(
    request: Mapping[str, Any], folders: Folders, own: Sequence[Path] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The controls' values for a request from elsewhere, and a message for each file that is missing here.

    own: LoRA files of the job that is edited, see `from_client`. Raises ValueError for settings of no valid request.
    """
    messages: list[str] = []
    image = request.get("image")
    try:
        stored = GenerationRequest.stored(dict(request) | {"image": image or "-"})
    except RequestError as error:
        raise ValueError(f"These settings do not fit this FramePack: {error}") from error
    if stored.task != "image" or stored.motion_mask:
        what = f"the task {stored.task}" if stored.task != "image" else "a motion mask"
        raise ValueError(f"The page has no controls for {what}: use the command line or the HTTP API.")
    values = values_of(stored.model_dump(mode="json") | {"image": image})
    if stored.length == VARIANTS[stored.model].length:
        values["length"] = ""  # the model's own, which follows when another model is chosen
    if stored.resolution == VARIANTS[stored.model].bucket_base:
        values["resolution"] = ""
    values["image"] = existing_image(image, folders, messages) if image else None
    for field in ("frames", "end_frame", "reference"):
        values[field] = [row for row in values[field] if existing_image(row["image"], folders, messages)]
    names = {file.name for file in own}
    loras = values["loras"]
    values["loras"] = [row for row in loras if row["file"] in names or lora_exists(row["file"], folders, messages)]
    return values, messages


def lora_exists(name: str, folders: Folders, messages: list[str]) -> bool:
    """Whether it is among the service's LoRAs. Adds a message where it is not."""
    try:
        find_lora(name, folders)
    except ValueError:
        messages.append(f"The LoRA {name} is not among those of this service. Add it again.")
        return False
    return True


def existing_image(image: Any, folders: Folders, messages: list[str]) -> Any:
    """The image, an upload's id or an object with edits, where its file exists; else None, and a message is added."""
    name = image["file"] if isinstance(image, Mapping) else image
    try:
        find_file(name, (folders.uploads, folders.outputs))
    except ValueError:
        messages.append(f"The image {name} is not on this machine. Add it again.")
        return None
    return image


def get_field(request: Mapping[str, Any], field: str) -> Any:
    """The value of a dotted field."""
    value: Any = request
    for part in field.split("."):
        value = value[part]
    return value


def to_control(widget: object, value: Any) -> Any:
    """A request's value as its control holds it."""
    if isinstance(widget, Rows):
        return ([value] if value else []) if widget.single else list(value)
    if isinstance(widget, Integer):
        return "" if value is None else str(value)
    if isinstance(widget, Dropdown | Textbox):
        return value or ""
    return value


def to_request(control: Control, values: Values) -> Any:
    """A control's value as the request has it. An empty number is its default; what is no number stays as it is."""
    value, widget = values[control.field], control.widget
    if isinstance(widget, Rows):
        rows = [with_defaults(widget, row) for row in value or []]
        return (rows[0] if rows else None) if widget.single else rows
    if isinstance(widget, Integer | Number | Slider):
        if is_empty(value):
            return default_number(control, values)
        return json_number(value) if is_number(widget, value) else value
    if isinstance(widget, Dropdown) or (isinstance(widget, Textbox) and widget.optional):
        return value or None
    return value


def default_number(control: Control, values: Values) -> Any:
    """The value that an empty number stands for."""
    if control.field in MODEL_DEFAULTS:
        return model_default(str(values["model"]), control.field)
    value = defaults()[control.field]
    return None if is_empty(value) else json_number(value)


def json_number(value: Any) -> int | float:
    """A number for JSON: an int where it is whole."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < MAX_SAFE_INTEGER else value
    return int(value)


def with_defaults(widget: Rows, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose empty numbers have a new row's values."""
    usual = {column.key: column.start for column in widget.columns if column.kind == "number"}
    return {key: usual[key] if key in usual and is_empty(value) else value for key, value in row.items()}
