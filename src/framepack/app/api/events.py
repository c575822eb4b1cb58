"""Server-sent events: the state now, then what happens. Source: the HTML standard, section 9.2.

No listener holds a thread, and a slow one holds up nobody.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from anyio import create_task_group, move_on_after
from fastapi import APIRouter, HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from framepack.app.api.broadcast import Broadcast, Full
from framepack.app.api.receive import LimitedRoute
from framepack.app.service.job_service import Service

STALLED = 30.0
"""Seconds in which a client has to take a page; one that does not is given up."""
AGAIN = "30"
"""Seconds after which to ask again where there are too many."""


class EventStream(Response):
    """Sends pages until there are no more, the client has gone, or it takes none of them any longer.

    HTTPException where there are as many streams as there may be.
    """

    media_type = "text/event-stream"

    def __init__(self, pages: AsyncGenerator[bytes]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Response."""
        async with aclosing(self._pages):
            try:
                first = await anext(self._pages)
            except Full as error:
                raise HTTPException(503, str(error), {"retry-after": AGAIN}) from error
            async with create_task_group() as group:

                async def until_gone() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(until_gone)
                await self._send(first, send)
                group.cancel_scope.cancel()

    async def _send(self, page: bytes, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while page:
            with move_on_after(STALLED) as limit:
                await send({"type": "http.response.body", "body": page, "more_body": True})
            if limit.cancelled_caught:
                return
            await asyncio.sleep(0)  # others have their turn, also where this client takes everything at once
            page = await anext(self._pages, b"")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event_routes(service: Service) -> APIRouter:
    """Events of one job, and of all."""
    routes = APIRouter(prefix="/api", tags=["events"], route_class=LimitedRoute)
    broadcast = Broadcast(service)

    @routes.get("/jobs/{job}/events", response_class=StreamingResponse)
    async def of_one(job: str) -> EventStream:
        """`job` (its whole state, first and whenever it changes), `step`, `section`, ..., `deleted`."""
        await run_in_threadpool(service.get, job)
        return EventStream(broadcast.stream(job))

    @routes.get("/events", response_class=StreamingResponse)
    async def of_all() -> EventStream:
        """The same of every job; each event names its job. `more`: of a long queue, how many jobs it began with."""
        return EventStream(broadcast.stream(None))

    return routes
