"""A batch that is run once more: what was made already is kept, what was queued goes on, what failed is tried again."""

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
    """The jobs that an earlier batch of the same title has of these requests."""

    name: str
    jobs: dict[int, Job]
    """By the request's place. The others were not in that batch, or their videos are gone or to be made anew."""

    def having(self, *status: str) -> list[Job]:
        """Those in one of the states."""
        return [job for job in self.jobs.values() if job.status in status]

    def take_up(self, store: JobStore, machine: Mapping[str, Any]) -> list[Job]:
        """Queue again what failed or was cancelled; returns all jobs that are not done. `machine`: see `Job`."""
        for job in self.having("failed", "cancelled"):
            store.retry(job.id)
        for job in self.having("failed", "cancelled", "queued", "paused"):
            store.arrange(job.id, machine)
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
    """A job for each request that is the same to the letter; each job stands for one request."""
    free: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        free[todays(job.request_json)].append(job)
    found: dict[int, Job] = {}
    for place, request in enumerate(requests):
        same = [job for job in free[request.model_dump_json()] if _counts(job, request)]
        if same:
            found[place] = same[0]
            free[request.model_dump_json()].remove(same[0])
    return found


def todays(request_json: str) -> str:
    """A request as today's version writes it: one from before a setting was there has that at its default."""
    try:
        return GenerationRequest.stored(json.loads(request_json)).model_dump_json()
    except (ValueError, TypeError):
        return request_json


def _counts(job: Job, request: GenerationRequest) -> bool:
    """Not so a video that someone deleted, or that the request allows to replace."""
    return job.status != "done" or (
        not request.output.overwrite and bool(job.outputs) and all(file.is_file() for file in job.outputs)
    )
