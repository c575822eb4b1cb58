"""What a power cut may not take: a file's bytes, and the name it was given, are on the disk before work goes on."""

import os
from contextlib import suppress
from pathlib import Path


def sync_file(file: Path) -> None:
    """Wait until the disk has the file's bytes."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in it; without them a renamed file is lost. Windows has no such call."""
    if os.name == "nt":
        return
    with suppress(OSError):  # a disk that cannot do it for folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move(file: Path, target: Path) -> Path:
    """Give a finished file its name, in place of what was there; neither is lost from then on."""
    sync_file(file)
    file.replace(target)
    sync_folder(target.parent)
    return target


def move_folder(folder: Path, target: Path) -> None:
    """Give a folder of finished files its name, which must be free."""
    for file in folder.iterdir():
        if file.is_file():
            sync_file(file)
    sync_folder(folder)
    folder.rename(target)
    sync_folder(target.parent)
