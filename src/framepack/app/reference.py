"""docs/reference.md, made of the request's fields: `python -m framepack.app.reference > docs/reference.md`."""

from pathlib import Path

from framepack.spec.fields import RequestField, fields_of
from framepack.spec.finish import FileFinish
from framepack.spec.machine import MachineOptions
from framepack.spec.model import Model
from framepack.spec.output import FileOutput
from framepack.spec.parts import EndFrame, Keyframe, Lora, Redo, Reference, Still, TimedPrompt
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest

HEAD = """# A request's fields

The same in Python, over HTTP, in a batch's tables and as options of `framepack generate`, `plan` and `presets save`. A
dot leads into a part: `output.crf` is a column of a table, and `{"output": {"crf": 20}}` over HTTP. Made by
`make reference`; `tests/app/test_one_field.py` says when it is not current.
"""
MACHINE = """
## The machine

Arguments of `framepack.load`, and options of `framepack generate`, `plan`, `batch` and `serve`; they change nothing of
the video.
"""
FILES = """
## A file that is there

Options of `framepack finish`, arguments of `framepack.finish` and settings of `POST /api/finishings`, where `path` and
`overwrite` are the service's;
`framepack convert` and `framepack.convert` have those of the new file.

### Steps

{steps}
### The new file

{output}"""
PARTS: dict[str, type[Model]] = {
    "A picture": Picture,
    "A keyframe, one of `frames`": Keyframe,
    "The `end_frame`": EndFrame,
    "The `reference`": Reference,
    "A timed prompt, one of `prompts`": TimedPrompt,
    "A LoRA, one of `loras`": Lora,
    "A section made anew, one of `redo`": Redo,
    "A `still`": Still,
}
KINDS: dict[type, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    Path: "file",
    Picture: "picture",
    Keyframe: "keyframe",
    EndFrame: "end frame",
    Reference: "reference picture",
    TimedPrompt: "timed prompt",
    Lora: "LoRA",
    Redo: "redone section",
    Still: "still",
}


def reference(model: type[Model]) -> str:
    """The whole page: the request, then its parts, written in one text on a command line; the machine."""
    parts = (f"\n## {title}\n\n{table(part, options=False)}" for title, part in PARTS.items())
    files = FILES.format(steps=table(FileFinish), output=table(FileOutput))
    return f"{HEAD}\n{table(model)}{''.join(parts)}{files}{MACHINE}\n{table(MachineOptions)}"


def table(model: type[Model], *, options: bool = True) -> str:
    """A row for each field; `options`: with a column for those of the command line."""
    names = ["field", *["option"] * options, "type", "may be", "default", "what it does"]
    rows = [names, ["---"] * len(names), *(cells(field, options=options) for field in fields_of(model))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cells(field: RequestField, *, options: bool) -> list[str]:
    """A field's row."""
    typed = ["" if field.required else " ".join(f"`{option}`" for option in field.options)] if options else []
    kind = KINDS.get(field.kind, field.kind.__name__) + "s" * field.many
    range_ = field.range.replace("|", ", ") if field.choices else field.range and f"`{field.range}`"
    unsaid = "" if field.required or field.follows else written(field.default)
    return [f"`{field.name}`", *typed, kind, range_, unsaid, field.help.replace("\n\n", "<br>")]


def written(value: object) -> str:
    """A default as one writes it; nothing for none."""
    if isinstance(value, tuple):
        return "/".join(map(written, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


if __name__ == "__main__":
    print(reference(GenerationRequest), end="")  # noqa: T201
