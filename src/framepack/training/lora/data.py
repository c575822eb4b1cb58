"""What a LoRA is trained on: a folder of videos and pictures, each with its caption in a text file of the same name.

`dance.mp4` goes with `dance.txt`. A long video becomes several clips. Boundary: files in, frames out; knows no model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framepack.files.text import text_of_file
from framepack.media.image import bucket_crop, load_image
from framepack.media.read import read_video
from framepack.spec.buckets import find_bucket
from framepack.spec.geometry import HUNYUAN

CAPTION_MOST = 1_000_000
"""Bytes of a text beside a picture or video."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif")
VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif", ".m4v")
Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file and what it shows."""

    file: Path
    caption: str

    @property
    def source(self) -> str:
        """What tells the file from others wherever it lies: its name and size."""
        return f"{self.file.name} {self.file.stat().st_size}"

    @property
    def is_picture(self) -> bool:
        """Whether it is a single picture."""
        return self.file.suffix.lower() in PICTURES


def find_items(folder: Path) -> list[Item]:
    """All videos and pictures in `folder`, by name. ValueError for an empty folder and for a file without caption."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: --data needs one with videos or pictures and their captions")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES + VIDEOS)
    if not files:
        raise ValueError(f"{folder} has no videos or pictures (known are {', '.join(VIDEOS + PICTURES)})")
    if missing := [file.name for file in files if not file.with_suffix(".txt").is_file()]:
        raise ValueError(
            f"{len(missing)} of {len(files)} files in {folder} have no caption; "
            f"write what {missing[0]} shows into {Path(missing[0]).with_suffix('.txt')}"
        )
    return [Item(file=file, caption=_caption(file.with_suffix(".txt"))) for file in files]


def _caption(file: Path) -> str:
    return text_of_file(file, CAPTION_MOST).strip()


def clips_of(item: Item, base: int, window: int, sections: int) -> Iterator[Frames]:
    """The clips of a file, each (1 + 4 k, H, W, 3) at 30 fps and at the size of base `base`.

    A clip has at most `sections` windows of `window` latents and as many whole ones as fit; a video shorter than one
    window gives one shorter clip. A picture is one frame. ValueError for a video of fewer than five frames.
    """
    if item.is_picture:
        picture = load_image(item.file)
        yield bucket_crop(picture, *find_bucket(picture.shape[1], picture.shape[0], base))[None]
        return
    one, most = HUNYUAN.temporal * window, HUNYUAN.temporal * window * sections
    held: list[Frames] = []
    given = False
    for frame in read_video(item.file, fps=HUNYUAN.fps):
        held.append(bucket_crop(frame, *find_bucket(frame.shape[1], frame.shape[0], base)))
        if len(held) == most + 1:
            yield np.stack(held)
            given, held = True, held[-1:]
    whole = (len(held) - 1) // one * one
    shorter = (len(held) - 1) // HUNYUAN.temporal * HUNYUAN.temporal
    if whole:
        yield np.stack(held[: whole + 1])
    elif not given:
        if not shorter:
            raise ValueError(f"{item.file} has {len(held)} frames at 30 fps; a clip needs 5 or more: leave it out")
        yield np.stack(held[: shorter + 1])
