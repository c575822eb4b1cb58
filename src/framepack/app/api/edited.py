"""The route that shows a picture as a video will have it: its edits, and the size the video gets."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Response

from framepack.app.api.files import SAFE, found
from framepack.app.api.receive import DECODING, LimitedRoute
from framepack.app.api.submit import object_of, shaped
from framepack.app.service.edited import as_used
from framepack.app.service.job_service import Service
from framepack.app.service.uploads import LONGEST
from framepack.jobs.folders import Folders
from framepack.media.image import encode_image
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.rules import shortened
from framepack.spec.tasks import TASKS

SIZING = ("image", "task", "model", "resolution", "width", "height")
"""A request's fields that decide a video's size."""
Edits = Annotated[str, Query(description="JSON: the picture's edits, as in a request")]
Video = Annotated[
    str | None,
    Query(description=f"JSON: the request's {', '.join(SIZING)}. Without it the picture keeps its shape"),
]
Longest = Annotated[int | None, Query(ge=16, le=LONGEST, description="pixels; a larger picture is scaled down")]


def edited_routes(service: Service) -> APIRouter:
    """Just the one."""
    routes = APIRouter(prefix="/api", tags=["files"], route_class=LimitedRoute)
    folders = service.folders

    @routes.get("/uploads/{name}/edited", response_class=Response)
    async def edited(name: str, edits: Edits = "{}", video: Video = None, longest: Longest = None) -> Response:
        """The picture with its edits, as PNG; with `video` as that will use it. X-Size: WIDTHxHEIGHT in the video."""

        def drawn() -> Response:
            done = object_in("edits", edits)
            picture = picture_of(name, done, folders)
            wanted = None if video is None else video_of(object_in("video", video), {**done, "file": name}, folders)
            return shown(picture, wanted, longest)

        return await to_thread.run_sync(drawn, limiter=DECODING)

    return routes


def object_in(parameter: str, text: str) -> dict[str, Any]:
    """The JSON object in a parameter of the address; ValueError for anything else."""
    try:
        return object_of(text.encode())
    except ValueError:
        raise ValueError(f"{parameter} in the address must be a JSON object, got {shortened(text)}") from None


def picture_of(name: str, edits: dict[str, Any], folders: Folders) -> Picture:
    """The upload or output called `name` with these edits; 404 where there is none, RequestError for wrong edits."""
    if "file" in edits:
        raise ValueError("the address names the file: leave it out of the edits")
    return Picture.model_validate({**edits, "file": found(name, folders.uploads, folders.outputs)})


def video_of(asked: dict[str, Any], image: dict[str, Any], folders: Folders) -> GenerationRequest:
    """A request as far as it decides the video's size; it starts with `image` where it names no other."""
    if unknown := sorted(asked.keys() - set(SIZING)):
        raise ValueError(f"{unknown[0][:80]!r} does not decide a video's size: use {', '.join(SIZING)}")
    task = asked.pop("task", "image")
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {shortened(task)}")
    # Of videos with a source all have the same size, and restyle needs nothing beside its source.
    return shaped({"image": image, **asked, "task": "restyle" if TASKS[task].clips else "image"}, folders)


def shown(picture: Picture, video: GenerationRequest | None, longest: int | None) -> Response:
    """The answer: the picture, and its size before it was made smaller to be looked at."""
    pixels, (height, width) = as_used(picture, video, longest)
    headers = {**SAFE, "x-size": f"{width}x{height}"}
    return Response(encode_image(pixels, "png"), media_type="image/png", headers=headers)
