"""The users' side of the queue: submit, list, cancel, pause, resume, retry, move, edit, delete.

Every change is one transaction in SQLite, so it survives a kill at any moment, and any process may make it: the
command line and the service use the same file. The workers' side is `claims`.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from framepack.jobs.claims import Claims
from framepack.jobs.database import LOCK_TIMEOUT, Database
from framepack.jobs.job import ControlRequest, Job, Progress, Status, WrongState, new_id, require_status, resumed
from framepack.jobs.repair import find_damage
from framepack.jobs.rows import checksum, stored
from framepack.spec.request import GenerationRequest

WAITING: tuple[Status, ...] = ("queued", "paused")
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
SEARCH_TEXT = """label || ' ' || id || ' ' || CASE WHEN json_valid(request_json) THEN
    coalesce(json_extract(request_json, '$.prompt'), '') || ' ' || (
    SELECT coalesce(group_concat(json_extract(value, '$.text'), ' '), '') FROM json_each(request_json, '$.prompts'))
    ELSE '' END"""
"""What a search looks through, in SQL."""
LAST_POSITION = "SELECT coalesce(max(position), 0) FROM job WHERE typeof(position) = 'integer'"
PARTICIPLES: dict[ControlRequest, str] = {"cancel": "cancelled", "stop": "stopped", "pause": "paused"}


class JobStore:
    """The queue in `file`. An unknown id raises UnknownJob, a change that a job's status does not allow WrongState."""

    def __init__(self, file: Path, *, owner: bool = False) -> None:
        """owner: whether this process holds the queue's lock; the owner repairs the file."""
        self._database = Database(file, owner=owner)
        self._counts: dict[str, int] = {}
        self.claims = Claims(self._database)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def notices(self) -> tuple[str, ...]:
        """What happened to the queue's file and was repaired, in sentences."""
        return self._database.notices

    def add_notice(self, sentence: str) -> None:
        """Add one more."""
        self._database.add_notice(sentence)

    def intact(self) -> bool:
        """Whether nothing is wrong with the file, or with a row of it."""
        return find_damage(self._database.file) == (False, "")

    def check(self) -> None:
        """Check the whole file, and repair what is damaged. For its owner, now and then."""
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
            where.append(f"instr(lower({SEARCH_TEXT}), lower(?)) > 0")
            values.append(search)
        order = "finished IS NOT NULL, CASE WHEN finished IS NULL THEN position END, finished DESC, created DESC"
        sql = f"SELECT * FROM job WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ? OFFSET ?"
        return self._database.jobs(sql, *values, limit, offset)

    def takes(self, tree: str) -> list[Job]:
        """The job `tree`, if it is there, and all further takes of its video, oldest first."""
        return self._database.jobs("SELECT * FROM job WHERE id = ? OR tree = ? ORDER BY created, rowid", tree, tree)

    def counts(self, timeout: float = LOCK_TIMEOUT) -> dict[str, int]:
        """How many jobs have each status."""
        found = self._database.rows("SELECT status, count(*) FROM job GROUP BY status", timeout=timeout)
        self._counts = {row[0]: row[1] for row in found if row[0] in get_args(Status)}
        return self._counts

    def batches(self, most: int) -> dict[str, dict[str, int]]:
        """The newest batches, the newest one first, and how many jobs of each have which status."""
        newest = "SELECT batch FROM job WHERE batch IS NOT NULL GROUP BY batch ORDER BY max(rowid) DESC LIMIT ?"
        counts = "SELECT status, count(*) FROM job WHERE batch = ? GROUP BY status"
        names = [row[0] for row in self._database.rows(newest, most)]
        return {name: {row[0]: row[1] for row in self._database.rows(counts, name)} for name in names}

    def last_counts(self) -> tuple[dict[str, int], str]:
        """The same without waiting: the last known counts where the queue cannot be read now, and why it cannot."""
        try:
            return self.counts(timeout=0.0), ""
        except sqlite3.OperationalError as error:
            return self._counts, str(error)

    def revision(self) -> int:
        """A number that grows with every change, by whichever process."""
        rows = self._database.rows("SELECT value FROM counter WHERE name = 'revision'", timeout=0.0)
        return rows[0][0] if rows and isinstance(rows[0][0], int) else 0

    def changed_since(self, revision: int) -> list[Job]:
        """Jobs changed after `revision`, oldest change first."""
        return self._database.jobs("SELECT * FROM job WHERE revision > ? ORDER BY revision", revision)

    def deleted_since(self, revision: int) -> list[tuple[int, str]]:
        """Revision and id of each job deleted after `revision`, in that order; the queue keeps the latest 100,000."""
        sql = "SELECT revision, id FROM deleted_job WHERE revision > ? ORDER BY revision"
        return [(row["revision"], row["id"]) for row in self._database.rows(sql, revision)]

    def submit(
        self,
        requests: Sequence[GenerationRequest],
        *,
        batch: str | None = None,
        labels: Sequence[str] = (),
        machine: Mapping[str, Any] = NO_SETTINGS,
        ids: Sequence[str] = (),
        tree: str | None = None,
    ) -> list[Job]:
        """Queue the requests behind all others: all of them or, on an error, none. `machine`, `tree`: see `Job`.

        ids: of `new_id`, where the jobs' have to be known before.
        """
        now, ids, how = time.time(), [*ids] or [new_id() for _ in requests], str(stored(machine))
        texts = [json.dumps(request.to_store()) for request in requests]

        def insert(connection: sqlite3.Connection) -> list[Job]:
            last = connection.execute(LAST_POSITION).fetchone()[0]
            rows = [
                (
                    *(job, last + 1 + index, text, now, batch, labels[index] if labels else ""),
                    *(how, checksum(text, how), tree),
                )
                for index, (job, text) in enumerate(zip(ids, texts, strict=True))
            ]
            connection.executemany(
                "INSERT INTO job "
                "(id, status, position, request_json, created, batch, label, machine, request_sum, tree) "
                "VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            return [self.get(job) for job in ids]

        return self._database.transact(insert)

    def cancel(self, job: str) -> Job:
        """End it: at once while it waits, within a step while it runs."""
        return self._request(
            job, "cancel", WAITING, {"status": "cancelled", "finished": time.time(), "waits_for": None}
        )

    def cancel_batch(self, batch: str) -> None:
        """End all jobs of a batch that have not ended: those that wait at once, those that run within a step."""

        def end(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE job SET status = 'cancelled', finished = ?, waits_for = NULL "
                "WHERE batch = ? AND status IN ('queued', 'paused')",
                (time.time(), batch),
            )
            connection.execute(
                "UPDATE job SET control_request = 'cancel' WHERE batch = ? AND status = 'running'", (batch,)
            )

        self._database.transact(end)

    def pause(self, job: str) -> Job:
        """Pause it: at once while it waits, after the current section while it runs."""
        return self._request(job, "pause", ("queued",), {"status": "paused"})

    def stop(self, job: str) -> Job:
        """End a running job after its current section; what is finished stays playable."""
        return self._request(job, "stop", (), {})

    def _request(self, job: str, request: ControlRequest, at_once: tuple[Status, ...], fields: dict[str, Any]) -> Job:
        """`fields`: of a job in a status of `at_once`, which has no worker to wait for."""

        def decide(now: Job) -> dict[str, Any]:
            require_status(now, ("running", *at_once), PARTICIPLES[request])
            return {"control_request": request} if now.status == "running" else fields

        return self._database.change(job, decide)

    def resume(self, job: str) -> Job:
        """Queue a paused job again, or withdraw the request to pause."""

        def decide(now: Job) -> dict[str, Any]:
            if now.status == "running" and now.control_request == "pause":
                return {"control_request": None}
            require_status(now, ("paused",), "resumed")
            return {"status": "queued", "waits_for": None, "reason": ""}

        return self._database.change(job, decide)

    def retry(self, job: str) -> Job:
        """Queue a failed or cancelled job again, behind the others; it resumes after its last finished section."""

        def decide(now: Job) -> dict[str, Any]:
            require_status(now, ("failed", "cancelled"), "retried")
            last = self._database.rows(LAST_POSITION)[0][0]
            fresh = {"crash_count": 0, "reason": "", "traceback": "", "control_request": None, "finished": None}
            return {"status": "queued", "position": last + 1, **fresh}

        return self._database.change(job, decide)

    def move(self, job: str, place: int) -> Job:
        """Put a waiting job at `place` of the waiting ones, 1 is next; beyond the end means last."""
        if place < 1:
            raise ValueError(f"place must be 1 or more, got {place}: 1 is next")

        def put(connection: sqlite3.Connection) -> Job:
            require_status(self.get(job), WAITING, "moved")
            waiting = self._database.jobs("SELECT * FROM job WHERE status IN ('queued', 'paused') ORDER BY position")
            order = [other.id for other in waiting if other.id != job]
            order.insert(min(place - 1, len(order)), job)
            for old, name in zip(waiting, order, strict=True):
                if old.id != name:
                    connection.execute("UPDATE job SET position = ? WHERE id = ?", (old.position, name))
            return self.get(job)

        return self._database.transact(put)

    def edit(self, job: str, request: GenerationRequest, machine: Mapping[str, Any] = NO_SETTINGS) -> Job:
        """Give a waiting job another request; one with finished sections keeps its own."""

        def decide(now: Job) -> dict[str, Any]:
            require_status(now, WAITING, "edited")
            if now.progress.section:
                raise WrongState(f"job {job} has finished sections already; cancel it and submit a new one")
            return {"request_json": json.dumps(request.to_store()), "progress": Progress(), "machine": machine}

        return self._database.change(job, decide)

    def set_machine(self, job: str, machine: Mapping[str, Any]) -> Job:
        """Change how a waiting job may use the machine; finished sections stay."""

        def decide(now: Job) -> dict[str, Any]:
            require_status(now, WAITING, "changed")
            return {"machine": machine}

        return self._database.change(job, decide)

    def delete(self, job: str) -> Job:
        """Remove a job that does not run; returns what it was."""

        def drop(connection: sqlite3.Connection) -> Job:
            old = self.get(job)
            if old.status == "running":
                raise WrongState(f"job {job} is running; cancel it before deleting it")
            connection.execute("DELETE FROM job WHERE id = ?", (job,))
            return old

        return self._database.transact(drop)

    def resume_waiting_for_space(self) -> list[Job]:
        """Queue the jobs again that waited for disk space."""
        waiting = self._database.jobs("SELECT * FROM job WHERE status = 'paused' AND waits_for = 'space'")
        return [self._database.change(job.id, resumed) for job in waiting if not job.damaged]
