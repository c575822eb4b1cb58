"""The table of controls: one row for each field of a request. A new field of a request is one new row here.

Pure data. What a widget looks like is `widgets`, how values become a request is `form`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from framepack.app.ui.kinds import Choice, Column, Number, Picture, Rows, Slide, Switch, Text, Whole, Widget
from framepack.media.video import FORMATS
from framepack.spec.variants import VARIANTS

Place = Literal["picture", "prompt", "along", "video", "advanced"]
Values = Mapping[str, Any]
"""Values of controls by the name of their field."""


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


STRENGTH = Column(key="strength", label="Strength", kind="number", start=1, high=1, step=0.05)

CONTROLS: tuple[Control, ...] = (
    Control(
        field="image",
        label="Picture",
        help="The video starts with this picture; several make several videos. Drop a FramePack video here and its "
        "settings come back.",
        widget=Picture(),
        place="picture",
    ),
    Control(
        field="prompt",
        label="What happens",
        help="One sentence about the movement works best; what the picture shows need not be said.",
        widget=Text(lines=3, placeholder="The camera pans left."),
        place="prompt",
    ),
    Control(
        field="negative_prompt",
        label="What should not happen",
        help="Used because cfg is not 1.",
        widget=Text(lines=2, placeholder="blurry, shaking camera"),
        place="prompt",
        shown=lambda values: values["cfg"] != 1,
    ),
    Control(
        field="frames",
        label="Pictures on the way",
        help="The video passes through each of these at its time. Strength 1 holds it fully, 0 leaves it out.",
        widget=Rows(
            columns=(
                Column(key="image", label="Picture", kind="picture"),
                Column(key="second", label="At second", kind="number", start=1.0, low=0.1),
                STRENGTH,
            ),
            add="Add pictures",
        ),
        place="along",
        shown=lambda values: VARIANTS[values["model"]].guides_ahead or bool(values["frames"]),
    ),
    Control(
        field="end_frame",
        label="Last picture",
        help="The video ends on this one.",
        widget=Rows(
            columns=(Column(key="image", label="Picture", kind="picture"), STRENGTH), add="Add the end", single=True
        ),
        place="along",
        shown=lambda values: VARIANTS[values["model"]].guides_ahead or bool(values["end_frame"]),
    ),
    Control(
        field="prompts",
        label="Then",
        help="From its second on, a sentence replaces the one above.",
        widget=Rows(
            columns=(
                Column(key="second", label="From second", kind="number", start=1.2),
                Column(key="text", label="What happens then", kind="text"),
            ),
            add="Add a sentence",
        ),
        place="along",
    ),
    Control(
        field="model",
        label="Model",
        help="The mini models come with FramePack and run anywhere; the others have 13 billion parameters, and their "
        "weights' licence does not apply in the EU, the UK and South Korea.",
        widget=Choice(choices=tuple((f"{row.name}: {row.title}", row.name) for row in VARIANTS.values())),
        place="video",
    ),
    Control(
        field="seconds",
        label="Length in seconds",
        help="To the frame with the mini models, rounded to whole sections with the others.",
        widget=Slide(low=1, high=60, step=0.1),
        place="video",
    ),
    Control(
        field="motion",
        label="Motion",
        help="0 is the model's own; less is calmer, more moves farther. Measured on mini, not tried on 13 B.",
        widget=Slide(low=-1, high=1, step=0.1),
        place="video",
    ),
    Control(
        field="consistency",
        label="Consistency",
        help="1 is the model's own; more holds closer to the start picture. Measured on mini, not tried on 13 B.",
        widget=Slide(low=0, high=2, step=0.1),
        place="video",
    ),
    Control(
        field="seed",
        label="Seed",
        help="The same one gives the same video.",
        widget=Whole(),
        place="video",
    ),
    Control(
        field="steps",
        label="Steps",
        help="Denoising steps a section: more are finer and slower.",
        widget=Slide(low=1, high=60, step=1),
        place="video",
    ),
    Control(
        field="guidance",
        label="Guidance",
        help="How closely the video follows the sentence; costs no time.",
        widget=Slide(low=0, high=32, step=0.1),
        place="video",
    ),
    Control(
        field="resolution",
        label="Resolution",
        help="As a square's side.",
        widget=Whole(placeholder="auto"),
        place="video",
        shown=lambda values: not values["width"] and not values["height"],
    ),
    Control(
        field="width",
        label="Width",
        help="A multiple of 16.",
        widget=Whole(placeholder="auto"),
        place="video",
        shown=lambda values: not values["resolution"],
    ),
    Control(
        field="height",
        label="Height",
        help="A multiple of 16.",
        widget=Whole(placeholder="auto"),
        place="video",
        shown=lambda values: not values["resolution"],
    ),
    Control(
        field="output.format",
        label="File format",
        help="Of the file to keep. The page plays them all, and hands out the others as well.",
        widget=Choice(choices=tuple((f"{name}: {row.description}", name) for name, row in FORMATS.items())),
        place="video",
    ),
    Control(
        field="output.fps",
        label="Frames a second",
        help="The model thinks in 30; other rates are computed from it.",
        widget=Number(),
        place="advanced",
    ),
    Control(
        field="output.crf",
        label="Compression",
        help="Smaller looks better and makes a larger file; 16 is hard to tell from perfect.",
        widget=Slide(low=1, high=51, step=1),
        place="advanced",
        shown=lambda values: FORMATS[values["output.format"]].heeds_quality,
    ),
    Control(
        field="output.live",
        label="Show unsettled frames early",
        help="Also plays frames that the next section still blends with its own.",
        widget=Switch(),
        place="advanced",
    ),
    Control(
        field="output.mark",
        label="Mark as made by AI",
        help="Says so inside the file, for programs and for people. In the EU that is a duty.",
        widget=Switch(),
        place="advanced",
    ),
    Control(
        field="window",
        label="Window",
        help="Latents a section. The published models were trained with 9.",
        widget=Slide(low=1, high=33, step=1),
        place="advanced",
    ),
    Control(
        field="length",
        label="What the length means",
        help="The model's own way, the seconds to the frame, or whole sections as the published application has it.",
        widget=Choice(choices=(("the model's own", ""), ("to the frame", "exact"), ("whole sections", "sections"))),
        place="advanced",
    ),
    Control(
        field="cfg",
        label="CFG",
        help="Any value but 1 uses the negative sentence too and doubles the time.",
        widget=Slide(low=0, high=10, step=0.1),
        place="advanced",
    ),
    Control(
        field="cfg_rescale",
        label="CFG rescale",
        help="Draws the contrast back that a high CFG adds.",
        widget=Slide(low=0, high=1, step=0.01),
        place="advanced",
        shown=lambda values: values["cfg"] != 1,
    ),
    Control(
        field="sampler",
        label="Sampler",
        help="How noise becomes a video; unipc is what the published system uses.",
        widget=Choice(choices=tuple((name, name) for name in ("unipc", "unipc-bh2", "dpm++2m", "euler"))),
        place="advanced",
    ),
    Control(
        field="shift",
        label="Shift",
        help="How far the steps lean towards noise; empty goes by the size. Few-step LoRAs want 15 to 17.",
        widget=Number(),
        place="advanced",
    ),
    Control(
        field="cache",
        label="Cache",
        help="Skips work that hardly changes: up to twice as fast, slightly different, hands suffer first.",
        widget=Choice(choices=(("none", "none"), ("teacache", "teacache"), ("first-block", "first-block"))),
        place="advanced",
    ),
    Control(
        field="cache_threshold",
        label="Cache threshold",
        help="How much change it lets pass: more is faster and rougher.",
        widget=Slide(low=0, high=1, step=0.01),
        place="advanced",
        shown=lambda values: values["cache"] != "none",
    ),
    Control(
        field="loras",
        label="LoRAs",
        help="Styles and movements learned on top of a model; they have to be made for the one chosen above.",
        widget=Rows(
            columns=(
                Column(key="file", label="File", kind="lora"),
                Column(key="strength", label="Strength", kind="number", start=1, low=-4, high=4, step=0.05),
            ),
            add="Add a LoRA",
        ),
        place="advanced",
    ),
)
BY_FIELD = {control.field: control for control in CONTROLS}
