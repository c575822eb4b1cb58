"""Named settings: one JSON file each in a folder, without pictures. Knows nothing of the page."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from framepack.media.atomic import atomic_write

NAME = re.compile(r"\w[\w .,()+-]{0,59}")
STARTUP = ".start"
"""The file that names the preset a new page begins with."""


class Presets:
    """The presets in `folder`. Each mistake is a ValueError in a sentence."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """All presets, in alphabetical order."""
        return sorted((file.stem for file in self._folder.glob("*.json")), key=str.casefold)

    def load(self, name: str) -> dict[str, Any]:
        """The settings called `name`."""
        file = self._file(name)
        if not file.is_file():
            raise ValueError(f"There is no preset called {name}.")
        try:
            return parsed(file.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"The preset {name} is damaged; delete it and save it again.") from error

    def save(self, name: str, settings: Mapping[str, Any], *, replace: bool = True) -> None:
        """Keep settings under `name`."""
        file = self._file(name)
        if file.exists() and not replace:
            raise ValueError(f"There is a preset called {name} already; choose another name.")
        with atomic_write(file) as temporary:
            temporary.write_text(json.dumps(settings, indent=1, ensure_ascii=False), "utf-8")

    def rename(self, name: str, new: str) -> None:
        """Give a preset another name that is free."""
        settings = self.load(name)
        start = self.startup() == name
        self.save(new, settings, replace=False)
        self._file(name).unlink()
        if start:
            self.start_with(new)

    def delete(self, name: str) -> None:
        """Forget a preset."""
        if self.startup() == name:
            self.start_with(None)
        self._file(name).unlink(missing_ok=True)

    def startup(self) -> str | None:
        """The preset a new page begins with, if there is one."""
        file = self._folder / STARTUP
        name = file.read_text("utf-8") if file.is_file() else ""
        return name if name in self.names() else None

    def start_with(self, name: str | None) -> None:
        """Let a new page begin with this preset, or with the defaults."""
        file = self._folder / STARTUP
        if name is None:
            file.unlink(missing_ok=True)
            return
        self.load(name)
        with atomic_write(file) as temporary:
            temporary.write_text(name, "utf-8")

    def exported(self) -> dict[str, Any]:
        """All presets as one JSON object, which `take_in` reads; damaged ones are left out."""
        found = {}
        for name in self.names():
            with suppress(ValueError):
                found[name] = self.load(name)
        return found

    def take_in(self, text: str, check: Callable[[Mapping[str, Any]], object]) -> list[str]:
        """Save the presets of an exported file, all or none; those of the same name are replaced.

        `check` raises ValueError for settings that can never be loaded.
        """
        try:
            found = parsed(text)
        except ValueError as error:
            raise ValueError("This is not a file of presets: choose one that was exported here.") from error
        if not found or not all(isinstance(settings, dict) for settings in found.values()):
            raise ValueError("This is not a file of presets: choose one that was exported here.")
        for name, settings in found.items():
            self._file(name)
            try:
                check(settings)
            except ValueError as error:
                raise ValueError(f"The preset {name} cannot be imported. {error}") from error
        for name, settings in found.items():
            self.save(name, settings)
        return list(found)

    def _file(self, name: str) -> Path:
        if not NAME.fullmatch(name) or name.endswith((".", " ")):
            raise ValueError(
                f"A preset's name has up to 60 letters, digits, spaces and . , ( ) + -, not {name[:60]!r}."
            )
        return self._folder / f"{name}.json"


def parsed(text: str) -> dict[str, Any]:
    """A JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
