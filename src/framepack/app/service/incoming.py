"""Files on their way into a finishing's folder: those that a form brings, and second names of those that are there."""

from collections.abc import Callable
from pathlib import Path

from framepack.app.service.paths import is_name
from framepack.app.service.uploads import LOOK_EVERY, VIDEO_LIMIT, TooLarge
from framepack.files.atomic import same_file
from framepack.media.credentials import BESIDE, SIDECAR

FILES = "files"
"""What came in, in a finishing's folder."""


class IncomingFile:
    """A file on its way into a finishing's folder, as it came: only the child that does the work opens it."""

    def __init__(self, require_room: Callable[[], None], folder: Path, name: str) -> None:
        """require_room: raises NoRoom; asked now and then, as the file grows."""
        if not is_name(name):
            raise ValueError(f"{name[:80]!r} is no name for a file here: send it under another")
        self._require_room, self._size, self._look_at = require_room, 0, LOOK_EVERY
        self.file = unused(folder / FILES, name)
        self._out = self.file.open("xb")

    def __enter__(self) -> "IncomingFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def write(self, block: bytes) -> None:
        """Take the next bytes; TooLarge or NoRoom before any are written that should not be."""
        self._size += len(block)
        if self._size > VIDEO_LIMIT:
            raise TooLarge(f"a file may have {VIDEO_LIMIT // 2**20} MB; use a smaller one")
        if self._size > self._look_at:
            self._look_at += LOOK_EVERY
            self._require_room()
        self._out.write(block)

    def accept(self) -> Path:
        """It is all there."""
        self._out.close()
        return self.file


def taken_in(folder: Path, file: Path) -> Path:
    """A second name of a file of the service, in a finishing's folder: so that it stays what it is now.

    The credentials beside it, which are found by its name, come along.
    """
    name = unused(folder / FILES, file.name)
    same_file(file, name)
    if (aside := file.with_suffix(SIDECAR)).is_file() and file.suffix.lower() in BESIDE:
        same_file(aside, name.with_suffix(SIDECAR))
    return name


def unused(folder: Path, name: str) -> Path:
    """A place for a file of that name; its content decides nothing."""
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    return place / name
