"""Batches of a service, for the page and the HTTP API: queue many jobs at once, see how they are, end them all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from framepack.app.service.job_service import Service
from framepack.app.service.sheets import sheet_file
from framepack.jobs.batch import Item, batch_name, make_requests, title_of
from framepack.jobs.grid import Grid
from framepack.jobs.job import UNFINISHED, Job, UnknownJob
from framepack.jobs.store import NO_SETTINGS
from framepack.spec.request import GenerationRequest


class BatchView(BaseModel):
    """A batch: how many jobs it has, how many of them have each status, and its contact sheet, once that is made."""

    name: str
    title: str
    jobs: int
    counts: dict[str, int]
    unfinished: int
    sheet: str | None


def queue_batch(
    service: Service,
    title: str,
    items: Sequence[Item],
    grid: Grid,
    make: Callable[[dict[str, Any]], GenerationRequest],
    machine: Mapping[str, Any] = NO_SETTINGS,
) -> list[Job]:
    """Queue all items in all combinations of the grid, or none. ValueError with the row that cannot be."""
    requests, labels = make_requests(items, grid, resolve=service.presets.resolve, make=make)
    return service.submit(requests, batch=batch_name(title), labels=labels, machine=machine)


def cancel_batch(service: Service, name: str) -> BatchView:
    """End all jobs of a batch that have not ended; what is finished stays. UnknownJob where there is no such batch."""
    batch_of(service, name)
    service.store.cancel_batch(name)
    return batch_of(service, name)


def batch_of(service: Service, name: str) -> BatchView:
    """One batch as it is now. UnknownJob where there is none."""
    jobs = service.store.jobs(batch=name, limit=-1)
    if not jobs:
        raise UnknownJob(f"there is no batch called {name[:80]!r}")
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.status] = counts.get(job.status, 0) + 1
    return view_of(service, name, counts)


def newest_batches(service: Service, most: int) -> list[BatchView]:
    """The newest batches, the newest one first."""
    return [view_of(service, name, counts) for name, counts in service.store.batches(most).items()]


def sheet_of(service: Service, name: str) -> Path:
    """The contact sheet of a batch. UnknownJob where there is none: not every job has ended, or none made a video."""
    view = batch_of(service, name)
    if view.sheet is None:
        raise UnknownJob(f"batch {name} has no contact sheet yet: it is made when all its jobs have ended")
    return sheet_file(service.folders, name)


def view_of(service: Service, name: str, counts: Mapping[str, int]) -> BatchView:
    """A batch by the statuses of its jobs."""
    left = sum(counts.get(status, 0) for status in UNFINISHED)
    sheet = not left and sheet_file(service.folders, name).is_file()
    address = f"/api/batches/{name}/sheet" if sheet else None
    total = sum(counts.values())
    return BatchView(name=name, title=title_of(name), jobs=total, counts=dict(counts), unfinished=left, sheet=address)
