"""What the API says of a job: plain JSON with names and addresses, never a path of this machine."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Response
from pydantic import BaseModel

from framepack.app.service.paths import for_client, without_folders
from framepack.app.service.takes import TakeNode
from framepack.jobs.feed import JobUpdate
from framepack.jobs.folders import Folders
from framepack.jobs.job import ControlRequest, Job, Progress, Status
from framepack.jobs.paths import paths_in
from framepack.spec.events_json import to_json
from framepack.spec.parts import Redo
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS


class File(BaseModel):
    """A file in the outputs folder."""

    name: str
    url: str
    bytes: int


class JobView(BaseModel):
    """A job. Times are seconds since 1970. `video` plays what exists so far, `picture` is a thumbnail."""

    id: str
    status: Status
    position: int
    label: str
    batch: str | None
    request: dict[str, Any]
    frames: int | None
    """How many the video has when it is done; null where that is not known before, as of one with a source."""
    progress: Progress
    wish: ControlRequest | None
    """What was requested of a running job and has not happened yet."""
    waits_for: str | None
    reason: str
    created: float
    started: float | None
    finished: float | None
    ran: float
    attempts: int
    outputs: list[File]
    video: str | None
    picture: str
    preview: str | None
    tree: str | None = None
    """The job whose video this one is another take of."""
    machine: dict[str, Any] = {}
    """How it may use the machine, such as {"preserve": "6GB"}."""
    doubts: list[str] = []
    """Only where a request is handed in: what of it has no effect or is cut off, a model that is not here."""
    traceback: str | None = None
    """Only where one job is asked for."""


class TakeView(BaseModel):
    """A take of a video; sections are counted from 1 in the order of time."""

    take: int
    parent: int | None
    """The take it was begun from; null for the first."""
    job: str | None
    """null where the job was deleted and another take was begun from it."""
    status: Status | None
    redo: Redo | None
    """What it made anew; null for the first."""
    sections: list[int]
    """For each section, the take that made it."""
    times: list[tuple[float, float]]
    """From which second to which each section is seen."""


def take_view(node: TakeNode) -> TakeView:
    """A take as the API shows it."""
    job = node.job
    return TakeView(
        take=node.take,
        parent=node.parent,
        job=job and job.id,
        status=job and job.status,
        redo=node.redo,
        sections=list(node.sections),
        times=list(node.times),
    )


def file_view(file: Path) -> File:
    """A file of the outputs folder."""
    return File(name=file.name, url=f"/api/files/{quote(file.name)}", bytes=file.stat().st_size)


def files_views(files: Iterable[Path]) -> list[File]:
    """Those of the files that are there: a part of a video may go the moment it is looked at."""
    views = []
    for file in files:
        with suppress(FileNotFoundError):
            views.append(file_view(file))
    return views


def job_view(job: Job, folders: Folders, *, traceback: bool = False) -> JobView:
    """A job as the API shows it."""
    files = files_views(file for file in job.outputs if file.parent == folders.outputs)
    shown = {name: getattr(job, name) for name in JobView.model_fields if name in Job.__dataclass_fields__}
    request = json.loads(job.request_json)
    named = [*paths_in(request), *job.outputs]
    told = {"label": job.label, "reason": job.reason, "traceback": job.traceback if traceback else None}
    shown |= without_folders(told, folders, named)
    shown |= {
        "progress": replace(job.progress, notices=without_folders(job.progress.notices, folders, named)),
        "request": for_client(request),
        "frames": frames_of(job, request),
        "wish": job.control_request,  # its name in version 0.1.0 of the API
        "outputs": files,
        "video": f"/api/jobs/{job.id}/video" if files else None,
        "picture": f"/api/jobs/{job.id}/picture",
        "preview": f"/api/jobs/{job.id}/preview" if job.status == "running" else None,
    }
    return JobView(**shown)


def frames_of(job: Job, request: Mapping[str, Any]) -> int | None:
    """Frames of the job's video; of one that has a source's, or lasts as long, they are known when it is done."""
    row = TASKS.get(request.get("task", "image"))
    if row is not None and row.clips:
        return job.progress.frames if job.status == "done" else None
    return delivered(request)


def delivered(request: Mapping[str, Any]) -> int | None:
    """Frames of a stored request's video; nothing else of it is looked at."""
    with suppress(ValueError):
        asked = {
            name: request[name]
            for name in ("model", "task", "seconds", "window", "length", "still", "output")
            if name in request
        }
        return GenerationRequest.stored({"image": "-", **asked}).delivered_frames
    return None


def answer(views: BaseModel | Iterable[BaseModel], status: int = 200) -> Response:
    """An answer that is written here, on the caller's thread: FastAPI would do it on the event loop, where all wait."""
    if isinstance(views, BaseModel):
        content = views.model_dump_json()
    else:
        content = f"[{','.join(view.model_dump_json() for view in views)}]"
    return Response(content, status, media_type="application/json")


def update_view(update: JobUpdate, folders: Folders) -> tuple[str, dict[str, Any]]:
    """An update as the name and data of a server-sent event.

    `job`: a job's whole state. `deleted`: there is none any more. Else an event's own tag: its fields and the progress.
    """
    if update.deleted:
        return "deleted", {"job": update.job.id}
    if update.event is None:
        return "job", job_view(update.job, folders).model_dump(mode="json")
    event = to_json(update.event, preview=False)
    if event.get("file"):
        event["file"] = Path(event["file"]).name
    event.pop("traceback", None)
    named = paths_in(json.loads(update.job.request_json))
    said = without_folders({"event": event, "progress": asdict(update.job.progress)}, folders, [*named])
    return event["type"], {"job": update.job.id, **said}
