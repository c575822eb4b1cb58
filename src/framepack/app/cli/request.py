"""From the options of a command line to a request: an option holds before a preset, a preset before a video's settings.

`generate`, `plan` and `presets save` have their options from one definition, that of `generate`.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from framepack.pipeline.presets import Presets
    from framepack.spec.request import GenerationRequest

OPTIONS = {"negative_prompt": "negative", "frames": "frame", "prompts": "then", "loras": "lora"}
"""Fields of a request whose option has another name."""
OF_OUTPUT = {"path": "output", "format": "output"}
"""The same for the output's settings."""
EDITS = (
    "EDITS of a picture, --frame's and --end-frame's too, are one or several of rotate=90|180|270, flip=horizontal|"
    "vertical, crop=LEFT/TOP/RIGHT/BOTTOM (shares, 0..1), exposure=STOPS, contrast=1.2, saturation=0.8, fit=crop|pad|"
    "blur and focus=X/Y (what fit crop keeps), such as 'door.png[rotate=90,fit=blur]', in quotes."
)
"""The end of `generate`'s help."""
NOT_PLANNED = (
    *("negative", "seed", "guidance", "cfg_rescale", "sampler", "cache_threshold"),
    *("output", "overwrite", "crf", "fps", "mark", "work"),
)
"""Options of `generate` that have no say in its plan."""
PLAN = "Tell how `generate` with the same options would do it, and what it would take; nothing is loaded or downloaded."
"""The help of `plan`."""
OF_ONE_RUN = (
    *("context", "image", "prompt", "seed", "frame", "end_frame", "then", "output", "overwrite"),
    *("work", "like", "preset", "dtype", "device", "attention", "vram_limit", "ram_limit", "preserve", "vae_tiling"),
    *("models_dir", "revision", "offline"),
)
"""Options of `generate` that no preset keeps: those of one video and those of a machine."""


def presets_of(outputs: Path | None = None) -> "Presets":
    """The presets of an outputs folder, or of the one the environment names."""
    from framepack.app.settings import Settings
    from framepack.pipeline.presets import presets

    return presets(outputs or Settings.from_environment().outputs)


def request_of(context: typer.Context) -> "GenerationRequest":
    """The request of a command line; what nobody gave there is the preset's, else as the video had it, else usual."""
    from framepack.pipeline.like import request_like
    from framepack.spec.request import GenerationRequest

    options, asked = context.params, asked_of(context.params)
    like, preset = options["like"], options["preset"]
    if like is None and preset is None:
        return GenerationRequest.model_validate(asked)
    changes = changes_of(context, asked)
    if like is None:
        return presets_of().apply(preset, **{"image": asked["image"], **changes})
    if preset is not None:
        print(f"pictures, prompts and seed are those of {like}, all else is preset {preset}'s", file=sys.stderr)
        changes = presets_of().resolve({**changes, "preset": preset}, paths=True)
    return request_like(Path(like), **changes)


def asked_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options say, given or not, as fields of a request."""
    from framepack.app.cli import arguments
    from framepack.spec.request import GenerationRequest

    plain = {field: OPTIONS.get(field, field) for field in GenerationRequest.model_fields if field != "output"}
    asked = {field: options[option] for field, option in plain.items() if option in options}
    parsers: dict[str, Callable[[Any], Any]] = {
        "image": lambda text: "picture" if text is None else arguments.picture(text),
        "frames": lambda texts: [arguments.guide_frame(text) for text in texts or ()],
        "end_frame": lambda text: None if text is None else arguments.end_frame(text),
        "prompts": lambda texts: [arguments.timed_prompt(text) for text in texts or ()],
        "loras": lambda texts: [arguments.lora(text) for text in texts or ()],
    }
    asked |= {field: parse(asked[field]) for field, parse in parsers.items() if field in asked}
    file = options.get("output")
    settings = {name: options[name] for name in ("overwrite", "crf", "fps", "mark", "format") if name in options}
    return asked | {"output": arguments.output_settings(Path(file) if file else None, **settings)}


def changes_of(context: typer.Context, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What someone gave, of what the options say."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name != "DEFAULT"}
    changes = {field: value for field, value in asked.items() if OPTIONS.get(field, field) in given}
    output = asked["output"].model_dump()
    named = OF_OUTPUT if "output" in context.params else {}
    return changes | {"output": {key: value for key, value in output.items() if named.get(key, key) in given}}


def sharing_options(command: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A function that takes `**options` gets those options of `command` that a preset can keep, for typer to see."""

    def share(function: Callable[..., None]) -> Callable[..., None]:
        mine = [one for one in inspect.signature(function).parameters.values() if one.kind is not one.VAR_KEYWORD]
        more = [one for one in inspect.signature(command).parameters.values() if one.name not in OF_ONE_RUN]
        parameters = [*mine, *(one.replace(kind=one.KEYWORD_ONLY) for one in more)]
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
        return function

    return share
