"""What goes wrong with pictures and videos, said in one sentence that names the way out."""

import errno
from pathlib import Path


class MediaError(ValueError):
    """A file that cannot be used: missing, damaged, too large or of an unknown kind. Its text is for the user."""


class FileTooLargeError(MediaError):
    """An output that outgrew what one file may have: the process's own limit (ulimit -f) or the disk's kind (FAT)."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"'{path.name}' is larger than a single file may be here: raise the limit (ulimit -f), "
            "choose a folder on another kind of disk, or make a shorter video"
        )


class DiskFullError(OSError):
    """The disk is full. `free` and `needed` are bytes; `needed` is None where it is not known beforehand."""

    def __init__(self, path: Path, *, free: int, needed: int | None = None) -> None:
        self.path, self.free, self.needed = path, free, needed
        wanted = f"{megabytes(needed)} needed, " if needed is not None else ""
        super().__init__(
            errno.ENOSPC,
            f"the disk is full: {wanted}{megabytes(free)} free in '{path.parent}' for '{path.name}': "
            "free some space or choose another folder",
        )

    def __str__(self) -> str:
        """The sentence, without the number that an OSError puts before it."""
        return str(self.strerror)


def reason(error: Exception) -> str:
    """What an error says, without the number and the descriptor that the system puts around it."""
    return getattr(error, "strerror", None) or str(error)


def megabytes(size: int) -> str:
    """`size` bytes for a person, as 12.3 MB."""
    return f"{size / 1e6:.1f} MB"
