"""A picture of a request: a file, and what is done to it before it is used.

Pure data: `media.edit` does it. A plain path is a picture that nothing is done to, in Python and in JSON alike.
Command lines and tables write FILE[EDITS], which `typed` reads.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from framepack.files.names import located
from framepack.spec.fields import option
from framepack.spec.model import File, Model
from framepack.spec.rules import shortened

Share = Annotated[float, Field(ge=0, le=1)]
Fit = Literal["crop", "pad", "blur"]
EDGES = "LEFT/TOP/RIGHT/BOTTOM"


def as_degrees(value: object) -> object:
    """Digits as a number, as command lines and tables have them; anything else is left to validation."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def separated(names: str, example: str) -> BeforeValidator:
    """Numbers in a list, or in a text with / between them; the message says how many there are, and what they mean."""

    def check(value: object, info: ValidationInfo) -> object:
        parts = value.split("/") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or len(parts) != len(names.split("/")):
            got = "/".join(map(str, parts)) if isinstance(parts, list | tuple) else str(value)
            raise ValueError(f"{info.field_name} is {names}, such as {example}, got {shortened(got)}")
        if any(isinstance(part, bool) for part in parts):
            raise ValueError(f"{info.field_name} is {names}, such as {example}: true and false are no numbers")
        return parts

    return BeforeValidator(check)


class Picture(Model):
    """A file and its edits, in the order they are made: rotate, flip, crop, light and colour, fit to the video."""

    file: File
    """The picture's file."""
    rotate: Annotated[Literal[0, 90, 180, 270], BeforeValidator(as_degrees)] = 0
    """Degrees clockwise."""
    flip: Literal["none", "horizontal", "vertical"] = "none"
    """horizontal swaps left and right, vertical top and bottom."""
    crop: Annotated[
        Annotated[tuple[Share, Share, Share, Share], separated(EDGES, "0.1/0/0.9/1")] | None,
        Field(json_schema_extra=option(form=EDGES)),
    ] = None
    """Left, top, right and bottom edge of the part that is kept, as shares of the turned picture's width and height."""
    exposure: Annotated[float, Field(ge=-4, le=4)] = 0.0
    """Stops: 1 doubles all levels, -1 halves them."""
    contrast: Annotated[float, Field(ge=0, le=4)] = 1.0
    """1 as it is, 0 grey in the picture's mean brightness."""
    saturation: Annotated[float, Field(ge=0, le=4)] = 1.0
    """1 as it is, 0 without colour."""
    fit: Fit = "crop"
    """What becomes of another shape than the video's. crop: the middle, or the focus, fills it. pad: all of it, black
    beside. blur: all of it, its own blurred enlargement beside."""
    focus: Annotated[tuple[Share, Share], separated("X/Y", "0.5/0.3"), Field(json_schema_extra=option(form="X/Y"))] = (
        0.5,
        0.5,
    )
    """For fit crop: the point, as shares of width and height, that lies as near the video's middle as it can."""

    @property
    def edited(self) -> bool:
        """Whether anything is done to the file."""
        return self != Picture(file=self.file)

    @model_validator(mode="after")
    def _crop_has_an_inside(self) -> "Picture":
        if self.crop is not None:
            left, top, right, bottom = self.crop
            if left >= right or top >= bottom:
                got = "/".join(f"{share:g}" for share in self.crop)
                raise ValueError(f"crop is LEFT/TOP/RIGHT/BOTTOM with LEFT < RIGHT and TOP < BOTTOM, got {got}")
        return self

    @model_serializer(mode="wrap")
    def _plain_where_unedited(self, write: SerializerFunctionWrapHandler) -> Any:
        written = write(self)
        if not self.edited:
            return written["file"]
        fields = type(self).model_fields
        return {key: value for key, value in written.items() if getattr(self, key) != fields[key].default}


def as_picture(value: object) -> object:
    """A path as a picture; anything else is left to validation."""
    if isinstance(value, str | Path):
        return {"file": value}
    if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
        raise ValueError("a picture is a file: give framepack.picture(ARRAY_OR_PIL_IMAGE), which keeps it as one")
    return value


PictureFile = Annotated[
    Picture,
    BeforeValidator(as_picture, json_schema_input_type=Path | Picture),
    Field(json_schema_extra=option(form="FILE[EDITS]")),
]
"""What a request's fields hold: a path, or a Picture."""


TYPED = re.compile(r"(?P<file>[^\[]+|.+)\[(?P<edits>[^\[\]]*)\]?")
EXAMPLE = "rotate=90,crop=0.1/0/0.9/1,fit=blur"
HERE = Path()
KNOWN = ", ".join(name for name in Picture.model_fields if name != "file")


def typed(text: str, folder: Path = HERE) -> str | dict[str, Any]:
    """FILE as it is, FILE[EDITS], such as `door.png[rotate=90,crop=0.1/0/0.9/1]`, as an object; values unchecked.

    A file that has just this name is that file. folder: where its path begins. ValueError for what looks like edits and
    is none.
    """
    text = located(text)
    found = TYPED.fullmatch(text)
    if found is None or there(folder / text) or not ("=" in found["edits"] or there(folder / found["file"])):
        return text
    file, wanted = found["file"], found["edits"]
    if not text.endswith("]"):
        raise ValueError(f"the edits of {file} end with a bracket, such as [{EXAMPLE}], got {shortened(text)}")
    edits: dict[str, Any] = {}
    for edit in wanted.split(","):
        name, equals, value = (part.strip() for part in edit.partition("="))
        if not equals and edits and list(edits)[-1] in ("crop", "focus"):
            raise ValueError(f"{list(edits)[-1]} has / between its numbers, such as [{EXAMPLE}], got {shortened(text)}")
        if not equals or name == "file" or name not in Picture.model_fields:
            raise ValueError(f"there is no edit {edit.strip()!r} of a picture in {text!r}: use NAME=VALUE with {KNOWN}")
        if name in edits:
            raise ValueError(f"{name} is given twice in {shortened(text)}: keep one of the two")
        edits[name] = value
    return {**edits, "file": file}


def there(path: Path) -> bool:
    """Whether there is such a file or folder; a name that no system can have is none."""
    try:
        return path.exists()
    except OSError:
        return False
