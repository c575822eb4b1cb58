"""What the page adds to the description that each field of a request has of itself: label, place, when it is shown.

Pure data. `controls` makes the table of controls of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from framepack.spec.formats import CODECS, FORMATS, Codec, Quality, codec_of
from framepack.spec.prompt_times import is_timed
from framepack.spec.tasks import TASKS
from framepack.spec.variants import VARIANTS

Place = Literal["image", "prompt", "timeline", "video", "advanced"]
Values = Mapping[str, Any]
"""Values of controls, by field."""


def always(values: Values) -> bool:
    """The rule of a control that is always visible."""
    return True


def is_compressed(values: Values) -> bool:
    """The rule of a control for codecs that are compressed more or less."""
    form, codec = values["output.format"], values["output.codec"]
    return CODECS[codec if codec in FORMATS[form].codecs else codec_of(form)].crf


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
    "task": Row(label="What is made", place="image", choice_labels={name: row.made for name, row in TASKS.items()}),
    "image": Row(
        label="Image",
        place="image",
        extra_help="Several images make several videos. Drop a FramePack video here to load its settings.",
    ),
    "target": Row(label="Target", place="image", visible=lambda values: values["task"] == "bridge"),
    "strength": Row(label="Strength", place="image", visible=lambda values: values["task"] == "restyle"),
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
        visible=lambda values: (
            not TASKS[values["task"]].ends and (VARIANTS[values["model"]].keyframes_ahead or bool(values["end_frame"]))
        ),
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
    "motion_mask": Row(label="Motion mask", place="timeline", visible=lambda values: values["task"] != "bridge"),
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
