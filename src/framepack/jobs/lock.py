"""One service at a time works on a queue.

On POSIX its worker processes inherit the lock: it is free again only when the last of them is gone, so no worker that
outlived a killed service can meet its successor in a job's folder.
"""

import os
import time
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
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + patience
        while not take(self._descriptor):
            if time.monotonic() > until:
                owner = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip() if fcntl else "?"
                os.close(self._descriptor)
                raise Busy(
                    f"another FramePack service (process {owner}) works on {file.parent}; use it, or end it first"
                )
            time.sleep(0.1)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode())

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What worker processes shall inherit."""
        return (self._descriptor,) if fcntl else ()

    def close(self) -> None:
        """Let go; a worker process that still lives keeps holding it."""
        os.close(self._descriptor)


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
