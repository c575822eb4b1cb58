"""What a single value of a request may be, said in a sentence with the value, the bound and the way out."""

import math
import os
from collections.abc import Collection, Iterator, Sized
from pathlib import Path
from typing import Any, NamedTuple, get_args

from annotated_types import Ge, Le, MaxLen, MultipleOf
from pydantic import AfterValidator, ValidationInfo
from pydantic.fields import FieldInfo

PATH_MOST, NAME_MOST = 4096, 255
SHOWN = 60
"""Characters of a wrong value that a message repeats."""


class Bounds(NamedTuple):
    """What a number has to lie in, ends included, and be a multiple of."""

    low: float = -math.inf
    high: float = math.inf
    multiple: float = 0

    @property
    def range(self) -> str:
        """Such as 1..200, or 0.. where there is one end."""
        ends = ("" if math.isinf(end) else f"{end:g}" for end in (self.low, self.high))
        return "" if self == Bounds() else "..".join(ends)

    def refuse(self, name: str, value: object) -> str:
        """The sentence for a value that is not inside."""
        got = f"got {str(value)[:SHOWN]}"
        if not self.multiple or not isinstance(value, int | float):
            return f"{name} must be {self.range or 'a finite number'}, {got}"
        below = min(max(value, self.low), self.high) // self.multiple * self.multiple
        if self.low < value < self.high:
            return f"{name} must be a multiple of {self.multiple:g}, {got}; try {below:g} or {below + self.multiple:g}"
        return f"{name} must be a multiple of {self.multiple:g} in {self.range}, {got}; try {below:g}"


def constraints(kind: Any) -> Iterator[Any]:
    """What annotations say of a type and of the types inside it, such as `Ge(ge=0)`."""
    for note in getattr(kind, "__metadata__", ()):
        yield from note.metadata if isinstance(note, FieldInfo) else (note,)
    for part in get_args(kind):
        yield from constraints(part)


def bounds(field: FieldInfo) -> Bounds:
    """The bounds of a field, or of what is inside it."""
    said = {type(one): one for one in (*constraints(field.annotation), *field.metadata)}
    low, high, multiple = said.get(Ge), said.get(Le), said.get(MultipleOf)
    ends = (low.ge if low else -math.inf, high.le if high else math.inf)
    return Bounds(*ends, multiple.multiple_of if multiple else 0)


def require_length(field: FieldInfo, name: str, value: object) -> None:
    """ValueError where it is too long, looked at before anything in it is: what is far too long costs nothing."""
    most = next((one.max_length for one in field.metadata if isinstance(one, MaxLen)), None)
    if most is not None and isinstance(value, Sized) and len(value) > most:
        what = "characters" if isinstance(value, str) else "entries"
        raise ValueError(f"{name} may have {most} {what}, got {len(value)}: make it shorter")


def as_text(value: object, info: ValidationInfo) -> object:
    """A text whose bytes a console has handed over undecoded is read as UTF-8; halves of characters are refused."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise ValueError(
            f"{info.field_name} holds what is no character ({shortened(value)}): write it anew, in UTF-8"
        ) from None


def one_of(names: Collection[str]) -> AfterValidator:
    """A choice whose message lists what there is."""

    def check(value: str, info: ValidationInfo) -> str:
        if value not in names:
            raise ValueError(f"{info.field_name} must be one of {', '.join(names)}, got {shortened(value)}")
        return value

    return AfterValidator(check)


def path_length(value: Path, info: ValidationInfo) -> Path:
    """No system has longer names, and none has the character that ends one."""
    if "\0" in str(value):
        raise ValueError(f"{info.field_name} holds a character that no name can have: write it anew")
    if len(str(value)) > PATH_MOST:
        raise ValueError(f"{info.field_name} may have {PATH_MOST} characters, got {len(str(value))}: shorten it")
    if (longest := max((len(os.fsencode(part)) for part in value.parts), default=0)) > NAME_MOST:
        raise ValueError(f"a name may have {NAME_MOST} bytes, {info.field_name} has one of {longest}: shorten it")
    return value


def shortened(value: Any) -> str:
    """A wrong value as a message repeats it: no longer than someone reads."""
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN else f"{value[:SHOWN]}…")
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return repr(value)[:SHOWN]
