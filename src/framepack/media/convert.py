"""A video in another format: every frame of it, with the settings and the mark it carries."""

import json
from pathlib import Path
from typing import BinaryIO

from framepack.files.errors import MediaError
from framepack.media.marks import MARKED, is_made_by_ai
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.source import Source
from framepack.media.timing import resample_fps
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS, Coding


def convert(source: BinaryIO, target: Path, name: str, quality: int | Coding) -> int:
    """Write the frames of `source`, with the settings and the mark it carries, to `target`; return their number."""
    info = probe(source)
    if not info.frames:
        raise MediaError("it has no frames")
    fps = min(info.fps, FORMATS[name].most_fps)
    writer = VideoWriter(
        target,
        size=(info.width, info.height),
        fps=fps,
        format=name,
        quality=quality,
        metadata=carried(source),
        alone=True,
    )
    with writer:
        for frame in resample_fps(read_video(source, whole=True, wide=writer.wide), info.fps, fps):
            writer.write(frame)
    return writer.frames_encoded


def convert_file(file: Path, target: Path, name: str, quality: int | Coding = 16) -> int:
    """The same of a file by its path."""
    with file.open("rb") as source:
        return convert(source, target, name, quality)


def carried(source: Source) -> str | None:
    """What a copy of a video has to say: its settings, or at least that AI made it."""
    settings = read_metadata(source)
    return json.dumps(settings) if settings else MARKED if is_made_by_ai(source) else None
