"""Where a sequence of numbered pictures is read from: a zip, or a folder that looks like one.

Names begin with `frame_`; beside the pictures lie the request and the mark, and a folder has `about.txt` where a zip
has its comment.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from framepack.files.errors import MediaError
from framepack.spec.formats import PICTURE_SUFFIXES

STEM = "frame_"
ABOUT = "about.txt"
SUFFIXES = tuple(PICTURE_SUFFIXES.values())
OURS = re.compile(r"frame_\d{6,}\.(png|tif|exr)|about\.txt|request\.json|made-by-ai\.xmp")
"""Names in a folder that is a sequence."""
ABOUT_MOST = 65535
"""Bytes; a zip's comment has no more."""


class FolderFile(io.BytesIO):
    """Stands for a folder where a file is passed about; it has no bytes of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder


class ZipArchive:
    """A zip's files. Stands open while it is used."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.about = archive.comment

    def names(self) -> list[str]:
        """Of all files."""
        return self.archive.namelist()

    def size(self, name: str) -> int:
        """Bytes that a file says it has."""
        return self.archive.getinfo(name).file_size

    def read(self, name: str, most: int) -> bytes:
        """A file's first bytes."""
        with self.archive.open(name) as entry:
            return entry.read(most)


class FolderArchive:
    """A folder's own files, without those of folders in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = self.read(ABOUT, ABOUT_MOST) if (folder / ABOUT).is_file() else b""

    def names(self) -> list[str]:
        """Of all files."""
        return [entry.name for entry in self.folder.iterdir() if entry.is_file()]

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return (self.folder / name).stat().st_size

    def read(self, name: str, most: int) -> bytes:
        """A file's first bytes."""
        with (self.folder / name).open("rb") as file:
            return file.read(most)


Archive = ZipArchive | FolderArchive


@contextmanager
def open_archive(file: BinaryIO) -> Iterator[Archive]:
    """The archive in `file`: a zip, or what stands for a folder."""
    if isinstance(file, FolderFile):
        yield FolderArchive(file.folder)
        return
    with zipfile.ZipFile(file) as archive:
        yield ZipArchive(archive)


def is_sequence(folder: Path) -> bool:
    """Whether there is a numbered picture in a folder."""
    return any(entry.name.startswith(STEM) and entry.suffix in SUFFIXES for entry in folder.iterdir())


def is_ours(folder: Path) -> bool:
    """Whether there is nothing in a folder but what a sequence has, so that another one may take its place."""
    return all(entry.is_file() and OURS.fullmatch(entry.name) for entry in folder.iterdir())


def pictures_of(archive: Archive) -> list[str]:
    """The names of its pictures, in order. Raises MediaError where they are of several kinds."""
    names = sorted(name for name in archive.names() if name.lower().endswith((*SUFFIXES, ".tiff")))
    if len({kind_of_picture(name) for name in names}) > 1:
        raise MediaError("it holds pictures of several kinds")
    return names


def kind_of_picture(name: str) -> str:
    """The format of a sequence whose pictures have such a name: png | tiff | exr."""
    suffix = Path(name.lower()).suffix
    return next((form for form, known in PICTURE_SUFFIXES.items() if known == suffix), "tiff")
