"""What a control can be, as plain data. `components` makes Gradio components of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Accepted = Literal["image", "video", "any"]
"""What may be dropped where a file belongs."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A drop zone for one image or video. Its value is an upload's id, or an object with it as `file` and with edits.

    With `main` it takes what is dropped or pasted anywhere on the page.
    """

    accepts: Mapping[str, Accepted] = field(default_factory=dict)
    """By task."""
    main: bool = False
    painted: bool = False
    """Whether it is a mask, which can be painted over the start image."""


@dataclass(frozen=True, kw_only=True)
class Textbox:
    """Free text."""

    lines: int = 1
    placeholder: str = ""
    optional: bool = False
    """Whether an empty text is none."""


@dataclass(frozen=True, kw_only=True)
class Integer:
    """A whole number as text, because it may be larger than a browser's numbers. Empty means the field's default."""

    placeholder: str = ""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number. Empty means the field's default."""


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A number with a slider from `low` to `high`, whole where `step` is 1. Its box takes what the request allows."""

    low: float
    high: float
    step: float


@dataclass(frozen=True, kw_only=True)
class Dropdown:
    """One of several (label, value) pairs."""

    choices: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The same in one line with its label. The choices say enough, so the help is read out and not shown."""

    choices: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Checkbox:
    """On or off."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A cell of each row: `image` as in `Image`, `lora` a file of the LoRA folder, else a number or text."""

    key: str
    label: str
    kind: Literal["image", "number", "text", "lora"]
    start: float | str = ""
    low: float = 0
    high: float = 36000
    step: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A list of small forms. With `single` there is at most one, and the field is that one or None."""

    columns: tuple[Column, ...]
    add: str
    """Label of the button that adds a row."""
    single: bool = False


Widget = Image | Textbox | Integer | Number | Slider | Dropdown | Choice | Checkbox | Rows
