"""Routes of batches: many jobs in one call, how they are, ending them all, and their contact sheet."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from framepack.app.api.bodies import json_body
from framepack.app.api.files import send_file
from framepack.app.api.jobs import handed_in
from framepack.app.api.receive import LimitedRoute, text_of
from framepack.app.api.submit import object_of, validated
from framepack.app.api.views import JobView, answer
from framepack.app.machine import preserving
from framepack.app.service.batches import BatchView, batch_of, cancel_batch, newest_batches, queue_batch, sheet_of
from framepack.app.service.job_service import Service
from framepack.jobs.batch import Item
from framepack.spec.model import Model
from framepack.spec.request import GenerationRequest


class Batch(Model):
    """Requests, each of them made in all combinations of `grid`'s values: {"seed": [1, 2], "output.crf": [16, 20]}.

    A request may name a `preset`, and so may the grid.
    """

    model_config = ConfigDict(strict=True)
    requests: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    preserve_gb: float | None = None
    name: Annotated[str, Field(max_length=80)] = "batch"


def batch_routes(service: Service) -> APIRouter:
    """All of them. Errors are {"error": sentence}; that of a request begins with its row."""
    routes = APIRouter(prefix="/api/batches", tags=["batches"], route_class=LimitedRoute)

    @routes.post("", status_code=201, response_model=list[JobView], openapi_extra=json_body(Batch))
    async def submit_batch(request: Request) -> Response:
        """Queue many requests, all or none."""
        return await run_in_threadpool(queue, service, await text_of(request))

    @routes.get("")
    def listing(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[BatchView]:
        """The newest batches, the newest one first; their jobs are at `/api/jobs?batch=NAME`."""
        return newest_batches(service, limit)

    @routes.get("/{batch}")
    def show(batch: str) -> BatchView:
        """How one is now."""
        return batch_of(service, batch)

    @routes.post("/{batch}/cancel")
    def cancel(batch: str) -> BatchView:
        """End all its jobs that have not ended; what is finished stays."""
        return cancel_batch(service, batch)

    @routes.get("/{batch}/sheet", response_class=FileResponse)
    def sheet(batch: str) -> FileResponse:
        """The contact sheet, a PNG: the last frame of each video and what differs from the others."""
        return send_file(sheet_of(service, batch))

    return routes


def queue(service: Service, text: bytes) -> Response:
    """Queue the batch in a body, and show its jobs."""
    batch = Batch.model_validate(object_of(text))
    items = [
        Item(data=data, label=f"request {number}", origin=f"request {number}")
        for number, data in enumerate(batch.requests, 1)
    ]

    def make(data: dict[str, Any]) -> GenerationRequest:
        return validated(data, service.folders)

    machine = preserving(batch.preserve_gb, gpu=service.has_gpu)
    jobs = queue_batch(service, batch.name, items, tuple(batch.grid.items()), make, machine)
    return answer((handed_in(service, job) for job in jobs), 201)
