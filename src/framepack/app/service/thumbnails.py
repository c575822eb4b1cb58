"""Small copies of pictures, made once each; they go when their picture has gone."""

from pathlib import Path

from framepack.app.service.uploads import small_picture
from framepack.files.atomic import atomic_write
from framepack.jobs.folders import Folders

SUFFIX = ".jpg"


def thumbnail_of(folders: Folders, picture: Path) -> Path:
    """A small copy of a picture; MediaError where it is none."""
    small = folders.home / "thumbnails" / f"{picture.name}{SUFFIX}"
    if not small.exists():
        small.parent.mkdir(exist_ok=True)
        with atomic_write(small) as temporary:
            temporary.write_bytes(small_picture(picture))
    return small


def sweep_thumbnails(folders: Folders) -> None:
    """Drop those of pictures that are gone."""
    here = folders.home / "thumbnails"
    for small in here.glob(f"[!.]*{SUFFIX}"):
        name = small.name.removesuffix(SUFFIX)
        if not any((folder / name).exists() for folder in (folders.uploads, folders.outputs)):
            small.unlink(missing_ok=True)
