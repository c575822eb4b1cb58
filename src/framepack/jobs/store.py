"""The queue as people see it: submit, look, cancel, pause, resume, retry, move, edit, delete.

Every change is one transaction in SQLite, so it survives a kill at any moment, and any process may make it: the
command line and the service speak to the same file. The workers' side is `claims`.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from framepack.jobs.claims import Claims
from framepack.jobs.database import PATIENCE, Database
from framepack.jobs.job import Job, Progress, Status, Wish, WrongState
from framepack.jobs.mend import complaint
from framepack.jobs.rows import stored, sum_of
from framepack.spec.request import GenerationRequest

WAITING: tuple[Status, ...] = ("queued", "paused")
NOTHING: Mapping[str, Any] = MappingProxyType({})
WORDS = """label || ' ' || id || ' ' || CASE WHEN json_valid(request_json) THEN
    coalesce(json_extract(request_json, '$.prompt'), '') || ' ' || (
    SELECT coalesce(group_concat(json_extract(value, '$.text'), ' '), '') FROM json_each(request_json, '$.prompts'))
    ELSE '' END"""
"""What a search looks through, in SQL."""
LAST = "SELECT coalesce(max(position), 0) FROM job WHERE typeof(position) = 'integer'"


class JobStore:
    """The queue in `file`. Unknown ids raise UnknownJob, impossible wishes WrongState."""

    def __init__(self, file: Path, *, owner: bool = False) -> None:
        """owner: whoever holds the queue's lock; mends the file where something befalls it."""
        self._database = Database(file, owner=owner)
        self._counts: dict[str, int] = {}
        self.claims = Claims(self._database)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def said(self) -> tuple[str, ...]:
        """What befell the queue's file and was mended, in sentences."""
        return self._database.said

    def say(self, sentence: str) -> None:
        """Add one more."""
        self._database.say(sentence)

    def whole(self) -> bool:
        """Whether nothing is wrong with the file, or with a row of it."""
        return complaint(self._database.file) == (False, "")

    def check(self) -> None:
        """Look the whole file through, and mend what is damaged. For its owner, now and then."""
        self._database.check()

    def get(self, job: str) -> Job:
        """The job called `job`."""
        return self._database.get(job)

    def find(self, start: str) -> Job:
        """The one job whose id begins with `start`."""
        sql = "SELECT * FROM job WHERE substr(id, 1, ?) = ? LIMIT 2"
        found = self._database.jobs(sql, len(start), start) if start else []
        if len(found) > 1:
            raise ValueError(f"several jobs begin with {start!r}; give more of the id")
        return found[0] if found else self.get(start)

    def jobs(
        self,
        *,
        status: Iterable[Status] | None = None,
        batch: str | None = None,
        search: str = "",
        limit: int = 1000,
        offset: int = 0,
    ) -> list[Job]:
        """Unfinished jobs in their order, then ended ones, newest first; `search` is text of prompts, label or id."""
        where, values = ["1"], []
        if status is not None:
            names = list(status)
            where.append(f"status IN ({', '.join('?' * len(names))})")
            values += names
        if batch is not None:
            where.append("batch = ?")
            values.append(batch)
        if search:
            where.append(f"instr(lower({WORDS}), lower(?)) > 0")
            values.append(search)
        order = "finished IS NOT NULL, CASE WHEN finished IS NULL THEN position END, finished DESC, created DESC"
        sql = f"SELECT * FROM job WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ? OFFSET ?"
        return self._database.jobs(sql, *values, limit, offset)

    def counts(self, patience: float = PATIENCE) -> dict[str, int]:
        """How many jobs have each status."""
        found = self._database.rows("SELECT status, count(*) FROM job GROUP BY status", patience=patience)
        self._counts = {row[0]: row[1] for row in found if row[0] in get_args(Status)}
        return self._counts

    def batches(self, most: int) -> dict[str, dict[str, int]]:
        """The newest batches, the newest one first, and how many jobs of each have which status."""
        newest = "SELECT batch FROM job WHERE batch IS NOT NULL GROUP BY batch ORDER BY max(rowid) DESC LIMIT ?"
        counts = "SELECT status, count(*) FROM job WHERE batch = ? GROUP BY status"
        names = [row[0] for row in self._database.rows(newest, most)]
        return {name: {row[0]: row[1] for row in self._database.rows(counts, name)} for name in names}

    def counts_known(self) -> tuple[dict[str, int], str]:
        """The same without waiting: the last known where the queue cannot be read now, and why that is."""
        try:
            return self.counts(patience=0.0), ""
        except sqlite3.OperationalError as error:
            return self._counts, str(error)

    def revision(self) -> int:
        """A number that grows with every change, by whichever process."""
        rows = self._database.rows("SELECT value FROM counter WHERE name = 'revision'", patience=0.0)
        return rows[0][0] if rows and isinstance(rows[0][0], int) else 0

    def changed_since(self, revision: int) -> list[Job]:
        """Jobs changed after `revision`, oldest change first."""
        return self._database.jobs("SELECT * FROM job WHERE revision > ? ORDER BY revision", revision)

    def gone_since(self, revision: int) -> list[tuple[int, str]]:
        """Revision and id of each job deleted after `revision`, in that order; those of long ago are forgotten."""
        sql = "SELECT revision, id FROM gone WHERE revision > ? ORDER BY revision"
        return [(row["revision"], row["id"]) for row in self._database.rows(sql, revision)]

    def submit(
        self,
        requests: Sequence[GenerationRequest],
        *,
        batch: str | None = None,
        labels: Sequence[str] = (),
        machine: Mapping[str, Any] = NOTHING,
    ) -> list[Job]:
        """Queue the requests behind all others: all of them or, on an error, none. `machine`: see `Job`."""
        now, ids, means = time.time(), [secrets.token_hex(6) for _ in requests], str(stored(machine))
        texts = [json.dumps(request.to_store()) for request in requests]

        def insert(connection: sqlite3.Connection) -> list[Job]:
            last = connection.execute(LAST).fetchone()[0]
            rows = [
                (job, last + 1 + index, text, now, batch, labels[index] if labels else "", means, sum_of(text, means))
                for index, (job, text) in enumerate(zip(ids, texts, strict=True))
            ]
            connection.executemany(
                "INSERT INTO job (id, status, position, request_json, created, batch, label, machine, request_sum) "
                "VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            return [self.get(job) for job in ids]

        return self._database.transact(insert)

    def cancel(self, job: str) -> Job:
        """End it: at once while it waits, within a step while it runs."""
        return self._ask(job, "cancel", WAITING, {"status": "cancelled", "finished": time.time(), "waits_for": None})

    def cancel_batch(self, batch: str) -> None:
        """End all jobs of a batch that have not ended: those that wait at once, those that run within a step."""

        def end(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE job SET status = 'cancelled', finished = ?, waits_for = NULL "
                "WHERE batch = ? AND status IN ('queued', 'paused')",
                (time.time(), batch),
            )
            connection.execute("UPDATE job SET wish = 'cancel' WHERE batch = ? AND status = 'running'", (batch,))

        self._database.transact(end)

    def pause(self, job: str) -> Job:
        """Hold it: at once while it waits, after the section being made while it runs."""
        return self._ask(job, "pause", ("queued",), {"status": "paused"})

    def stop(self, job: str) -> Job:
        """End a running job after the section being made; what is finished stays playable."""
        return self._ask(job, "stop", (), {})

    def _ask(self, job: str, wish: Wish, at_once: tuple[Status, ...], values: dict[str, Any]) -> Job:
        def decide(now: Job) -> dict[str, Any]:
            must_be(now, ("running", *at_once), f"be told to {wish}")
            return {"wish": wish} if now.status == "running" else values

        return self._database.change(job, decide)

    def resume(self, job: str) -> Job:
        """Let a paused job go on, or take back the wish to pause."""

        def decide(now: Job) -> dict[str, Any]:
            if now.status == "running" and now.wish == "pause":
                return {"wish": None}
            must_be(now, ("paused",), "be resumed")
            return {"status": "queued", "waits_for": None, "reason": ""}

        return self._database.change(job, decide)

    def retry(self, job: str) -> Job:
        """Queue a failed or cancelled job again, behind the others; it goes on after its last finished section."""

        def decide(now: Job) -> dict[str, Any]:
            must_be(now, ("failed", "cancelled"), "be retried")
            last = self._database.rows(LAST)[0][0]
            fresh = {"deaths": 0, "reason": "", "traceback": "", "wish": None, "finished": None}
            return {"status": "queued", "position": last + 1, **fresh}

        return self._database.change(job, decide)

    def move(self, job: str, place: int) -> Job:
        """Put a waiting job at `place` of the waiting ones, 1 is next; beyond the end means last."""
        if place < 1:
            raise ValueError(f"place must be 1 or more, got {place}: 1 is next")

        def put(connection: sqlite3.Connection) -> Job:
            must_be(self.get(job), WAITING, "be moved")
            waiting = self._database.jobs("SELECT * FROM job WHERE status IN ('queued', 'paused') ORDER BY position")
            order = [other.id for other in waiting if other.id != job]
            order.insert(min(place - 1, len(order)), job)
            for old, name in zip(waiting, order, strict=True):
                if old.id != name:
                    connection.execute("UPDATE job SET position = ? WHERE id = ?", (old.position, name))
            return self.get(job)

        return self._database.transact(put)

    def edit(self, job: str, request: GenerationRequest, machine: Mapping[str, Any] = NOTHING) -> Job:
        """Give a waiting job another request; one with finished sections keeps its own."""

        def decide(now: Job) -> dict[str, Any]:
            must_be(now, WAITING, "be edited")
            if now.progress.section:
                raise WrongState(f"job {job} has finished sections already; cancel it and submit a new one")
            return {"request_json": json.dumps(request.to_store()), "progress": Progress(), "machine": machine}

        return self._database.change(job, decide)

    def arrange(self, job: str, machine: Mapping[str, Any]) -> Job:
        """Tell a waiting job anew how to use the machine; finished sections stay."""

        def decide(now: Job) -> dict[str, Any]:
            must_be(now, WAITING, "be told how to use the machine")
            return {"machine": machine}

        return self._database.change(job, decide)

    def delete(self, job: str) -> Job:
        """Forget a job that does not run; returns what it was."""

        def drop(connection: sqlite3.Connection) -> Job:
            old = self.get(job)
            if old.status == "running":
                raise WrongState(f"job {job} is running; cancel it before deleting it")
            connection.execute("DELETE FROM job WHERE id = ?", (job,))
            return old

        return self._database.transact(drop)

    def room_again(self) -> list[Job]:
        """Queue the jobs again that waited for disk space."""
        waiting = self._database.jobs("SELECT * FROM job WHERE status = 'paused' AND waits_for = 'space'")
        return [self._database.change(job.id, has_room) for job in waiting if not job.damaged]


def has_room(job: Job) -> dict[str, Any]:
    """A job that waited for space may go on; one that someone changed meanwhile is left alone."""
    return {"status": "queued", "waits_for": None, "reason": ""} if job.waits_for == "space" else {}


def must_be(job: Job, allowed: tuple[Status, ...], what: str) -> None:
    """WrongState unless the job has one of the statuses."""
    if job.status not in allowed:
        raise WrongState(f"only a {' or '.join(allowed)} job can {what}, {job.id} is {job.status}")
