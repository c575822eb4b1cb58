"""Named settings: one JSON file each in a folder. The page, the command line, the HTTP API and Python share them.

What a preset may hold is `preset_settings`. A service's presets lie in its home, beside the LoRA files that they name.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framepack.files.atomic import atomic_write, make_folder
from framepack.files.durable import move
from framepack.files.lock import hold, release
from framepack.files.text import TwiceSaid, json_of, text_of_file
from framepack.pipeline.preset_names import checked_name, composed, is_name, plain
from framepack.pipeline.preset_settings import PRESET, applied, settings_of, shared, stored_whole, unshared, whole
from framepack.spec.request import GenerationRequest
from framepack.spec.stored import LATEST, SCHEMA

SHOWN = 5
"""Presets that a message names."""
BYTES_OF_NAME = 230
"""What a file system takes, less what is put around a name."""
STARTUP = ".start"
"""The file that names the preset a new page begins with."""
LOCK = ".lock"
PATIENCE = 10.0
"""Seconds to wait for another program that changes presets."""
MOST = 1000
"""Presets there may be."""
FILE_MOST = 2**20
"""Bytes a preset may have."""
EXPORT_MOST = 100 * FILE_MOST
"""Bytes an exported file may have to be read."""
NOT_PRESETS = "This is not a file of presets: choose one that was exported from FramePack."


class UnknownPreset(ValueError):  # noqa: N818 - reads as the sentence it is
    """There is no preset of that name."""


class PresetExists(ValueError):  # noqa: N818 - reads as the sentence it is
    """The name is taken."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Presets that were taken in, by their names, and what of the file was left out, as it makes one video only."""

    names: list[str]
    left_out: list[str]


def presets(outputs: Path | str = "outputs") -> "Presets":
    """The presets of an outputs folder, which its page, the command line and the HTTP API use too."""
    return Presets(Path(outputs) / ".framepack" / "presets")


class Presets:
    """The presets in `folder`. Each mistake is a ValueError in a sentence. Changes of several programs take turns.

    Upper and lower case make no other name: some disks cannot distinguish them.
    """

    def __init__(self, folder: Path, loras: Path | None = None) -> None:
        """loras: where the LoRA files lie that presets name; beside the presets where nothing is said."""
        self._folder = folder
        self._loras = loras or folder.parent / "loras"

    def names(self) -> list[str]:
        """All presets, damaged ones too, in alphabetical order."""
        files = (composed(file.stem) for file in self._folder.glob("*.json") if file.is_file())
        return sorted((name for name in files if is_name(name)), key=str.casefold)

    def load(self, name: str) -> dict[str, Any]:
        """The settings called `name`, whole. UnknownPreset where there are none, ValueError where they are damaged."""
        known = self._known(name)
        file = self._file(known)
        if not file.is_file():
            raise self._unknown(name)
        try:
            return stored_whole(shared(parsed(text_of_file(file, FILE_MOST))))
        except (ValueError, OSError) as error:
            raise ValueError(
                f"The preset {known} is damaged or of another version: delete it, or save it again. It says: {error}"
            ) from error

    def save(self, name: str, settings: Mapping[str, Any] | GenerationRequest, *, replace: bool = True) -> str:
        """Keep settings, or those of a request that others can share; the name they have now.

        PresetExists where the name is taken and `replace` is false, ValueError for settings that do not fit.
        """
        self._file(name)
        kept = self._shared_of(settings) if isinstance(settings, GenerationRequest) else whole(settings)
        with self._alone():
            return self._write(name, kept, replace=replace)

    def rename(self, name: str, new: str) -> str:
        """Give a preset another name that is free."""
        with self._alone():
            old, target = self._known(name), self._file(new)
            if not self._file(old).is_file():
                raise self._unknown(name)
            if self._known(new) != old and self._file(self._known(new)).exists():
                raise PresetExists(f"There is a preset called {self._known(new)} already; choose another name.")
            starred = self.startup() == old
            move(self._file(old), target)
            if starred:
                self._star(composed(new))
        return composed(new)

    def delete(self, name: str) -> None:
        """Forget a preset."""
        with self._alone():
            known = self._known(name)
            if not self._file(known).is_file():
                raise self._unknown(name)
            if self.startup() == known:
                self._star(None)
            self._file(known).unlink(missing_ok=True)

    def startup(self) -> str | None:
        """The preset a new page begins with, if there is one."""
        file = self._folder / STARTUP
        name = file.read_text("utf-8") if file.is_file() else ""
        return name if name in self.names() else None

    def start_with(self, name: str | None) -> None:
        """Let a new page begin with this preset, or with the defaults."""
        if name is not None:
            self.load(name)
        with self._alone():
            self._star(None if name is None else self._known(name))

    def exported(self) -> dict[str, Any]:
        """All presets as one JSON object, which `take_in` reads; damaged ones are left out."""
        found = {}
        for name in self.names():
            with suppress(ValueError):
                found[name] = {SCHEMA: LATEST, **self.load(name)}
        return found

    def damaged(self) -> dict[str, str]:
        """What is wrong with those that cannot be loaded, by their names."""
        wrong = {}
        for name in self.names():
            try:
                self.load(name)
            except ValueError as error:
                wrong[name] = str(error)
        return wrong

    def take_in(self, text: str, *, replace: bool = True) -> Imported:
        """Save the presets of an exported file, all or none. What they say of one video is left out."""
        try:
            found = parsed(text)
        except TwiceSaid as error:
            raise ValueError(f"In the file {error}.") from error
        except ValueError as error:
            raise ValueError(NOT_PRESETS) from error
        if not found or not all(isinstance(settings, dict) for settings in found.values()):
            raise ValueError(NOT_PRESETS)
        if len({plain(name) for name in found}) < len(found):
            raise ValueError("Two presets of the file have names that differ in upper and lower case only: rename one.")
        kept = {}
        for name, settings in found.items():
            self._file(name)
            try:
                kept[name] = stored_whole(shared(settings))
            except ValueError as error:
                raise ValueError(f"The preset {name} cannot be imported: {error}") from error
        with self._alone():
            taken = [self._known(name) for name in kept if self._file(self._known(name)).exists()]
            if taken and not replace:
                raise PresetExists(f"There are presets called {', '.join(taken)} already; nothing was imported.")
            names = [self._write(name, settings, replace=True) for name, settings in kept.items()]
        return Imported(
            names=names, left_out=sorted({one for settings in found.values() for one in unshared(settings)})
        )

    def resolve(self, data: Mapping[str, Any], *, paths: bool = False) -> dict[str, Any]:
        """A request's JSON with the settings of the preset it names as `preset` in its place; its own settings hold.

        paths: LoRAs of the preset are paths of this machine, and not names as clients have them.
        """
        own = {field: value for field, value in data.items() if field != PRESET}
        name = data.get(PRESET)
        if name is None:
            return own
        if not isinstance(name, str):
            raise ValueError(f"preset is the name of a preset, got {str(name)[:60]}")
        settings = self.load(name)
        return applied(self._located(settings) if paths and "loras" not in own else settings, own)

    def apply(self, name: str, **own: Any) -> GenerationRequest:
        """The request of a preset and of fields of one's own, such as `image` and `prompt`, which hold."""
        return GenerationRequest.model_validate(self.resolve({**own, PRESET: name}, paths=True))

    # Inside

    def _file(self, name: str) -> Path:
        return self._folder / f"{checked_name(name)}.json"

    def _unknown(self, name: str) -> UnknownPreset:
        names = self.names()
        more = ", ..." if len(names) > SHOWN else ""
        there = f"there are {', '.join(names[:SHOWN])}{more}" if names else "none is saved yet"
        return UnknownPreset(f"There is no preset called {name}: {there}.")

    def _known(self, name: str) -> str:
        """The preset that `name` means: of just this name, else of one that differs in upper and lower case."""
        self._file(name)
        name, names = composed(name), self.names()
        return name if name in names else next((one for one in names if plain(one) == plain(name)), name)

    def _write(self, name: str, settings: Mapping[str, Any], *, replace: bool) -> str:
        known = self._known(name)
        file = self._file(known)
        if file.exists() and not replace:
            raise PresetExists(f"There is a preset called {known} already; choose another name.")
        if not file.exists() and len(self.names()) >= MOST:
            raise ValueError(f"There may be {MOST} presets: delete some first.")
        with atomic_write(file) as temporary:
            temporary.write_text(json.dumps({SCHEMA: LATEST, **settings}, indent=1, ensure_ascii=False), "utf-8")
        return known

    def _star(self, name: str | None) -> None:
        file = self._folder / STARTUP
        if name is None:
            file.unlink(missing_ok=True)
            return
        with atomic_write(file) as temporary:
            temporary.write_text(name, "utf-8")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        make_folder(self._folder)
        until = time.monotonic() + PATIENCE
        while (locks := hold(self._folder / LOCK)) is None:
            if time.monotonic() > until:
                raise ValueError("Another program is changing the presets; try again.")
            time.sleep(0.02)
        try:
            yield
        finally:
            release(locks)

    def _shared_of(self, request: GenerationRequest) -> dict[str, Any]:
        """A request's settings with names for its LoRA files, which must lie where everyone finds them."""
        settings = settings_of(request)
        for lora in settings["loras"]:
            file = Path(lora["file"])
            kept = self._loras / file.name
            if not kept.is_file() or (file.name != str(file) and not (file.is_file() and kept.samefile(file))):
                raise ValueError(f"The LoRA {lora['file']} is not in {self._loras}: copy it there, then save again.")
            lora["file"] = kept.name
        return whole(settings)

    def _located(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        found = [{**lora, "file": str(self._loras / lora["file"])} for lora in settings["loras"]]
        for lora in found:
            if not Path(lora["file"]).is_file():
                raise ValueError(f"The preset's LoRA {Path(lora['file']).name} is not in {self._loras}: put it there.")
        return {**settings, "loras": found}


def parsed(text: str) -> dict[str, Any]:
    """A JSON object."""
    value = json_of(text)
    if not isinstance(value, dict):
        raise ValueError("this is no JSON object")
    return value
