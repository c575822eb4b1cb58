"""A picture of a request: a file, and what is done to it before it is used.

Pure data: `media.edit` does it. A plain path is a picture that nothing is done to, in Python and in JSON alike.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SerializerFunctionWrapHandler, model_serializer, model_validator

from framepack.spec.model import File, Model
from framepack.spec.rules import within

Share = Annotated[float, within(0, 1)]
Fit = Literal["crop", "pad", "blur"]


def as_degrees(value: object) -> object:
    """Digits as a number, as command lines and tables have them; anything else is left to validation."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


class Picture(Model):
    """A file and its edits, in the order they are made: rotate, flip, crop, light and colour, fit to the video."""

    file: File
    rotate: Annotated[Literal[0, 90, 180, 270], BeforeValidator(as_degrees)] = 0
    """Degrees clockwise."""
    flip: Literal["none", "horizontal", "vertical"] = "none"
    """horizontal swaps left and right."""
    crop: tuple[Share, Share, Share, Share] | None = None
    """left, top, right and bottom edge of the part that is kept, as shares of the turned picture's width and height."""
    exposure: Annotated[float, within(-4, 4)] = 0.0
    """Stops: 1 doubles all levels, -1 halves them."""
    contrast: Annotated[float, within(0, 4)] = 1.0
    """1 as it is, 0 grey in the picture's mean brightness."""
    saturation: Annotated[float, within(0, 4)] = 1.0
    """1 as it is, 0 without colour."""
    fit: Fit = "crop"
    """What becomes of another shape than the video's. crop: the middle, or the focus, fills it. pad: all of it, black
    beside. blur: all of it, its own blurred enlargement beside."""
    focus: tuple[Share, Share] = (0.5, 0.5)
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
                raise ValueError(
                    f"crop is left, top, right, bottom with left < right and top < bottom, got {self.crop}"
                )
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


PictureFile = Annotated[Picture, BeforeValidator(as_picture, json_schema_input_type=Path | Picture)]
"""What a request's fields hold: a path, or a Picture."""
