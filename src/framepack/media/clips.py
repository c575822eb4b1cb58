"""The videos that a request works on: their frames at the model's rate and the video's size, one after another.

They are decoded in a child process, as strangers' files are. A frame that has the size already is passed on untouched.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from framepack.files.errors import MediaError
from framepack.media.edit import edited, fitted
from framepack.media.image import ImageRGB, load_image
from framepack.media.sandbox import probe_untrusted_video, still_of_untrusted_video, stream_untrusted_video
from framepack.media.sinks import Frame
from framepack.media.source import VIDEO_KINDS, kind_of, open_source
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS, End

SMALLEST, LARGEST = 0.5, 1.1
"""Times the area a model's video usually has: between these a source keeps its own size."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A source as its video has it. `end`: the frames nearest the new part, uint8 (T, H, W, 3), of `frames`."""

    picture: Picture
    end: np.ndarray
    frames: int
    fps: int
    size: tuple[int, int]
    """(height, width) of its frames in the video."""

    def __iter__(self) -> Iterator[Frame]:
        """All frames (H, W, 3), read anew."""
        yield from frames_of(self.picture, self.fps, self.size)


def is_video(picture: Picture) -> bool:
    """Whether the file is a video by its content. Raises MediaError where there is none."""
    with open_source(picture.file) as file:
        return kind_of(file) in VIDEO_KINDS


def require_kind(request: GenerationRequest, key: str, picture: Picture) -> None:
    """Raises MediaError for a picture where a video is needed, and for a video where none is."""
    row, video = TASKS[request.task], is_video(picture)
    if picture.file.is_dir():
        raise MediaError(f"'{picture.file}' is a folder: pack its pictures into a zip, or name one file")
    if key in row.clips and not row.pictures and not video:
        raise MediaError(f"'{picture.file}' is a picture, and {row.title} needs a video: use generate for a picture")


def look(request: GenerationRequest, key: str, picture: Picture) -> ImageRGB:
    """The pixels (H, W, 3) of a request's picture with its edits; of a video, the frame that stands for it."""
    require_kind(request, key, picture)
    end = TASKS[request.task].clips.get(key)
    return edited(still_of(picture, end) if end and is_video(picture) else load_image(picture.file), picture)


def still_of(picture: Picture, end: End) -> ImageRGB:
    """The first or last frame of a video, without edits."""
    return still_of_untrusted_video(picture.file, picture.file.name, which=end)[0].pixels


def frames_of(picture: Picture, fps: int, size: tuple[int, int]) -> Iterator[Frame]:
    """All frames of a video, or a picture as one, at a rate and a size (height, width)."""
    shown = stream_untrusted_video(picture.file, fps=fps) if is_video(picture) else iter([load_image(picture.file)])
    for frame in shown:
        yield fitted(edited(frame, picture), picture, size[1], size[0])


def read_clip(picture: Picture, *, end: End, count: int, fps: int, size: tuple[int, int]) -> Clip:
    """A source with its first or last `count` frames (fewer where there are fewer)."""
    kept, total = np.empty((count, *size, 3), np.uint8), 0  # pages of RAM are taken as frames come
    for total, frame in enumerate(frames_of(picture, fps, size), 1):
        if end == "last" or total <= count:
            kept[(total - 1) % count] = frame
    held = min(total, count)
    found = np.roll(kept, -total, axis=0) if total > count and end == "last" else kept[:held]
    return Clip(picture=picture, end=found, frames=total, fps=fps, size=size)


def size_for(request: GenerationRequest, height: int, width: int) -> tuple[int, int]:
    """(height, width) of the video whose image has this size: a source of about the model's size keeps its own."""
    if request.size is not None:
        return request.size
    usual, multiple = request.size_for(height, width), request.geometry.multiple
    share = height * width / (usual[0] * usual[1])
    own = TASKS[request.task].clips and height % multiple == width % multiple == 0 and SMALLEST <= share <= LARGEST
    return (height, width) if own else usual


def changes(request: GenerationRequest, size: tuple[int, int]) -> Iterator[str]:
    """A sentence for each source whose frames are not passed on untouched. size: (height, width) of the video."""
    if TASKS[request.task].clips and request.output.speed != 1:
        yield f"the video plays {request.output.speed:g} times as fast as its source, whose sound is left out"
    for key in TASKS[request.task].beside.values():
        picture = request.pictures[key]
        if not is_video(picture):
            continue
        info, fps, name = probe_untrusted_video(picture.file), request.geometry.fps, picture.file.name
        if info.fps != fps:
            rates = f"{float(info.fps):.5g} frames a second, the video {fps}"
            yield f"{name} has {rates}: some of its frames are repeated or left out"
        if (info.height, info.width) != size:
            yield f"{name} is resized once, from {info.width}x{info.height} to the video's {size[1]}x{size[0]}"


def lasting(request: GenerationRequest) -> GenerationRequest:
    """The same, no longer than the video that it restyles. ValueError where its times lie beyond that."""
    if request.task != "restyle":
        return request
    require_kind(request, "start", request.image)
    frames = max(round(probe_untrusted_video(request.image.file).duration * request.geometry.fps), 1)
    if request.frame_count <= frames:
        return request
    return GenerationRequest.model_validate(
        {**dict(request), "seconds": frames / request.geometry.fps, "length": "exact"}
    )
