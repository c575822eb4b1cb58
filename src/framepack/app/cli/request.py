"""From the options of a command line to a request: an option holds before a preset, a preset before a video's settings.

Options are made of fields: `with_fields` gives commands those of a request and of the machine.
"""

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framepack.spec.fields import RequestField, fields_of
from framepack.spec.finish import Finish
from framepack.spec.model import Model
from framepack.spec.output import PICTURE
from framepack.spec.picture import EXAMPLE, Picture
from framepack.spec.request import GenerationRequest

if TYPE_CHECKING:
    from framepack.pipeline.presets import Presets

EDITS = (
    "EDITS of a picture, --frame's, --end-frame's and --reference's too, are one or several of "
    + ", ".join(f"{field.name}={field.range}" for field in fields_of(Picture) if not field.required)
    + f", such as 'door.png[{EXAMPLE}]', in quotes. Edges and X/Y are shares of width and height, 0..1."
)
"""The end of `generate`'s help."""
NO_ARGUMENTS: Mapping[str, str] = {}
NOT_PLANNED = (
    *("negative_prompt", "seed", "guidance", "cfg_rescale", "guidance_mode", "nag_tau", "sampler", "cache_threshold"),
    *("output_path", "output_overwrite", "output_crf", "output_fps", "output_live", "output_mark", "output_sign"),
    *("output_quality", "output_bitrate", "work", "verbose"),
    *(f"finish_{name}" for name in Finish.model_fields if name not in ("enlarge", "network")),
)
"""Options of `generate` that have no say in its plan."""
PLAN = "Show how `generate` would run with the same options, and what it would need. Nothing is loaded or downloaded."
"""The help of `plan`."""

Preset = Annotated[
    str | None, typer.Option(help="Name of a preset; its settings hold where nothing else says otherwise.")
]


def presets_of(outputs: Path | None = None) -> "Presets":
    """The presets of an outputs folder, or of the one the environment names."""
    from framepack.app.settings import Settings
    from framepack.pipeline.presets import presets

    return presets(outputs or Settings.from_environment().outputs)


def request_of(
    asked: dict[str, Any], like: Path | None, preset: str | None, timeline: Path | None = None
) -> "GenerationRequest":
    """The request of a command line; what nobody asked for there is the preset's, else as video or timeline had it."""
    if like is not None and timeline is not None:
        raise ValueError("--like and --from-timeline both say what to make: leave one of them out")
    file = timeline or like
    if file is None:
        asked = {"image": "picture", **asked}
        return GenerationRequest.model_validate(asked) if preset is None else presets_of().apply(preset, **asked)
    from framepack.pipeline.like import request_like
    from framepack.pipeline.timelines import request_from_timeline

    if preset is not None:
        print(f"pictures, prompts and seed come from {file}, all other settings from preset {preset}", file=sys.stderr)
        asked = presets_of().resolve({**asked, "preset": preset}, paths=True)
    return (request_like if timeline is None else request_from_timeline)(file, **asked)


def with_fields(
    without: Collection[str] = (), arguments: Mapping[str, str] = NO_ARGUMENTS, **models: type[Model]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command gets options for the fields of models in place of the arguments named here, for typer to see.

    Such an argument is what someone gave of them, as the model has it. without: fields that get no option. arguments:
    what fields that are written without an option are called in the help.
    """
    groups = {
        argument: {
            field.name.replace(".", "_"): field
            for field in fields_of(model)
            if field.name not in without and not field.apart
        }
        for argument, model in models.items()
    }

    def share(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command).parameters
        shown = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        for name, one in own.items():
            if name in groups:
                shown += [parameter(option, field, arguments.get(option)) for option, field in groups[name].items()]
            elif name != "context":
                shown.append(one.replace(kind=one.KEYWORD_ONLY))

        @wraps(command)
        def run(context: typer.Context, **values: Any) -> None:
            mine = {name: value for name, value in {"context": context, **values}.items() if name in own}
            command(**mine, **{argument: asked_of(context, fields) for argument, fields in groups.items()})

        run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in shown} | {"return": None}
        return run

    return share


def parameter(name: str, field: RequestField, called: str | None = None) -> inspect.Parameter:
    """The option of a field; an argument where it must be said, or is `called` something.

    Bounds are shown here and checked by the request.
    """
    text = " ".join([*field.help.split("\n\n"), *["Repeatable."] * field.many])
    default = None if field.follows or field.many else field.default
    kind: Any = list[str] if field.many else field.kind if field.kind in (int, float, bool, Path) else str
    if field.required or called:
        help_ = f"{text} {field.form}, see the end."
        kind, default, said = kind | None, None, typer.Argument(help=help_, metavar=called)
    else:
        kind = kind | None if default is None else kind
        names = [f"{one}/--no{one[1:]}" if default is True else one for one in field.options]
        shown = f"<{field.range}>" if field.bounds.range else field.range or None
        said = typer.Option(*names, help=text, metavar=shown)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, said])


def asked_of(context: typer.Context, fields: Mapping[str, RequestField]) -> dict[str, Any]:
    """What someone gave, as a request has it. ValueError for what cannot be read."""
    from framepack.app.cli.arguments import PARSERS

    asked: dict[str, Any] = {}
    for name, field in fields.items():
        source = context.get_parameter_source(name)
        if source is None or source.name == "DEFAULT":
            continue
        value, parse = context.params[name], PARSERS.get(field.kind, lambda text: text)
        part, _, last = field.name.rpartition(".")
        place = asked.setdefault(part, {}) if part else asked
        place[last] = [parse(one) for one in value] if field.many else parse(value)
    output = asked.get("output", {})
    if output.get("path") and "format" not in output:  # its format holds before that of a preset
        output["format"] = format_named(Path(output["path"]), still=context.info_name == "still")
    return asked


def format_named(path: Path, *, still: bool) -> str:
    """The format that a file's name says. ValueError where it says none, or that of a video for a still."""
    from framepack.media.video import format_of

    if path.suffix.lower() == PICTURE:
        return "png"
    if still:
        raise ValueError(f"a still is one picture, got {path.name}: name a .png, or leave --output out")
    return format_of(path)


def given(context: typer.Context, names: tuple[str, ...]) -> list[str]:
    """The options of these names that someone gave, as they are typed."""
    sources = {name: context.get_parameter_source(name) for name in names}
    typed = {one.name: max(one.opts, key=len) for one in context.command.params}
    return [typed[name] for name, source in sources.items() if source and source.name != "DEFAULT"]
