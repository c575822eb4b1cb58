"""Files appear whole or not at all: written beside their final name, then moved there in one step."""

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from framepack.files.durable import move
from framepack.files.errors import DiskFullError, FileTooLargeError, MediaError

FULL = {errno.ENOSPC, errno.EDQUOT}
PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")
"""The name of a temporary file; in it, the name that it is to get."""


class AtomicFile:
    """A temporary file in the folder of `path`; `publish` moves it there, `discard` removes it.

    Whatever writes to `.temporary` may fail at any point: nothing is ever seen under `path` but a finished file.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """`durable`: published only once the disk has it, so that a power cut cannot leave an empty file."""
        if path.is_dir():
            raise MediaError(f"'{path}' is a folder: name a file in it")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.durable = path, durable
        self.temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")

    def publish(self) -> None:
        """Make the finished file visible under its name, replacing what was there."""
        if self.durable:
            move(self.temporary, self.path)
        else:
            self.temporary.replace(self.path)
        self.discard()  # two names of one file: there replacing does nothing

    def discard(self) -> None:
        """Remove what was written so far; harmless when nothing was, or after `publish`."""
        self.temporary.unlink(missing_ok=True)

    @contextmanager
    def guard(self, needed: int | None = None) -> Iterator[None]:
        """Around anything that writes: an error removes the temporary file.

        A full disk says so (DiskFullError), and so does one that takes no file of that size (FileTooLargeError).
        """
        try:
            yield
        except OSError as error:
            free = free_bytes(self.path.parent)
            self.discard()
            if error.errno in FULL and not isinstance(error, DiskFullError):
                raise DiskFullError(self.path, free=free, needed=needed) from error
            if error.errno == errno.EFBIG:
                raise FileTooLargeError(self.path) from error
            raise
        except BaseException:
            self.discard()
            raise


class AtomicFolder(AtomicFile):
    """The same for a folder of files that is made as a whole: `temporary` is one that whoever writes has to make."""

    def __init__(self, path: Path, *, ours: Callable[[Path], bool]) -> None:
        """ours: whether a folder that is at `path` already may be replaced; an empty one may be in any case."""
        if path.is_dir() and any(path.iterdir()) and not ours(path):
            raise MediaError(f"'{path}' is a folder of other things: name a new one")
        if path.exists() and not path.is_dir():
            raise MediaError(f"'{path}' is a file: name a new folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.durable = path, True
        self.temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")

    def publish(self) -> None:
        """Make the finished folder visible under its name; one that was there goes once it is."""
        before = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        if there := self.path.is_dir():
            self.path.rename(before)
        self.temporary.rename(self.path)
        if there:
            shutil.rmtree(before, ignore_errors=True)

    def discard(self) -> None:
        """Remove what was written so far; harmless when nothing was, or after `publish`."""
        shutil.rmtree(self.temporary, ignore_errors=True)


@contextmanager
def atomic_write(path: Path, needed: int | None = None, *, durable: bool = True) -> Iterator[Path]:
    """Yields the temporary path to write to; it becomes `path` when the block ends without an error."""
    file = AtomicFile(path, durable=durable)
    with file.guard(needed):
        if needed is not None:
            require_space(path, needed)
        yield file.temporary
        file.publish()


def sweep_parts(folder: Path, *, unwritten: float, names: Collection[str] | None = None) -> None:
    """Drop the temporary files that killed processes left in `folder`, for these `names` or for all.

    unwritten: seconds for which nobody has written to one, as another process may still be at work on it.
    """
    for part in folder.glob(".*.part"):
        found = PART.fullmatch(part.name)
        with suppress(OSError):  # gone by now, or another user's
            if found and (names is None or found[1] in names) and time.time() - part.stat().st_mtime >= unwritten:
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def same_file(source: Path, path: Path) -> None:
    """Let `path` hold what `source` holds now: a second name where the disk allows it, a copy where not.

    `source` may be replaced later; it must not be written into.
    """
    with atomic_write(path, durable=False) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)


def require_new(path: Path) -> None:
    """Raises ValueError where there is a file at `path` already, which a finished one would replace, or a folder."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it")
    if path.exists():
        raise ValueError(
            f"{path} is there already: give the video another name, or use --overwrite "
            "(output.overwrite in a request) to replace it"
        )


def make_folder(path: Path) -> None:
    """Make it, and those above it. Raises ValueError where a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{path} cannot be a folder, as there is a file in its place: choose another one") from None


def require_writable(path: Path) -> None:
    """Raises OSError where no file can be written beside `path`, or its name is too long to be written under."""
    file = AtomicFile(path)
    with file.guard():
        file.temporary.touch()
    file.discard()


def require_space(path: Path, needed: int) -> None:
    """Raises DiskFullError when the folder of `path` has less than `needed` bytes free."""
    free = free_bytes(path.parent)
    if free < needed:
        raise DiskFullError(path, free=free, needed=needed)


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that holds `folder`."""
    return shutil.disk_usage(folder).free
