"""The end of a job: the settled frames get the file's name, with the request's steps done to them first."""

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from framepack.media.credentials import drop_sidecar, sign_file
from framepack.media.finishing import Enlarge, Progress, write_finished
from framepack.media.footage import Footage
from framepack.media.join import joined_frames
from framepack.media.retime import retimed
from framepack.media.sound import Sound
from framepack.memory import MemoryManager
from framepack.pipeline.beside import sounding
from framepack.pipeline.finishing import lent_enlarger
from framepack.pipeline.output import VideoOutput
from framepack.spec.events import Event, StageStarted
from framepack.spec.finish import Finish
from framepack.spec.rates import exact_rate, resampled_count
from framepack.spec.request import GenerationRequest

EVERY = 1.0
"""Seconds between two words on how far it is."""


def finish_job(
    request: GenerationRequest, video: VideoOutput, memory: MemoryManager
) -> Generator[Event, None, tuple[Path, int]]:
    """Give the video its name; returns it and its number of frames. memory: lends the network that enlarges.

    Raises ValueError rather than to publish fewer frames than were planned, or others.
    """
    steps = request.finish.changes and request.still is None
    frames = (yield from done_steps(request, video, memory)) if steps else video.finish()[1]
    drop_sidecar(video.path)
    if request.output.sign:
        yield StageStarted(stage="finish", message="signing the file")
        sign_file(video.path)
    return video.path, frames


def done_steps(request: GenerationRequest, video: VideoOutput, memory: MemoryManager) -> Generator[Event, None, int]:
    """Do the request's steps, saying once a second how far they are; returns the number of frames."""
    said, frames = time.monotonic(), 0
    with lent_enlarger(request.finish, memory) as enlarge:
        for now in finished_settled(video, request.finish, enlarge):
            frames = now.frames
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                yield StageStarted(stage="finish", message=f"finishing frame {now.frames} of {now.total}")
    return frames


def finished_settled(video: VideoOutput, steps: Finish, enlarge: Enlarge | None) -> Generator[Progress]:
    """Do the steps to the frames that waited lossless, and encode them for the first time."""
    settled, settings = video.all_settled(), video.settings
    sound = Sound(file=steps.audio) if steps.audio else None

    def read(wide: bool) -> Iterator[Any]:
        kept = joined_frames(settled, wide=wide)
        return retimed(kept, video.keeping.fps, settings.fps, settings.fps_mode)

    frames = resampled_count(sum(piece.frames for piece in settled), video.keeping.fps, settings.fps)
    footage = Footage(frames=frames, size=settled[0].size, fps=exact_rate(settings.fps), read=read, sound=sound)
    with sounding(video.request, video.beside, video.path, video.folder.path, video.metadata) as file:
        yield from write_finished(footage, steps, file, output=settings, metadata=video.metadata, enlarge=enlarge)
    video.part.unlink(missing_ok=True)
