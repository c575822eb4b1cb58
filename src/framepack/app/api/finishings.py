"""Routes of files that someone hands in to have them finished or converted: queued, watched, cancelled, fetched."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from framepack.app.api.bodies import form_body
from framepack.app.api.broadcast import Full
from framepack.app.api.events import EventStream
from framepack.app.api.files import send_file
from framepack.app.api.receive import Form, LimitedRoute, form_of, text_of
from framepack.app.api.submit import PART, object_of, require_numbers
from framepack.app.service.finishings import FileWork, Finishing, State
from framepack.app.service.incoming import IncomingFile, taken_in
from framepack.app.service.job_service import Service
from framepack.app.service.paths import find_file, find_finishing, without_folders
from framepack.jobs.folders import Folders
from framepack.jobs.job import UnknownJob
from framepack.pipeline.finishing import ignored

FILES = ("file", "network", "lut", "audio", "join")
"""Fields that name files."""
OF_SERVICE = ("network", "lut", "audio")
"""Steps whose files lie in the service's folder for finishing, where the form does not bring them."""
LISTENING = 64
"""Clients that may listen to finishings at a time."""
EVERY = 0.5
"""Seconds between two looks at how far one is."""


class FinishingView(BaseModel):
    """Where one stands."""

    id: str
    status: State
    frames: int
    """Frames of the new file that are written."""
    total: int
    """Of how many; 0 before it begins."""
    file: str
    notices: list[str]
    error: str
    url: str | None
    """Where the new file is fetched from, once it is done."""
    credentials: str | None
    """Where its content credentials are fetched from, where they are a file beside it."""

    model_config = {"use_attribute_docstrings": True}


def finishing_routes(service: Service) -> APIRouter:
    """All of them."""
    routes = APIRouter(prefix="/api/finishings", tags=["finishing"], route_class=LimitedRoute)
    for part in (adding, watching, fetching):
        part(routes, service)
    return routes


def adding(routes: APIRouter, service: Service) -> None:
    """What comes in."""
    finishings = service.finishings

    @routes.post(
        "",
        status_code=201,
        openapi_extra=form_body(
            file="the video",
            audio="its sound",
            lut="a .cube table",
            network="a .safetensors network",
            text="steps and format as JSON, see reference.md",
        ),
    )
    async def add(request: Request) -> FinishingView:
        """Hand in a file with what is to be done to it, and have that queued.

        A form: `file`, and `request` as JSON, such as {"enlarge": 2, "format": "mov", "lut": "part:lut"}, whose files
        are further parts. Or that JSON alone, in which `file` names an upload or output. A network enlarges on the
        processor here.
        """
        folder = await run_in_threadpool(finishings.begin)
        try:
            form = await form_in(request, lambda name: IncomingFile(finishings.require_room, folder, name))
            return view(await run_in_threadpool(queued, service, folder, form), service.folders)
        except BaseException:
            await run_in_threadpool(finishings.drop, folder)
            raise


def watching(routes: APIRouter, service: Service) -> None:
    """How far they are."""
    finishings, listening = service.finishings, asyncio.Semaphore(LISTENING)

    @routes.get("")
    def listing() -> list[FinishingView]:
        """All that are not older than a day, in the order they came."""
        return [view(one, service.folders) for one in finishings.all()]

    @routes.get("/{finishing}")
    def show(finishing: str) -> FinishingView:
        """One of them."""
        return view(finishings.get(finishing), service.folders)

    @routes.get("/{finishing}/events", response_class=StreamingResponse)
    async def events(finishing: str) -> EventStream:
        """`finishing`: its state, first and whenever it changes, until it ends; `deleted` where it is cancelled."""
        finishings.get(finishing)
        return EventStream(told(service, finishing, listening))


def fetching(routes: APIRouter, service: Service) -> None:
    """What came of them."""
    finishings = service.finishings

    @routes.get("/{finishing}/file", response_class=FileResponse)
    def file(finishing: str) -> FileResponse:
        """The new file, once it is done; ranges are honoured."""
        return send_file(finishings.file(finishing))

    @routes.get("/{finishing}/credentials", response_class=FileResponse)
    def credentials(finishing: str) -> FileResponse:
        """Its content credentials, NAME.c2pa, where the new file cannot hold them; 404 where there are none."""
        return send_file(finishings.credentials(finishing))

    @routes.delete("/{finishing}", status_code=204)
    def cancel(finishing: str) -> Response:
        """End it, where it is at work, and forget it with all its files."""
        finishings.cancel(finishing)
        return Response(status_code=204)


def view(now: Finishing, folders: Folders) -> FinishingView:
    """As a client sees it."""
    place, done = f"/api/finishings/{now.id}", now.status == "done"
    return FinishingView(
        **without_folders({**asdict(now), "notices": list(now.notices)}, folders),
        url=f"{place}/file" if done else None,
        credentials=f"{place}/credentials" if done and now.beside else None,
    )


async def form_in(request: Request, take: Callable[[str], IncomingFile]) -> Form[Path]:
    """A form, or JSON alone as one without files."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return Form(texts={"request": await text_of(request)})
    return await form_of(request, take)


def queued(service: Service, folder: Path, form: Form[Path]) -> Finishing:
    """Queue what a form says, its names made paths. ValueError for what names nothing, and for what is not used."""
    if others := sorted(form.texts.keys() - {"request"}):
        raise ValueError(f"the form's field {others[0][:80]!r} is not known; settings go into `request`, as JSON")
    data = {"file": FileWork.model_fields["file"].default, **object_of(form.texts.get("request", b"{}"))}
    require_numbers(FileWork, data)
    parts, used = dict(form.files), set[str]()
    if len(parts) < len(form.files):
        raise ValueError("the form has two files in one field: give each a field of its own")

    def named(_: str, name: str) -> str:
        part = part_of(name, parts)
        return parts[part].name if part else name

    FileWork.model_validate(with_files(data, named))  # bounds hold before a file is looked for

    def located(field: str, name: str) -> str:
        if part := part_of(name, parts):
            used.add(part)
            return str(parts[part])
        if field in OF_SERVICE:
            return str(taken_in(folder, find_finishing(name, service.folders)))
        return str(taken_in(folder, find_file(name, (service.folders.uploads, service.folders.outputs))))

    found = with_files(data, located)
    if unused := sorted(parts.keys() - used):
        raise ValueError(f'nothing uses the file {unused[0][:80]!r}: write "{PART}{unused[0][:80]}" where it belongs')
    work = FileWork.model_validate(found)
    return service.finishings.add(folder, work, ignored(work.steps(), work.output()))


def part_of(name: str, parts: Collection[str]) -> str:
    """The form's field that a name means; "" where it means no part. ValueError where the form has no such file."""
    part = name.removeprefix(PART) if name.startswith(PART) else ""
    if name.startswith(PART) and part not in parts:
        raise ValueError(f"the form has no file called {part[:80]!r}")
    return part


def with_files(data: dict[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """A copy of the JSON of a `FileWork` in which each file's name, where it is a text, is changed."""

    def changed(field: str, value: Any) -> Any:
        if isinstance(value, list):
            return [changed(field, one) for one in value]
        return change(field, value) if isinstance(value, str) else value

    return {name: changed(name, value) if name in FILES else value for name, value in data.items()}


async def told(service: Service, name: str, listening: asyncio.Semaphore) -> AsyncGenerator[bytes]:
    """Pages of events."""
    if listening.locked():
        raise Full(f"{LISTENING} clients listen already: ask again in a minute")
    async with listening:
        before = None
        while before is None or before.status in ("waiting", "running"):
            try:
                now = service.finishings.get(name)
            except UnknownJob:
                yield page("deleted", {"id": name})
                return
            if now != before:
                yield page("finishing", view(now, service.folders).model_dump(mode="json"))
            before = now
            await asyncio.sleep(EVERY)


def page(event: str, data: dict[str, Any]) -> bytes:
    """One event."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
