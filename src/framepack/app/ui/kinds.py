"""What a control can be: plain descriptions, made into components by `widgets`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drop zone for one picture; its value is an upload's id, or an object with edits beside the id as its file."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """Free text."""

    lines: int = 1
    placeholder: str = ""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole number as text, as it may be larger than a browser's numbers; empty means the field's default."""

    placeholder: str = ""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number; empty means the field's default."""


@dataclass(frozen=True, kw_only=True)
class Slide:
    """A number with a slider from `low` to `high`, whole where `step` is 1. The box takes what the request allows."""

    low: float
    high: float
    step: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several (label, value) pairs."""

    choices: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Switch:
    """On or off."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A cell of each of the rows: `picture` as `Picture`, `lora` a file of the LoRA folder, else a number or text."""

    key: str
    label: str
    kind: Literal["picture", "number", "text", "lora"]
    start: float | str = ""
    low: float = 0
    high: float = 36000
    step: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A list of small forms. With `single` there is one at most and the field is that one or None."""

    columns: tuple[Column, ...]
    add: str
    """What the button that adds one says."""
    single: bool = False


Widget = Picture | Text | Whole | Number | Slide | Choice | Switch | Rows
