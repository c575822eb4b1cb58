"""Converts the controls' values to a request and back, without loss.

Values name images by upload id (see `service.paths`), some with edits. Nothing that a browser sends can name another
file.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from framepack.app.service.paths import find_file, from_client
from framepack.app.ui.control_rows import Values
from framepack.app.ui.controls import BY_FIELD, CONTROLS, OF_TASKS, SOURCES, Control
from framepack.app.ui.widget_types import Choice, Dropdown, Image, Integer, Number, Rows, Slider, Textbox
from framepack.jobs.folders import Folders
from framepack.media.cuts import sizes_of_pngs
from framepack.spec.model import RequestError
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS

NO_FILE = {
    "image": "Add an image first: drop it into the frame, or paste it.",
    "video": "Add a video first: drop it into the frame.",
    "any": "Add a video or an image first: drop it into the frame.",
}
NO_TARGET = "Add the target first, a video or an image: it is what the bridge leads to."
IMAGES = tuple(control.field for control in CONTROLS if isinstance(control.widget, Image))
"""Fields that are one image or video."""
STILLS, MOVING = (".png", ".jpg", ".jpeg", ".bmp", ".heic", ".avif"), (".mp4", ".mov", ".mkv", ".webm", ".avi", ".zip")
"""Files that are surely images or videos. Uploads are among these, since the service names them by their content."""
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
    """The request's JSON for the controls' values, as a client sends it. Nothing is validated.

    What the chosen task does not use is as if it had never been touched.
    """
    request: dict[str, Any] = {}
    values = {**values, **{field: defaults()[field] for field in OF_TASKS if not is_used(field, values)}}
    for control in CONTROLS:
        *outer, name = control.field.split(".")
        target = request
        for part in outer:
            target = target.setdefault(part, {})
        target[name] = to_request(control, values)
    return request


def request_of(values: Values, folders: Folders, own: Sequence[Path] = ()) -> GenerationRequest:
    """The validated request. Raises ValueError for what cannot work. own: see `from_client`."""
    require_files(values)
    for field, text in validation_errors(values).items():
        raise FieldError(field, text)
    return GenerationRequest.model_validate(from_client(json_of(values), folders, own))


def is_used(field: str, values: Values) -> bool:
    """Whether the form's control is shown, with all that it depends on."""
    return BY_FIELD[field].visible(values)


def require_files(values: Values) -> None:
    """Raises FieldError for an image, video or target that is missing."""
    if not values["image"]:
        raise FieldError("image", NO_FILE[accepted_by("image", values)])
    if values["task"] == "bridge" and not values["target"]:
        raise FieldError("target", NO_TARGET)


def accepted_by(field: str, values: Values) -> str:
    """What a field of an image takes for the form's task."""
    widget = BY_FIELD[field].widget
    assert isinstance(widget, Image)
    return widget.accepts[str(values["task"])]


def kind_errors(values: Values) -> Iterator[tuple[str, str]]:
    """(field, message) for each image where the task needs a video, and for each video where it needs an image."""
    title = TASKS[values["task"]].title
    for field in SOURCES:
        if not values[field] or not is_used(field, values):
            continue
        suffix, wanted = Path(file_of(values[field])).suffix.lower(), accepted_by(field, values)
        if wanted == "video" and suffix in STILLS:
            yield field, f"{title} needs a video, and this is an image: choose a video, or make something else"
        if wanted == "image" and suffix in MOVING:
            yield field, f"{title} needs an image, and this is a video: choose an image, or make something else"


def file_of(image: Any) -> str:
    """The name of an image's file, with edits or without."""
    return str(image["file"] if isinstance(image, Mapping) else image)


def validation_errors(values: Values) -> dict[str, str]:
    """Errors as {field: message}; the field is "" where several do not fit together."""
    if errors := dict(number_errors(values)) or dict(kind_errors(values)):
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
    """The request, validated without its files. Those that are missing count as given."""
    request = json_of(values) | {"image": values["image"] or "-"}
    if values["task"] == "bridge":
        request["target"] = values["target"] or "-"
    return GenerationRequest.model_validate(request)


def image_sizes(request: GenerationRequest, folders: Folders) -> dict[str, tuple[int, int]]:
    """Width and height of a draft's images, as far as they are known without decoding."""
    return sizes_of_pngs(request, lambda file: find_file(str(file), (folders.uploads, folders.outputs)))


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
    if isinstance(widget, Dropdown | Choice) or (isinstance(widget, Textbox) and widget.optional):
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
