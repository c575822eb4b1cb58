"""Runs a batch again: finished videos are kept, queued jobs stay, failed ones are retried."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framepack.jobs.batch import has_title
from framepack.jobs.job import Job
from framepack.jobs.store import JobStore
from framepack.spec.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """The jobs of an earlier batch of the same title that have these requests."""

    name: str
    jobs: dict[int, Job]
    """By the index of the request. The others are new in the batch, or their videos were deleted or may be replaced."""

    def with_status(self, *status: str) -> list[Job]:
        """Those in one of the states."""
        return [job for job in self.jobs.values() if job.status in status]

    def requeue(self, store: JobStore, machine: Mapping[str, Any]) -> list[Job]:
        """Queue failed and cancelled jobs again; returns all jobs that are not done. `machine`: see `Job`."""
        for job in self.with_status("failed", "cancelled"):
            store.retry(job.id)
        for job in self.with_status("failed", "cancelled", "queued", "paused"):
            store.set_machine(job.id, machine)
        return [job for job in self.jobs.values() if job.status != "done"]


def find_rerun(store: JobStore, title: str, requests: Sequence[GenerationRequest]) -> Rerun | None:
    """The newest batch of that title with a job for at least one of the requests, which are those of `adopt`."""
    batches: dict[str, list[Job]] = defaultdict(list)
    for job in store.jobs(limit=-1):
        if job.batch and has_title(job.batch, title):
            batches[job.batch].append(job)
    for name, jobs in sorted(batches.items(), key=lambda item: -max(job.created for job in item[1])):
        found = _matching(jobs, requests)
        if found:
            return Rerun(name=name, jobs=found)
    return None


def _matching(jobs: Sequence[Job], requests: Sequence[GenerationRequest]) -> dict[int, Job]:
    """By the index of a request, the job with the same JSON; a job counts for one request only."""
    free: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        free[current_json(job.request_json)].append(job)
    found: dict[int, Job] = {}
    for index, request in enumerate(requests):
        same = [job for job in free[request.model_dump_json()] if _is_valid(job, request)]
        if same:
            found[index] = same[0]
            free[request.model_dump_json()].remove(same[0])
    return found


def current_json(request_json: str) -> str:
    """A stored request as the current version writes it; a field that it has not is at its default."""
    try:
        return GenerationRequest.stored(json.loads(request_json)).model_dump_json()
    except (ValueError, TypeError):
        return request_json


def _is_valid(job: Job, request: GenerationRequest) -> bool:
    """Not where its video was deleted, or where the request allows to replace it."""
    return job.status != "done" or (
        not request.output.overwrite and bool(job.outputs) and all(file.is_file() for file in job.outputs)
    )
