"""One service at a time works on a queue.

On POSIX its worker processes inherit the lock: it is free again only when the last of them is gone, so no worker that
outlived a killed service can meet its successor in a job's folder.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Busy(ValueError):  # noqa: N818 - reads as the sentence it is
    """Another service works on the queue."""


class QueueLock:
    """Held from construction to `close`; Busy where another process holds it for longer than `patience` seconds."""

    def __init__(self, file: Path, patience: float = 10.0) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + patience
        while (held := hold(file)) is None:
            if time.monotonic() > until:
                raise Busy(f"another FramePack service{owner_of(file)} works on {file.parent}; use it, or end it first")
            time.sleep(0.1)
        self._held = held
        os.ftruncate(held[0], 0)
        os.write(held[0], str(os.getpid()).encode())

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What worker processes shall inherit."""
        return self._held if fcntl else ()

    def close(self) -> None:
        """Let go; a worker process that still lives keeps holding it."""
        release(self._held)


def owner_of(file: Path) -> str:
    """The process that holds the lock, in brackets; empty where its file does not say."""
    try:
        number = file.read_text(errors="replace").strip()[:20]
    except OSError:  # Windows lets nobody read a locked file
        return ""
    return f" (process {number})" if number.isdecimal() else ""


def hold(file: Path) -> tuple[int, ...] | None:
    """Lock `file`, which is made where there is none, and the folder it is in: what holds them; None where others do.

    The folder too, as anyone may delete a file that is locked and make another one in its place. Raises OSError where
    the file cannot be opened, and on a disk that knows no locks.
    """
    held = [os.open(file, os.O_RDWR | os.O_CREAT, 0o600)]
    try:
        if take(held[0]) and is_at(held[0], file) and take_folder(file.parent, held):
            return tuple(held)
    except OSError:
        release(held)
        raise
    release(held)
    return None


def release(held: Iterable[int]) -> None:
    """Let go of what `hold` has locked."""
    for descriptor in held:
        os.close(descriptor)


def is_at(descriptor: int, file: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def take_folder(folder: Path, held: list[int]) -> bool:
    """Lock the folder and add what holds it; False where another process has it. Passes where folders have no locks."""
    if fcntl is None:
        return True
    held.append(os.open(folder, os.O_RDONLY))
    try:
        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # as on NFS, where a lock needs a file that can be written
        pass
    return True


def take(descriptor: int) -> bool:
    """Try to lock the file; False where another process has it. Raises OSError on a disk that knows no locks."""
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except (BlockingIOError, PermissionError):  # the second is Windows'
        return False
    return True
