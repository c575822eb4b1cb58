"""Whether the files of a request from the network are what their fields take, by content, before it is queued."""

from collections.abc import Mapping
from typing import Any

from framepack.app.service.uploads import ANIMATED, AT_ONCE, VIDEOS, still_upload
from framepack.files.errors import MediaError
from framepack.jobs.folders import Folders
from framepack.media.clips import lasting
from framepack.media.source import kind_of
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS

FIELDS: Mapping[str, tuple[str, ...]] = {
    "start": ("image",),
    "end": ("end_frame", "image"),
    "reference": ("reference", "image"),
    "target": ("target",),
    "mask": ("motion_mask",),
}
"""Where in a request's JSON a picture of the plan stands; "frame:N" is frames, N, image."""


def with_usable_files(request: GenerationRequest, folders: Folders) -> GenerationRequest:
    """The request; where a field takes a picture, an animation that was uploaded is its first frame.

    Raises MediaError for a picture where a video is needed and for a video where a picture is, ValueError where times
    lie beyond the video that is restyled.
    """
    data = None
    for key, picture in request.files.items():
        if needs_still(request, key, picture) and picture.file.parent == folders.uploads:
            data = data or request.model_dump(mode="json")
            inner: Any = data
            *above, last = place_of(key)
            for name in above:
                inner = inner[name]
            still = str(still_upload(picture.file))
            inner[last] = {**inner[last], "file": still} if isinstance(inner[last], dict) else still
    if request.task == "restyle":
        with AT_ONCE:
            lasting(request)
    return GenerationRequest.model_validate(data) if data else request


def needs_still(request: GenerationRequest, key: str, picture: Picture) -> bool:
    """Whether it is an animation in a picture's place. Raises MediaError for what is of the wrong kind."""
    row = TASKS[request.task]
    with picture.file.open("rb") as file:
        kind = kind_of(file)
    field = ".".join(map(str, place_of(key)))
    if key not in row.clips:
        if kind in VIDEOS:
            raise MediaError(f"{field} takes a picture, and this is a video ({kind}): send one of its frames as PNG")
        return kind in ANIMATED
    if not row.pictures and kind not in (*VIDEOS, *ANIMATED):
        raise MediaError(f"{field} is a picture, and {row.title} needs a video: send one, or use task image")
    return False


def place_of(key: str) -> tuple[str | int, ...]:
    """The names that lead to a picture of the plan in a request's JSON."""
    if key.startswith("frame:"):
        return "frames", int(key.removeprefix("frame:")), "image"
    return FIELDS[key]
