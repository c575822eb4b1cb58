"""Server-sent events: the state now, then what happens. Source: the HTML standard, section 9.2.

No listener holds a thread, and a slow one holds up nobody.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from framepack.app.api.views import news_view
from framepack.app.service import Service
from framepack.jobs.job import UnknownJob

QUIET = 15.0
"""Seconds of silence after which a comment shows that the connection still lives."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def event_routes(service: Service) -> APIRouter:
    """Events of one job, and of all."""
    routes = APIRouter(prefix="/api", tags=["events"])

    @routes.get("/jobs/{job}/events", response_class=StreamingResponse)
    async def of_one(job: str) -> StreamingResponse:
        """`job` (its whole state, first and whenever it changes), `step`, `section`, ..., `deleted`."""
        await run_in_threadpool(service.get, job)
        return StreamingResponse(stream(service, job), media_type="text/event-stream", headers=HEADERS)

    @routes.get("/events", response_class=StreamingResponse)
    async def of_all() -> StreamingResponse:
        """The same of every job; each event names its job."""
        return StreamingResponse(stream(service, None), media_type="text/event-stream", headers=HEADERS)

    return routes


async def stream(service: Service, job: str | None) -> AsyncIterator[str]:
    """News as text, until the client goes or the job is deleted."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the server has closed
            loop.call_soon_threadsafe(arrived.set)

    try:
        listening = await run_in_threadpool(service.listen, job, wake)
    except UnknownJob:  # deleted since it was asked for
        yield told("deleted", {"job": job})
        return
    with listening as listener:
        while True:
            while (news := listener.get(0)) is not None:
                name, data = news_view(news, service.folders)
                yield told(name, data)
                if news.deleted and job:
                    return
            try:
                await asyncio.wait_for(arrived.wait(), QUIET)
            except TimeoutError:
                yield ": still here\n\n"
            arrived.clear()


def told(name: str, data: dict[str, Any]) -> str:
    """An event as the standard writes it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
