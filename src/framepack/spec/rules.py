"""What a single value of a request may be, said in a sentence with the value, the bound and the way out."""

import os
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from framepack.spec.buckets import buckets
from framepack.spec.geometry import HUNYUAN

PATH_MOST, NAME_MOST = 4096, 255
SIZE_MULTIPLE = HUNYUAN.multiple
SHOWN = 60
"""Characters of a wrong value that a message repeats."""


def within(low: float, high: float) -> AfterValidator:
    """A bound whose message names the field, the range and the value; NaN and infinity never pass."""

    def check(value: float, info: ValidationInfo) -> float:
        if not low <= value <= high:
            raise ValueError(f"{info.field_name} must be {low:g}..{high:g}, got {str(value)[:SHOWN]}")
        return value

    return AfterValidator(check)


def at_most(most: int, what: str = "entries") -> BeforeValidator:
    """A bound on a length, looked at before anything in it is: what is far too long costs nothing."""

    def check(value: object, info: ValidationInfo) -> object:
        if isinstance(value, Sized) and len(value) > most:
            raise ValueError(f"{info.field_name} may have {most} {what}, got {len(value)}: make it shorter")
        return value

    return BeforeValidator(check)


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


def one_of(names: Callable[[], list[str]]) -> AfterValidator:
    """A choice whose message lists what there is."""

    def check(value: str, info: ValidationInfo) -> str:
        if value not in names():
            raise ValueError(f"{info.field_name} must be one of {', '.join(names())}, got {shortened(value)}")
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


def base_multiple(value: int | None) -> int | None:
    """The side of a square that buckets are made of."""
    if value is not None:
        buckets(value)
    return value


def size_multiple(value: int | None, info: ValidationInfo) -> int | None:
    """Sizes are multiples of 16, because the VAE shrinks by 8 and the transformer's patches by 2."""
    if value is None:
        return None
    if not 32 <= value <= 4096:
        raise ValueError(f"{info.field_name} must be 32..4096, got {value}")
    if value % SIZE_MULTIPLE:
        below = value // SIZE_MULTIPLE * SIZE_MULTIPLE
        raise ValueError(
            f"{info.field_name} must be a multiple of {SIZE_MULTIPLE}, got {value}; "
            f"try {max(below, 32)} or {below + SIZE_MULTIPLE}"
        )
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
