"""A job's video as a timeline of an editing program, kept beside its conversions and dropped with them."""

import os
from pathlib import Path

from framepack.app.service.convert import is_of
from framepack.media.editors import EDITORS, write_timeline
from framepack.media.sandbox import probe_untrusted_video, read_untrusted_metadata
from framepack.pipeline.timelines import sequence_from


def exported(folder: Path, file: Path, to: str) -> Path:
    """The timeline in `folder`, made where there is none of the video as it is now.

    ValueError for a rate the format cannot say and where the extra `editors` is not installed, MediaError for what is
    no video.
    """
    target = folder / f"{file.stem}{EDITORS[to].suffix}"
    version = file.stat().st_mtime_ns
    if not is_of(target, file):
        info, metadata = probe_untrusted_video(file), read_untrusted_metadata(file) or {}
        folder.mkdir(parents=True, exist_ok=True)
        write_timeline(sequence_from(file.stem, info.fps, info.frames, metadata), target, to, file)
        os.utime(target, ns=(version, version))
    return target
