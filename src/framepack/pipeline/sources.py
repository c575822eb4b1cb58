"""What a task is given beside its pictures: the tail or head of a video, a whole one to be restyled, a mask.

A causal VAE must begin where a clip begins: the frames nearest the new part are encoded in one pass that begins long
before the latents that are used, a longer video in passes that overlap by as much.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.media.clips import Clip, changes, look, read_clip
from framepack.media.edit import fitted
from framepack.models.transfer import to_host
from framepack.pipeline.runner import Runner
from framepack.spec.ends import LEAST, source_latents
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS, Beside

STILL_FRAMES = 13
"""Frames of a picture that stands still, after which its latents hardly change."""
WARM_UP = 8
"""Latents that a later pass has before those that are used."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Of one job. Its latents are in the bank: "before" and "after", "source" of a restyled video, "standing:KEY"."""

    clips: Mapping[Beside, Clip] = field(default_factory=dict)
    """What the new part joins; a loop its own start."""
    restyled: Clip | None = None
    mask: np.ndarray | None = None
    """float32 (H, W): 1 may move, 0 stands still."""
    temporal: int = 4
    """Frames of a latent."""


NO_SOURCES = Sources()


def read_sources(request: GenerationRequest, size: tuple[int, int]) -> tuple[Sources, list[str]]:
    """The sources of a request at its video's size, (height, width), and what is to be said of them. MediaError."""
    geometry, row = request.geometry, TASKS[request.task]
    count = geometry.frames_of(source_latents(geometry))

    def read(key: str, frames: int) -> Clip:
        return read_clip(request.pictures[key], end=row.clips[key], count=frames, fps=geometry.fps, size=size)

    clips: dict[Beside, Clip] = {side: read(key, count) for side, key in row.beside.items()}
    if request.task == "loop":
        clips["after"] = read_clip(request.image, end="first", count=1, fps=geometry.fps, size=size)
    restyled = None
    if request.task == "restyle":
        wanted = geometry.frames_of(request.latent_count + 1)
        restyled = read("start", wanted)
        restyled = replace(restyled, end=padded(restyled.end, 0, wanted - len(restyled.end)))
    mask = None
    if request.motion_mask is not None:
        pixels = fitted(look(request, "mask", request.motion_mask), request.motion_mask, size[1], size[0])
        mask = pixels.astype(np.float32).mean(-1) / 255
    sources = Sources(clips=clips, restyled=restyled, mask=mask, temporal=geometry.temporal)
    return sources, list(changes(request, size))


def source_work(request: GenerationRequest) -> tuple[int, int]:
    """Frames of the longest pass through the VAE that a request's sources may take, and how many passes there are."""
    geometry, row = request.geometry, TASKS[request.task]
    most = geometry.frames_of(source_latents(geometry))
    lengths = [most + geometry.temporal * (LEAST - 1) + 1 if side == "after" else most for side in row.beside]
    if request.task == "loop":
        lengths.append(2 * geometry.temporal * LEAST)
    if request.task == "restyle":
        frames = geometry.frames_of(request.latent_count + 1)
        lengths += [len(part) for part, _ in passes_of(frames, geometry.temporal, source_latents(geometry))]
    elif request.motion_mask is not None:
        lengths += [STILL_FRAMES for _ in standing(request)]
    return max(lengths, default=0), len(lengths)


def held_frames(request: GenerationRequest) -> int:
    """Frames of the sources that RAM holds at once: of a restyled video all that are needed."""
    geometry = request.geometry
    if request.task == "restyle":
        return geometry.frames_of(request.latent_count + 1)
    return len(TASKS[request.task].beside) * geometry.frames_of(source_latents(geometry))


def standing(request: GenerationRequest) -> list[str]:
    """Keys of the pictures that a motion mask may let stand still: those that are frames of the video."""
    return [key for key in request.pictures if key != "reference"]


def encode_sources(
    runner: Runner, request: GenerationRequest, sources: Sources, pictures: Mapping[str, np.ndarray]
) -> dict[str, Tensor]:
    """The latents of a job's sources, (1, C, t, h, w), by their keys in the bank."""
    history = request.geometry.history
    made: dict[str, Tensor] = {}

    def encoded(frames: np.ndarray) -> Tensor:
        return runner.run("source", lambda vae, modes: vae.encode(frames, mode=modes.encode, one_pass=True))

    for side, clip in sources.clips.items():
        latents = encoded(whole_latents(clip.end, side, sources.temporal))
        made[side] = history_of(latents if side == "before" else latents[:, :, LEAST:], side, history)
    if sources.restyled is not None:
        made["source"] = in_passes(sources, source_latents(request.geometry), encoded)
    if sources.mask is not None and sources.restyled is None:
        for key in standing(request):
            pixels = pictures[key]
            made[f"standing:{key}"] = encoded(np.repeat(pixels[None], STILL_FRAMES, 0))[:, :, -1:]
    return made


def whole_latents(frames: np.ndarray, side: Beside, temporal: int) -> np.ndarray:
    """The frames nearest the new part as a clip of whole latents; one that is too short stands still for the rest.

    What comes after stands still for LEAST latents before it begins, so that each later latent holds `temporal` frames
    as it would within a video: a clip's first latent is a single frame.
    """
    still = temporal * (LEAST - 1) + 1
    if side == "before":
        frames = padded(frames, max(still - len(frames), 0), 0)
        return frames[-((len(frames) - 1) // temporal * temporal + 1) :]
    frames = padded(frames, 0, max(temporal * LEAST - len(frames), 0))
    return padded(frames[: len(frames) // temporal * temporal], still, 0)


def padded(frames: np.ndarray, before: int, after: int) -> np.ndarray:
    """Frames (T, H, W, 3) with the first and the last one repeated so often; themselves where that is never."""
    if before == after == 0:
        return frames
    return np.pad(frames, ((before, after), *((0, 0),) * 3), mode="edge")


def history_of(latents: Tensor, side: Beside, count: int) -> Tensor:
    """The `count` latents nearest the new part, zeros where there are fewer."""
    latents = latents[:, :, -count:] if side == "before" else latents[:, :, :count]
    missing = count - latents.shape[2]
    return F.pad(latents, (0, 0, 0, 0, missing, 0) if side == "before" else (0, 0, 0, 0, 0, missing))


def passes_of(frames: int, temporal: int, each: int) -> Iterator[tuple[range, int]]:
    """The frames of each pass over a clip, and how many of its first latents are only its warm-up."""
    start, total = 0, (frames - 1) // temporal + 1
    while True:
        stop = min(start + each, total)
        yield range(temporal * start, temporal * (stop - 1) + 1), WARM_UP if start else 0
        if stop == total:
            return
        start = stop - WARM_UP


def in_passes(sources: Sources, each: int, encoded: Callable[[np.ndarray], Tensor]) -> Tensor:
    """All latents of the restyled clip, in RAM."""
    assert sources.restyled is not None
    frames = sources.restyled.end
    made = [
        to_host(encoded(frames[part.start : part.stop])[:, :, warm_up:])
        for part, warm_up in passes_of(len(frames), sources.temporal, each)
    ]
    return torch.cat(made, dim=2)
