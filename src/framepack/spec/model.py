"""What every part of a request is made of: frozen models without unknown fields, and their errors as sentences."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from framepack.files.names import located
from framepack.files.text import printable_line
from framepack.spec.rules import SHOWN, Bounds, bounds, path_length, require_length, shortened

UNKNOWN_MOST = 10
"""How many unknown settings of an object are named in a message."""
FEW = 10
"""Settings of an object that a message lists."""
OUTSIDE = ("greater_than_equal", "less_than_equal", "multiple_of", "finite_number")
"""Pydantic's names for a number that is not within a field's bounds."""


class RequestError(ValueError):
    """What is wrong with settings, in one sentence. `field`: which, dots inside; empty where several do not agree."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field

    @classmethod
    def of(cls, error: ValidationError) -> Self:
        """The first finding."""
        place = error.errors(include_url=False)[0]["loc"]
        return cls(printable_line(_first(error)), ".".join(map(str, place)))


class _OneSentence(type(BaseModel)):
    """Makes a model's constructor raise RequestError. Not `__init__`: pydantic would call it for each part as well."""

    def __call__(cls, *values: Any, **fields: Any) -> Any:
        try:
            return super().__call__(*values, **fields)
        except ValidationError as error:
            raise RequestError.of(error) from None


class Model(BaseModel, metaclass=_OneSentence):
    """Frozen, no unknown fields, so that a misspelt option is an error and never ignored.

    A field's docstring is its help everywhere; controls on a page show its first paragraph.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _told_with_its_bounds(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Pydantic's message has one bound; ours has the range and the fix."""
        name = info.field_name or ""
        require_length(cls.model_fields[name], name, value)
        limits = cls.limits(name, info.data)
        try:
            found = check(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] not in OUTSIDE:
                raise
            raise ValueError(limits.refuse(name, first["input"])) from None
        if limits.multiple and found is not None and found % limits.multiple:
            raise ValueError(limits.refuse(name, found))
        return found

    @classmethod
    def limits(cls, name: str, before: Mapping[str, Any]) -> Bounds:
        """The bounds of a field, by the fields that stand before it."""
        return bounds(cls.model_fields[name])

    @model_validator(mode="before")
    @classmethod
    def _few_enough(cls, data: object) -> object:
        """Looked at before anything is, so that what is far too much costs nothing."""
        for name, value in data.items() if isinstance(data, dict) else ():
            if isinstance(value, bool) and name in cls.model_fields and cls.model_fields[name].annotation is not bool:
                raise ValueError(f"{name} is neither true nor false, got {str(value).lower()}: give its value")
        unknown = [name for name in data if name not in cls.model_fields] if isinstance(data, dict) else []
        if not unknown:
            return data
        if len(unknown) > UNKNOWN_MOST:
            raise ValueError(
                f"there are {len(unknown)} unknown settings in one place: remove them, such as {shortened(unknown[0])}"
            )
        near = get_close_matches(str(unknown[0])[:SHOWN], cls.model_fields, 1)
        known = ", ".join(cls.model_fields) if len(cls.model_fields) <= FEW else ""
        way = f": did you mean {near[0]}?" if near else f": there are {known}" if known else ""
        raise PydanticCustomError("unknown_setting", "{way}", {"name": str(unknown[0]), "way": way})

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """As pydantic's, with RequestError for what is wrong."""
        try:
            return super().model_validate(obj, **how)
        except ValidationError as error:
            raise RequestError.of(error) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **how: Any) -> Self:
        """As pydantic's, with RequestError for what is wrong."""
        try:
            return super().model_validate_json(json_data, **how)
        except ValidationError as error:
            raise RequestError.of(error) from None

    def without_folders(self) -> Self:
        """The same with bare file names, here and in all parts: what may go into a file that others get."""
        return self.model_copy(update={name: _bare(value) for name, value in self})


def _bare(value: object) -> object:
    if isinstance(value, Path):
        return Path(value.name)
    if isinstance(value, tuple):
        return tuple(_bare(entry) for entry in value)
    return value.without_folders() if isinstance(value, Model) else value


def _located(value: object, info: ValidationInfo) -> object:
    if value == "":
        raise ValueError(f"{info.field_name} has no name: give a file, or leave it out")
    return located(str(value)) if isinstance(value, str | Path) else value


File = Annotated[Path, BeforeValidator(_located), AfterValidator(path_length)]
"""A path; a leading ~ is the home folder, file:///PATH the file there, and any other address a mistake."""


def _first(error: ValidationError) -> str:
    return sentence_of(error.errors(include_url=False)[0])


def sentence_of(first: Mapping[str, Any]) -> str:
    """One of pydantic's findings, an entry of its `errors`, as a sentence with the field and the value."""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    where = ".".join(str(part) for part in first["loc"])[:SHOWN]
    if first["type"] == "unknown_setting":
        name = first.get("ctx", {}).get("name", "")
        return f"there is no setting called {(f'{where}.{name}' if where else name)[:SHOWN]}{message}"
    if first["type"] == "missing":
        return f"{where} is missing: say which it is"
    if first["type"] == "extra_forbidden":
        return f"there is no setting called {where}: leave it out"
    got = f"got {shortened(first['input'])}"
    if first["type"] == "literal_error":
        names = first.get("ctx", {}).get("expected", "").replace("'", "").replace(" or ", ", ")
        return f"{where} must be one of {names}, {got}"
    if limit := LIMITS.get(first["type"]):
        return f"{where} must be {limit.format(**first['ctx'])}, {got}"
    if plain := next((said for part, said in PLAIN if first["type"].startswith(part)), ""):
        return f"{where} must be {plain}, {got}"
    return f"{where}: {message[0].lower()}{message[1:]}, {got}".removeprefix(": ")


LIMITS = {
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "string_too_long": "{max_length} characters or fewer",
}
"""What a value has to be that is beyond a bound of a model which is none of ours."""
PLAIN = (
    ("tuple_type", "a list"),
    ("list_type", "a list"),
    ("dict_type", "an object with names and values"),
    ("model_", "an object with names and values"),
    ("dataclass_", "an object with names and values"),
    ("int_", "a whole number"),
    ("float_", "a number"),
    ("bool_", "true or false"),
    ("string_type", "a text"),
    ("path_type", "the name of a file"),
)
"""What a value has to be, by how the type of pydantic's finding begins."""
