"""The workers' side of the queue: claim a job, send heartbeats, finish or crash.

A claim token names one attempt. Only its holder may report on the job, so a worker that was taken for crashed can no
longer change what its successor does.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from framepack.jobs.database import Database
from framepack.jobs.job import ENDED, MAX_CRASHES, ControlRequest, Job, Progress

Outcome = Literal["done", "failed", "cancelled", "paused", "queued"]


class LostClaim(Exception):  # noqa: N818 - a state, not an error
    """The job has another claim by now, or has ended, or was deleted."""


class Claims:
    """Claims on the jobs of the queue in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, worker: str) -> Job | None:
        """Claim the next queued job for `worker`; None where there is none. No other call gets the same job."""
        waiting = "SELECT rowid AS row, * FROM job WHERE status = 'queued' ORDER BY position LIMIT 1"
        while self._database.rows(waiting):
            job = self._database.change_first(waiting, lambda job: claim_fields(job, worker))
            if job is None or not job.damaged:
                return job
        return None

    def heartbeat(self, job: str, claim: str, progress: Progress, outputs: Sequence[Path] = ()) -> None:
        """Save the progress. One section more than ever before resets the crash count."""
        now = time.time()

        def decide(job: Job) -> dict[str, Any]:
            check_claim(job, claim)
            before = max(job.progress.reached, job.progress.section)
            reached = max(before, progress.reached, progress.section)
            progress_now = replace(progress, reached=reached)
            values: dict[str, Any] = {"heartbeat": now, "ran": run_time(job, now), "progress": progress_now}
            if reached > before:
                values["crash_count"] = 0
            return {**values, "outputs": outputs} if outputs else values

        self._database.change(job, decide, timeout=0.0)

    def control_request(self, job: str, claim: str) -> ControlRequest | None:
        """The job's control request, None where there is none."""
        sql = "SELECT control_request FROM job WHERE id = ? AND claim = ?"
        rows = self._database.rows(sql, job, claim, timeout=0.0)
        if not rows:
            raise LostClaim(f"job {job} is no longer this worker's")
        request = rows[0]["control_request"]
        return request if request in get_args(ControlRequest) else None

    def finish(self, job: str, claim: str, outcome: Outcome, **fields: Any) -> Job:
        """End an attempt. Fields: reason, traceback, outputs, waits_for, progress.

        A control request that the worker has not received takes effect where the job would otherwise resume.
        """
        now = time.time()

        def decide(job: Job) -> dict[str, Any]:
            check_claim(job, claim)
            ended = {"finished": now if outcome in ENDED else None, "ran": run_time(job, now)}
            values = {
                "status": outcome,
                **RELEASED,
                "reason": "",
                "traceback": "",
                "waits_for": None,
                **ended,
                **fields,
            }
            resumes = outcome == "queued" or values["waits_for"] is not None
            return {**values, **control_fields(job.control_request, now)} if resumes else values

        return self._database.change(job, decide)

    def crash(
        self, job: str, claim: str, reason: str, traceback: str = "", *, blame: bool = True, at: float | None = None
    ) -> Job:
        """Return the job to the queue at its old place, or let it fail when too many workers crashed on it.

        blame: whether the crash counts for the job. at: when, None for now. A control request that the worker has not
        followed takes effect.
        """
        end = time.time() if at is None else at

        def decide(job: Job) -> dict[str, Any]:
            check_claim(job, claim)
            count = job.crash_count + blame
            values = {**RELEASED, "crash_count": count, "traceback": traceback, "ran": run_time(job, end)}
            if job.control_request in ("cancel", "stop"):
                return {**values, **control_fields(job.control_request, end)}
            if count >= MAX_CRASHES:
                why = f"{count} workers crashed on this job without finishing a section; the last one {reason}"
                return {**values, "status": "failed", "finished": end, "reason": why}
            why = f"the worker {reason}; the job resumes after its last finished section"
            return {**values, "status": "paused" if job.control_request == "pause" else "queued", "reason": why}

        return self._database.change(job, decide)

    def recover(self) -> list[Job]:
        """Return every running job to the queue: for a service that starts and has the queue to itself.

        Each ended with its last heartbeat; the time the machine was off does not count.
        """
        running = self._database.jobs("SELECT * FROM job WHERE status = 'running'")
        return [
            self.crash(
                job.id,
                job.claim or "",
                "stopped with the service",
                blame=(job.claim or "").startswith(IN_PROCESS),
                at=job.heartbeat,
            )
            for job in running
            if not job.damaged
        ]


IN_PROCESS = "thread"
"""How the names of workers begin that are threads of the service, and so can crash it."""
RELEASED: dict[str, Any] = {"claim": None, "heartbeat": None, "control_request": None}
"""Fields of a job that no worker has."""


def claim_fields(job: Job, worker: str) -> dict[str, Any]:
    """Fields of a job that `worker` claims now."""
    now = time.time()
    return {
        "status": "running",
        "claim": f"{worker}:{secrets.token_hex(4)}",
        "heartbeat": now,
        "started": job.started or now,
        "attempts": job.attempts + 1,
        "control_request": None,
        "waits_for": None,
    }


def control_fields(request: ControlRequest | None, now: float) -> dict[str, Any]:
    """Fields of a job without a worker once its control request takes effect; empty without a request."""
    if request is None:
        return {}
    if request == "pause":
        return {"status": "paused", "waits_for": None, "reason": "paused on request"}
    return {"status": "cancelled", "waits_for": None, "finished": now, "reason": ""}


def check_claim(job: Job, claim: str) -> None:
    """LostClaim unless the claim is still valid."""
    if job.status != "running" or job.claim != claim:
        raise LostClaim(f"job {job.id} is {job.status} and no longer this worker's")


def run_time(job: Job, now: float) -> float:
    """Seconds of work so far; a clock that was set back counts as none."""
    return job.ran + max(0.0, now - (job.heartbeat or now))
