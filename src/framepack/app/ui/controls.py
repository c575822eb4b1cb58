"""The table of controls: one for each field of a request, with the field's own range, choices and help.

A field without a row here gets a control under "Advanced", labelled by its name. Pure data: `components` makes widgets
of it, `form` converts values to a request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from framepack.app.ui.widget_types import (
    Checkbox,
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
from framepack.spec.formats import CODECS, FORMATS, Codec, Quality, codec_of
from framepack.spec.model import Model
from framepack.spec.picture import Picture
from framepack.spec.prompt_times import is_timed
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

Place = Literal["image", "prompt", "timeline", "video", "advanced"]
Values = Mapping[str, Any]
"""Values of controls, by field."""
SERVICE_FIELDS = ("output.path", "output.overwrite", "redo", "still")
"""Fields that the service sets, or routes of their own. They have no control."""
ELSEWHERE = ("task", "target", "strength", "motion_mask")
"""Fields of videos that are made on the command line, in Python and over HTTP. They have no control."""
FINE_SPAN, SLIDER_SPAN = 1, 100
"""A slider that spans at most FINE_SPAN has steps of 0.01, others 0.1. Beyond SLIDER_SPAN there is none."""


def always(values: Values) -> bool:
    """The rule of a control that is always visible."""
    return True


def is_compressed(values: Values) -> bool:
    """The rule of a control for codecs that are compressed more or less."""
    form, codec = values["output.format"], values["output.codec"]
    return CODECS[codec if codec in FORMATS[form].codecs else codec_of(form)].crf


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control: the request's field (dotted), its label, help and widget, and when it is visible."""

    field: str
    label: str
    help: str
    widget: Widget
    place: Place
    visible: Callable[[Values], bool] = always


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the page adds to a field's own description."""

    label: str
    place: Place = "advanced"
    visible: Callable[[Values], bool] = always
    extra_help: str = ""
    """Help that is shown on the page only."""
    lines: int = 1
    placeholder: str = ""
    add: str = "Add"
    """Label of the button that adds a row to a list."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Labels of a list's cells."""
    first_second: float = 0
    """Start second of a list's first row."""
    choice_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of choices; "" is none of them."""


OF_FINISHING = "The name of a file in the service's folder outputs/.framepack/finishing."
ROWS = {
    "image": Row(
        label="Image",
        place="image",
        extra_help="Several images make several videos. Drop a FramePack video here to load its settings.",
    ),
    "prompt": Row(label="Prompt", place="prompt", lines=3, placeholder="The camera pans left."),
    "negative_prompt": Row(
        label="Negative prompt",
        place="prompt",
        lines=2,
        placeholder="blurry, shaking camera",
        visible=lambda values: values["cfg"] != 1 or values["nag"] != 1,
    ),
    "frames": Row(
        label="Keyframes",
        place="timeline",
        add="Add images",
        columns={"image": "Image", "second": "At second"},
        first_second=1.0,
        visible=lambda values: VARIANTS[values["model"]].keyframes_ahead or bool(values["frames"]),
    ),
    "end_frame": Row(
        label="End frame",
        place="timeline",
        add="Add an end frame",
        columns={"image": "Image"},
        visible=lambda values: VARIANTS[values["model"]].keyframes_ahead or bool(values["end_frame"]),
    ),
    "reference": Row(
        label="Reference picture", place="timeline", add="Add a reference picture", columns={"image": "Image"}
    ),
    "prompts": Row(
        label="Timed prompts",
        place="timeline",
        add="Add a prompt",
        columns={"second": "From second", "text": "Prompt"},
        first_second=1.2,
    ),
    "blend": Row(
        label="Blend prompts over seconds",
        place="timeline",
        visible=lambda values: bool(values["prompts"]) or is_timed(values["prompt"] or ""),
    ),
    "model": Row(
        label="Model",
        place="video",
        choice_labels={name: f"{name}: {row.title}" for name, row in VARIANTS.items()},
    ),
    "seconds": Row(label="Length in seconds", place="video"),
    "motion": Row(label="Motion", place="video"),
    "consistency": Row(label="Consistency", place="video"),
    "guard": Row(label="Drift guard"),
    "restate": Row(label="Show the nearest picture again every"),
    "seed": Row(label="Seed", place="video"),
    "steps": Row(label="Steps", place="video"),
    "guidance": Row(label="Guidance", place="video"),
    "resolution": Row(
        label="Resolution", place="video", visible=lambda values: not values["width"] and not values["height"]
    ),
    "width": Row(label="Width", place="video", visible=lambda values: not values["resolution"]),
    "height": Row(label="Height", place="video", visible=lambda values: not values["resolution"]),
    "output.format": Row(
        label="File format",
        place="video",
        extra_help="The page plays all of them. You can download the video in the others as well.",
        choice_labels={name: f"{name}: {row.description}" for name, row in FORMATS.items()},
    ),
    "output.codec": Row(
        label="Codec",
        visible=lambda values: len(FORMATS[values["output.format"]].codecs) > 1 or bool(values["output.codec"]),
        choice_labels={"": "the format's usual one", **{name: CODECS[name].title for name in get_args(Codec)}},
    ),
    "output.quality": Row(
        label="Quality",
        choice_labels={"": "as compression says", **{name: name for name in get_args(Quality)}},
    ),
    "output.crf": Row(
        label="Compression",
        visible=lambda values: is_compressed(values) and not values["output.quality"] and not values["output.bitrate"],
    ),
    "output.bitrate": Row(
        label="Bitrate in Mbit/s", visible=lambda values: is_compressed(values) and not values["output.quality"]
    ),
    "output.fps": Row(label="Frames a second"),
    "output.fps_mode": Row(label="Frames between frames"),
    "output.speed": Row(label="Speed"),
    "output.live": Row(label="Show provisional frames early"),
    "output.mark": Row(label="Mark as made by AI"),
    "output.sign": Row(label="Sign with content credentials"),
    "window": Row(label="Window"),
    "length": Row(
        label="What the length means",
        choice_labels={"": "the model's own", "exact": "to the frame", "sections": "whole sections"},
    ),
    "cfg": Row(label="CFG"),
    "cfg_rescale": Row(label="CFG rescale", visible=lambda values: values["cfg"] != 1),
    "guidance_mode": Row(
        label="How CFG guides",
        visible=lambda values: values["cfg"] != 1,
        choice_labels={"cfg": "plain", "zero-star": "CFG-Zero*", "apg": "APG"},
    ),
    "nag": Row(label="NAG"),
    "nag_alpha": Row(label="NAG alpha", visible=lambda values: values["nag"] != 1),
    "nag_tau": Row(label="NAG tau", visible=lambda values: values["nag"] != 1),
    "nag_end": Row(label="NAG end", visible=lambda values: values["nag"] != 1),
    "sampler": Row(label="Sampler"),
    "shift": Row(label="Shift"),
    "cache": Row(label="Cache"),
    "cache_threshold": Row(label="Cache threshold", visible=lambda values: values["cache"] != "none"),
    "loras": Row(label="LoRAs", add="Add a LoRA"),
    "finish.deflicker": Row(label="Deflicker"),
    "finish.denoise": Row(label="Remove noise"),
    "finish.enlarge": Row(label="Enlarge"),
    "finish.network": Row(label="Enlarge with", extra_help=OF_FINISHING),
    "finish.sharpen": Row(label="Sharpen"),
    "finish.exposure": Row(label="Exposure"),
    "finish.contrast": Row(label="Contrast"),
    "finish.saturation": Row(label="Saturation"),
    "finish.warmth": Row(label="Warmth"),
    "finish.lut": Row(label="Colour table", extra_help=OF_FINISHING),
    "finish.grain": Row(label="Film grain"),
    "finish.audio": Row(label="Sound", extra_help=OF_FINISHING),
}
"""In the page's order. Fields without a row come last."""


def controls_of(model: type[Model]) -> tuple[Control, ...]:
    """A control for each field of the model but those that the service sets."""
    fields = {one.name: one for one in fields_of(model) if one.name not in SERVICE_FIELDS + ELSEWHERE}
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
        return Image()
    if issubclass(one.kind, Model):
        return Rows(columns=columns_of(one.kind, row), add=row.add, single=not one.many)
    if one.choices:
        none = ("",) if one.default is None else ()
        return Dropdown(choices=tuple((row.choice_labels.get(name, name), name) for name in (*none, *one.choices)))
    if one.kind is bool:
        return Checkbox()
    if one.kind not in (int, float):
        return Textbox(lines=row.lines, placeholder=row.placeholder, optional=one.default is None)
    low, high = one.usual or one.bounds[:2]
    if one.default is None or high - low > SLIDER_SPAN:
        return Integer(placeholder="auto" if one.default is None else "") if one.kind is int else Number()
    return Slider(low=low, high=high, step=step_of(one, high - low))


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
