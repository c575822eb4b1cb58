"""What every part of a request is made of: frozen models without unknown fields, and their errors as sentences."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from framepack.spec.rules import SHOWN, path_length, shortened

UNKNOWN_MOST = 10
"""Unknown settings an object may have for each of them to be looked at."""


class Model(BaseModel):
    """Frozen, no unknown fields, so that a misspelt option is an error and never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_enough(cls, data: object) -> object:
        if isinstance(data, dict) and len(data) > len(cls.model_fields) + UNKNOWN_MOST:
            unknown = next((name for name in data if name not in cls.model_fields), "")
            raise ValueError(
                f"there are {len(data)} settings in one place, which has {len(cls.model_fields)}: "
                f"remove the unknown ones, such as {shortened(unknown)}"
            )
        return data

    def without_folders(self) -> Self:
        """The same with bare file names, here and in all parts: what may go into a file that others get."""
        return self.model_copy(update={name: _bare(value) for name, value in self})


def _bare(value: object) -> object:
    if isinstance(value, Path):
        return Path(value.name)
    if isinstance(value, tuple):
        return tuple(_bare(entry) for entry in value)
    return value.without_folders() if isinstance(value, Model) else value


File = Annotated[Path, AfterValidator(path_length)]


def explain(error: ValidationError) -> str:
    """The first finding of a ValidationError as one sentence."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    where = ".".join(str(part) for part in first["loc"])[:SHOWN]
    if first["type"] == "extra_forbidden":
        return f"there is no setting called {where}"
    return f"{where}: {message[0].lower()}{message[1:]}, got {shortened(first['input'])}"
