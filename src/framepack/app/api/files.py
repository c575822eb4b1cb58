"""Routes of files: uploads in; videos, previews and thumbnails out, the first with ranges, from the outputs folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from framepack.app.api.bodies import form_body
from framepack.app.api.receive import DECODING, LimitedRoute, form_of
from framepack.app.api.views import File, answer, files_views
from framepack.app.service.convert import MOST
from framepack.app.service.job_service import Service
from framepack.app.service.paths import find_file, is_name, without_folders
from framepack.app.service.playable import playable
from framepack.app.service.thumbnails import thumbnail_of
from framepack.app.service.uploads import AT_ONCE, Incoming, Upload, checked
from framepack.media.credentials import SIDECAR
from framepack.media.frames import Still, Which
from framepack.media.image import encode_image
from framepack.media.inspection import Inspection
from framepack.media.sandbox import inspect_untrusted, still_of_untrusted_video
from framepack.media.sheet import png_with
from framepack.spec.formats import FORMATS
from framepack.spec.ignored import ignored_coding
from framepack.spec.output import FileCoding

MIMES = {row.suffix: row.mime for row in FORMATS.values()} | {".png": "image/png", SIDECAR: "application/c2pa"}
PLAIN = "".join(map(chr, range(32, 127))).replace("%", "")
"""What stands in a header as it is."""
CONVERTING = CapacityLimiter(2 * MOST)
"""Threads that may wait for a conversion: more than there may be, so that the others are refused at once."""
AS_IT_IS = FileCoding()
INLINE = ("video/", "image/")
SAFE = {"content-security-policy": "sandbox; default-src 'none'", "cache-control": "no-cache"}


class Converted(File):
    """A video in another format. `notes`: what of the settings has no effect, what of the video is left out."""

    notes: list[str]


def send_file(file: Path, notes: Sequence[str] = ()) -> FileResponse:
    """A file, whole or the ranges asked for; what is no picture or video is for saving only.

    notes: go into the header X-Notes, percent-encoded where they are not ASCII, as a header holds nothing else.
    """
    mime = MIMES.get(file.suffix.lower(), "application/octet-stream")
    shown = "inline" if mime.startswith(INLINE) else "attachment"
    headers = {**SAFE, "x-notes": "; ".join(quote(note, safe=PLAIN) for note in notes)} if notes else SAFE
    return FileResponse(file, media_type=mime, filename=file.name, content_disposition_type=shown, headers=headers)


def file_routes(service: Service) -> APIRouter:
    """All of them."""
    routes = APIRouter(prefix="/api", tags=["files"], route_class=LimitedRoute)
    for part in (uploads_and_outputs, pictures_of_jobs, frames_of_jobs):
        part(routes, service)
    return routes


def uploads_and_outputs(routes: APIRouter, service: Service) -> None:
    """Files by their names."""
    outputs = service.folders.outputs

    @routes.post("/uploads", status_code=201, openapi_extra=form_body(file="a picture or a video"))
    async def upload(request: Request) -> list[Upload]:
        """Hand in pictures (64 MB each, animations too) or videos (2 GB) as a form; their ids go into requests."""
        form = await form_of(request, lambda name: Incoming(service.folders, name))
        if not form.files:
            raise ValueError("the form has no file in it")
        return [upload for _, upload in form.files]

    @routes.get("/uploads/{name}/picture", response_class=FileResponse)
    async def upload_picture(name: str) -> FileResponse:
        """A thumbnail of a picture that was handed in, or of one in the outputs folder."""
        return await small(service, found(name, service.folders.uploads, outputs))

    @routes.get("/files", response_model=list[File])
    def files(limit: Annotated[int, Query(ge=1, le=10000)] = 1000) -> Response:
        """Files of the outputs folder, newest first."""
        found = [entry for entry in os.scandir(outputs) if is_name(entry.name) and entry.is_file()]
        newest = sorted(((written_at(entry), entry.path) for entry in found), reverse=True)[:limit]
        return answer(files_views(Path(path) for _, path in newest))

    @routes.get("/files/{name}", response_class=FileResponse)
    def file(name: str) -> FileResponse:
        """One of them; ranges are honoured."""
        return send_file(found(name, outputs))


def pictures_of_jobs(routes: APIRouter, service: Service) -> None:
    """What there is to see of a job."""

    @routes.get("/jobs/{job}/video", response_class=FileResponse)
    async def video(job: str, output: Annotated[FileCoding, Query()]) -> FileResponse:
        """What exists of the job's video by now; `format` has it converted first, which may take a while.

        A video in that format and codec is sent as it is, where nothing else is said. The header X-Notes says what
        of the settings has no effect, and what of the video was left out, such as sound.
        """
        file = await video_of(service, job, output)
        return send_file(file, [*ignored_coding(output), *await notes_of(service, file)])

    @routes.post("/jobs/{job}/convert")
    async def convert(job: str, output: Annotated[FileCoding, Query()]) -> Converted:
        """Have the video converted now; answers when that is done, with the address to fetch it from."""
        if "format" not in output.model_fields_set:
            raise ValueError("format is missing: say which it is, such as format=webm")
        file = await video_of(service, job, output)
        address = f"/api/jobs/{job}/video?{urlencode(output.model_dump(mode='json', exclude_unset=True))}"
        size, notes = file.stat().st_size, await notes_of(service, file)
        return Converted(name=file.name, url=address, bytes=size, notes=[*ignored_coding(output), *notes])

    @routes.get("/jobs/{job}/preview", response_class=Response)
    def preview(job: str) -> Response:
        """The last step's expected frames below each other as PNG; the header X-Frames says how many."""
        picture = service.preview(service.get(job).id)
        if picture is None:
            raise HTTPException(404, "there is no preview; it appears with the first step")
        headers = {"x-frames": str(picture[1]), "cache-control": "no-store"}
        return Response(picture[0], media_type="image/png", headers=headers)

    @routes.get("/jobs/{job}/picture", response_class=FileResponse)
    async def picture(job: str) -> FileResponse:
        """A thumbnail of the picture the job starts from."""
        found_job = await run_in_threadpool(service.get, job)
        return await small(service, found_job.request.image.file)


async def video_of(service: Service, job: str, output: FileCoding = AS_IT_IS) -> Path:
    """What exists of a job's video by now, or that in another format; 404 where there is nothing yet."""
    file = await run_in_threadpool(playable, service, job)
    if "format" not in output.model_fields_set:
        if said := output.model_dump(mode="json", exclude_unset=True):
            name, value = next(iter(said.items()))
            raise ValueError(f"{name} {value} needs a format: name that too, such as format=mp4")
        return file
    return await to_thread.run_sync(service.converted, job, output, limiter=CONVERTING)


async def notes_of(service: Service, file: Path) -> list[str]:
    """What was said when a file was made of a job's video, none where it is that video."""
    return without_folders(await run_in_threadpool(service.conversions.notices, file), service.folders)


def frames_of_jobs(routes: APIRouter, service: Service) -> None:
    """Single frames of a job's video, and what its file says."""

    async def frame(job: str, which: Which | None, at: float | None) -> Response:
        file = await video_of(service, job)
        shown, png = await to_thread.run_sync(still_png, file, which, at, limiter=DECODING)
        place = {"x-frame": str(shown.number), "x-frames": str(shown.frames), "x-second": f"{shown.second:.4f}"}
        name = f"inline; filename*=utf-8''{quote(file.stem)}-{shown.number:06d}.png"
        return Response(png, media_type="image/png", headers={**SAFE, **place, "content-disposition": name})

    @routes.get("/jobs/{job}/frames/{which}", response_class=Response)
    async def frame_by_number(job: str, which: Which) -> Response:
        """One frame of what exists of the video, as PNG: a number, the first being 0, or `first` or `last`."""
        return await frame(job, which, None)

    @routes.get("/jobs/{job}/frames", response_class=Response)
    async def frame_by_second(job: str, at: float) -> Response:
        """The frame on screen at a second."""
        return await frame(job, None, at)

    @routes.get("/jobs/{job}/inspect")
    async def inspect(job: str) -> Inspection:
        """What is inside the video's file: size, frames, codec, the settings it was made with, the mark."""
        file = await video_of(service, job)
        return await to_thread.run_sync(checked, inspect_untrusted, file, limiter=DECODING)


def written_at(entry: "os.DirEntry[str]") -> float:
    """When a file was written; 0 for one that has gone meanwhile."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def still_png(video: Path, which: Which | None, at: float | None) -> tuple[Still, bytes]:
    """A frame of a video and its PNG; MediaError where there is no such frame."""
    with AT_ONCE:
        shown, about = checked(lambda file: still_of_untrusted_video(file, file.name, which=which, at=at), video)
    return shown, png_with(encode_image(shown.pixels, "png"), about)


async def small(service: Service, picture: Path) -> FileResponse:
    """A thumbnail as an answer; 404 where there is no picture."""
    if picture.parent not in (service.folders.uploads, service.folders.outputs) or not picture.is_file():
        raise HTTPException(404, "the picture is gone")
    file = await to_thread.run_sync(thumbnail_of, service.folders, picture, limiter=DECODING)
    return FileResponse(file, media_type="image/jpeg", headers=SAFE)


def found(name: str, *folders: Path) -> Path:
    """A file of the folders, or 404."""
    try:
        return find_file(name, folders)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error
