"""One run at a time in a work folder; temporary ones of runs that were killed are removed by the next."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framepack.files.lock import hold, release, take
from framepack.pipeline.section_files import LOCK

TEMPORARY = ".framepack-work-"
"""What the names of temporary folders begin with."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep `folder` to this run; the system frees it when the process ends. Raises ValueError where another has it."""
    try:
        locks = hold(folder / LOCK)
    except (IsADirectoryError, PermissionError) as error:
        raise ValueError(
            f"{folder / LOCK} cannot be opened ({error.strerror}): move it away, it holds nothing"
        ) from None
    except OSError:  # a disk without locks, as Lustre's by default: other runs cannot be detected
        locks = ()
    if locks is None:
        raise ValueError(f"another run uses {folder}: wait until it ends, or choose another folder")
    try:
        yield
    finally:
        release(locks)


def sweep(beside: Path) -> None:
    """Remove the temporary folders of runs that were killed."""
    for folder in beside.glob(f"{TEMPORARY}*"):
        if is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def is_left(folder: Path) -> bool:
    """Whether the run that made a temporary folder is gone; False where that is unknown."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # it is just being made or removed, or another user's
        return False
    try:
        return take(descriptor)
    except OSError:  # a disk without locks
        return False
    finally:
        os.close(descriptor)
