"""The queue as workers see it: claim, beat, settle, die.

A claim token names one attempt. Only its holder may report on the job, so a worker that was given up for dead can no
longer change what its successor does.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from framepack.jobs.database import Database
from framepack.jobs.job import DEATHS_ALLOWED, ENDED, Job, Progress, Wish

Outcome = Literal["done", "failed", "cancelled", "paused", "queued"]


class LostClaim(Exception):  # noqa: N818 - it is news, not an error
    """The job is someone else's by now, or ended, or deleted."""


class Claims:
    """The workers' side of the queue in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, worker: str) -> Job | None:
        """Claim the next queued job for `worker`, or None; no other call gets the same one."""
        waiting = "SELECT rowid AS row, * FROM job WHERE status = 'queued' ORDER BY position LIMIT 1"
        while self._database.rows(waiting):
            job = self._database.change_first(waiting, lambda job: claimed(job, worker))
            if job is None or not job.damaged:
                return job
        return None

    def beat(self, job: str, claim: str, progress: Progress, outputs: Sequence[Path] = ()) -> None:
        """Report life and progress. One section more than ever before forgives deaths."""
        now = time.time()

        def decide(job: Job) -> dict[str, Any]:
            held(job, claim)
            before = max(job.progress.reached, job.progress.section)
            reached = max(before, progress.reached, progress.section)
            told = replace(progress, reached=reached)
            values: dict[str, Any] = {"heartbeat": now, "ran": ran(job, now), "progress": told}
            if reached > before:
                values["deaths"] = 0
            return {**values, "outputs": outputs} if outputs else values

        self._database.change(job, decide, patience=0.0)

    def wish(self, job: str, claim: str) -> Wish | None:
        """What a person wishes of the job."""
        rows = self._database.rows("SELECT wish FROM job WHERE id = ? AND claim = ?", job, claim, patience=0.0)
        if not rows:
            raise LostClaim(f"job {job} is no longer this worker's")
        wish = rows[0]["wish"]
        return wish if wish in get_args(Wish) else None

    def settle(self, job: str, claim: str, outcome: Outcome, **facts: Any) -> Job:
        """End an attempt. Facts: reason, traceback, outputs, waits_for, progress.

        A wish that the worker did not hear is granted where the job would else go on, now or by itself later.
        """
        now = time.time()

        def decide(job: Job) -> dict[str, Any]:
            held(job, claim)
            ended = {"finished": now if outcome in ENDED else None, "ran": ran(job, now)}
            values = {"status": outcome, **LET_GO, "reason": "", "traceback": "", "waits_for": None, **ended, **facts}
            goes_on = outcome == "queued" or values["waits_for"] is not None
            return {**values, **granted(job.wish, now)} if goes_on else values

        return self._database.change(job, decide)

    def died(
        self, job: str, claim: str, reason: str, traceback: str = "", *, blame: bool = True, at: float | None = None
    ) -> Job:
        """Return the job to the queue at its old place, or set it aside when too many workers died on it.

        `blame=False`: the job had no part in it. `at`: when, None for now. A wish the worker took to its grave is
        granted.
        """
        end = time.time() if at is None else at

        def decide(job: Job) -> dict[str, Any]:
            held(job, claim)
            deaths = job.deaths + blame
            values: dict[str, Any] = {**LET_GO, "deaths": deaths, "traceback": traceback, "ran": ran(job, end)}
            if job.wish in ("cancel", "stop"):
                return {**values, **granted(job.wish, end)}
            if deaths >= DEATHS_ALLOWED:
                why = f"set aside: {deaths} workers died on it without finishing a section; the last one {reason}"
                return {**values, "status": "failed", "finished": end, "reason": why}
            again = f"the worker {reason}; it goes on after the last finished section"
            return {**values, "status": "paused" if job.wish == "pause" else "queued", "reason": again}

        return self._database.change(job, decide)

    def recover(self) -> list[Job]:
        """Return every running job to the queue: for a service that starts and has the queue to itself.

        It ended with its last sign of life; the time the machine was off is no work.
        """
        running = self._database.jobs("SELECT * FROM job WHERE status = 'running'")
        return [
            self.died(
                job.id,
                job.claim or "",
                "ended with the service",
                blame=(job.claim or "").startswith(IN_PROCESS),
                at=job.heartbeat,
            )
            for job in running
            if not job.damaged
        ]


IN_PROCESS = "thread"
"""How the names of workers begin that live in the service itself, and so can take it with them."""
LET_GO = {"claim": None, "heartbeat": None, "wish": None}


def claimed(job: Job, worker: str) -> dict[str, Any]:
    """The values of a job that `worker` takes now."""
    now = time.time()
    return {
        "status": "running",
        "claim": f"{worker}:{secrets.token_hex(4)}",
        "heartbeat": now,
        "started": job.started or now,
        "attempts": job.attempts + 1,
        "wish": None,
        "waits_for": None,
    }


def granted(wish: Wish | None, now: float) -> dict[str, Any]:
    """What becomes of a job whose worker is gone with a wish unheard; nothing without one."""
    if wish is None:
        return {}
    if wish == "pause":
        return {"status": "paused", "waits_for": None, "reason": "paused, as asked"}
    return {"status": "cancelled", "waits_for": None, "finished": now, "reason": ""}


def held(job: Job, claim: str) -> None:
    """LostClaim unless the claim still holds."""
    if job.status != "running" or job.claim != claim:
        raise LostClaim(f"job {job.id} is {job.status} and no longer this worker's")


def ran(job: Job, now: float) -> float:
    """Seconds of work so far; a clock that was set back counts as none."""
    return job.ran + max(0.0, now - (job.heartbeat or now))
