"""What a request's fields say of themselves, read off the model: command line, page and docs are made of it.

Plain data. `option` is what a field adds for command lines and pages to its type, bounds, default and docstring.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from framepack.spec.model import Model
from framepack.spec.rules import Bounds, bounds

MANY = 1e9
"""A bound from here on is technical, and not shown to people."""


def option(
    *names: str,
    form: str = "",
    usual: tuple[float, float] | None = None,
    follows: bool = False,
    apart: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """For a field's `json_schema_extra`.

    names: the option, where it is not the field's own name. form: how a part is written in one text, such as
    FILE[:STRENGTH]. usual: where a slider ends, closer together than the bounds. follows: without it another field
    decides. apart: commands and routes of its own set it, so `generate` has no option and the page no control. more: as
    in a JSON schema.
    """
    said = {"x-option": list(names), "x-form": form, "x-usual": usual and list(usual)}
    said |= {"x-follows": follows, "x-apart": apart}
    return {key: value for key, value in said.items() if value} | more


@dataclass(frozen=True, kw_only=True)
class RequestField:
    """One field; a dot in its name leads into a part, such as output.crf."""

    name: str
    kind: type
    """int, float, bool, str, Path or a Model: of the value, or of each entry where there are `many`."""
    many: bool
    required: bool
    default: Any
    help: str
    """Its docstring, paragraphs in a line each."""
    bounds: Bounds
    choices: tuple[str, ...]
    options: tuple[str, ...]
    form: str
    usual: tuple[float, float] | None
    follows: bool
    apart: bool
    """Commands of its own set it."""

    @property
    def summary(self) -> str:
        """The first paragraph of its help."""
        return self.help.partition("\n\n")[0]

    @property
    def range(self) -> str:
        """What it may be, in a word: its written form, bounds or choices."""
        known = self.bounds if self.bounds.high < MANY else self.bounds._replace(high=math.inf)
        return self.form or known.range or "|".join(self.choices)


def fields_of(model: type[Model], before: str = "") -> Iterator[RequestField]:
    """All fields of a model, those of a part that has no written form in its place."""
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        kinds = [kind for kind in kinds_of(info.annotation) if kind is not type(None)]
        kind = next((kind for kind in kinds if kind is not tuple), float)
        kind = type(get_args(kind)[0]) if get_origin(kind) is Literal else kind
        if issubclass(kind, Model) and "x-form" not in extra:
            yield from fields_of(kind, f"{before}{name}.")
        else:
            yield field_of(before + name, info, kind, extra, many=tuple in kinds)


def field_of(name: str, info: FieldInfo, kind: type, extra: dict[str, Any], *, many: bool) -> RequestField:
    """A field of its pydantic description."""
    usual, apart = extra.get("x-usual"), extra.get("x-apart", False)
    option_names = tuple(extra.get("x-option", ())) or (f"--{name.rpartition('.')[2].replace('_', '-')}",)
    return RequestField(
        name=name,
        kind=kind,
        many=many,
        required=info.is_required(),
        default=info.get_default(call_default_factory=False),
        help="\n\n".join(" ".join(part.split()) for part in (info.description or "").split("\n\n")),
        bounds=bounds(info),
        choices=tuple(extra.get("enum", ())) or choices_of(info.annotation),
        options=() if apart else option_names,
        form=extra.get("x-form", ""),
        usual=(usual[0], usual[1]) if usual else None,
        follows=extra.get("x-follows", False),
        apart=apart,
    )


def kinds_of(annotation: Any) -> Iterator[Any]:
    """The types a field's value, or each of its entries, may have."""
    if get_origin(annotation) is Annotated:
        yield from kinds_of(get_args(annotation)[0])
    elif get_origin(annotation) is tuple:
        yield tuple
        yield from (kind for kind in kinds_of(get_args(annotation)[0]) if kind not in (int, float))
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from kinds_of(part)
    else:
        yield annotation


def choices_of(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal, alone or beside None."""
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return tuple(choice for part in get_args(annotation) for choice in choices_of(part))
