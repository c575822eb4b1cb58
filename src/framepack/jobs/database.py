"""One connection to the queue's file. Knows SQL and what can happen to a file, not what a queue is for.

Nothing waits for another program's lock while it holds ours: a refused call releases it and is retried for a while. The
owner, which has the queue to itself, repairs a file that is damaged, deleted or replaced; others open the new one.
"""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from framepack.jobs.job import Job, UnknownJob
from framepack.jobs.repair import DAMAGED, find_damage, has_all, repair, replace_damaged_rows
from framepack.jobs.rows import checksum, job_of, replace_row, stored
from framepack.jobs.schema import connect, is_busy, is_damage

T = TypeVar("T")
LOCK_TIMEOUT = 2.0
"""Seconds a call waits at most for a lock of another program."""
RETRY_INTERVAL = 0.02
"""Seconds between tries."""
REPAIR_INTERVAL = 10.0
"""Seconds between two repairs at least: a disk that damages everything must not fill up with copies."""
MAX_NOTICES = 20


class QueueUnavailable(sqlite3.OperationalError):
    """The queue cannot be used now; trying again may help."""


class Database:
    """Shared between the threads of a process; other processes open the same file themselves."""

    def __init__(self, file: Path, *, owner: bool = False) -> None:
        self.file = file
        self.notices: tuple[str, ...] = ()
        """What happened to the file and was repaired, in sentences."""
        self._owner, self._repaired = owner, -REPAIR_INTERVAL
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        with self._lock:
            self._open(LOCK_TIMEOUT)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection:
                self._connection.close()

    def add_notice(self, sentence: str) -> None:
        """Add a notice, and log it."""
        self.notices = (*self.notices, sentence)[-MAX_NOTICES:]
        logging.getLogger("framepack").warning(sentence)

    def rows(self, sql: str, *values: object, timeout: float = LOCK_TIMEOUT) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._retry(lambda connection: connection.execute(sql, values).fetchall(), timeout)

    def jobs(self, sql: str, *values: object) -> list[Job]:
        """All rows of a query over `job`."""
        return [job_of(row) for row in self.rows(sql, *values)]

    def get(self, job: str) -> Job:
        """The job called `job`; UnknownJob where there is none."""
        found = self.jobs("SELECT * FROM job WHERE id = ?", job)
        if not found:
            raise UnknownJob(f"there is no job {job!r}; `framepack jobs list` shows them")
        return found[0]

    def transact(self, work: Callable[[sqlite3.Connection], T], timeout: float = LOCK_TIMEOUT) -> T:
        """All statements of `work` happen, or none; no other connection writes in between. It may be called again."""

        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            if self._replaced():
                raise QueueUnavailable("the queue's file was moved at this moment; try again")
            result = work(connection)
            connection.execute("COMMIT")
            return result

        return self._retry(transaction, timeout)

    def change(self, job: str, decide: Callable[[Job], dict[str, Any]], timeout: float = LOCK_TIMEOUT) -> Job:
        """Read a job, let `decide` return its new values or raise, and write them, as one transaction."""
        return self.transact(lambda connection: self._write(connection, self.get(job), decide), timeout)

    def change_first(self, which: str, decide: Callable[[Job], dict[str, Any]]) -> Job | None:
        """The same for the first job of a query, None where it finds none. A damaged row becomes its placeholder."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute(which).fetchone()
            if row is None:
                return None
            job = job_of(row)
            return replace_row(connection, row["row"], job) if job.damaged else self._write(connection, job, decide)

        return self.transact(work)

    def check(self) -> None:
        """Check the file; the owner repairs it, and its rows. Holds no lock while it reads."""
        bad_rows, why = find_damage(self.file)
        if bad_rows and self._owner:
            self.transact(replace_damaged_rows)
        if why and self._owner:
            with self._lock:
                self._repair(why)

    def _write(self, connection: sqlite3.Connection, job: Job, decide: Callable[[Job], dict[str, Any]]) -> Job:
        values = {name: stored(value) for name, value in decide(job).items()}
        if values.keys() & {"request_json", "machine"}:
            request, machine = values.get("request_json", job.request_json), values.get("machine", stored(job.machine))
            values["request_sum"] = checksum(str(request), str(machine))
        if values:
            names = ", ".join(f"{name} = ?" for name in values)
            connection.execute(f"UPDATE job SET {names} WHERE id = ?", (*values.values(), job.id))
        return self.get(job.id)

    # What can happen to the file

    def _retry(self, work: Callable[[sqlite3.Connection], T], timeout: float) -> T:
        until = time.monotonic() + timeout
        while True:
            with self._lock:
                if self._connection and self._connection.in_transaction:  # ours: an inner call
                    return work(self._connection)
                try:
                    return self._run(work)
                except sqlite3.Error as error:
                    failure = self._handle_error(error)
            if time.monotonic() >= until:
                raise failure
            time.sleep(RETRY_INTERVAL)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None or self._replaced():
            connection = self._reopen()
        try:
            return work(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _handle_error(self, error: sqlite3.Error) -> sqlite3.Error:
        """Repair what can be repaired: the error to raise when retries time out. Raises where a retry cannot help."""
        if is_damage(error):
            if not self._owner:
                repairs = "a service repairs it within a minute, `framepack jobs list` at once"
                raise QueueUnavailable(f"{self.file} is damaged ({error}); {repairs}") from error
            self._repair(DAMAGED)
            return QueueUnavailable(f"{self.file} was damaged and has been repaired; try again")
        if is_busy(error):
            return QueueUnavailable(
                f"another program has locked {self.file.name} ({error}); try again when it has finished"
            )
        if isinstance(error, QueueUnavailable):
            return error
        raise error

    def _replaced(self) -> bool:
        try:
            return not os.path.samestat(self.file.stat(), self._identity)
        except (FileNotFoundError, NotADirectoryError):
            return True

    def _reopen(self) -> sqlite3.Connection:
        own = self._connection if self._owner else None
        exists = self.file.exists()
        if own and not (exists and has_all(self.file, own)):
            self._repair("was replaced" if exists else "was deleted")
        elif not exists and not self._owner:
            raise QueueUnavailable(f"{self.file} was deleted; a service restores it within a minute")
        else:
            self.close()
            self._connection = None
            self._open(0.0)
        assert self._connection
        return self._connection

    def _open(self, timeout: float) -> None:
        try:
            self._connection = connect(self.file, timeout=timeout)
        except (sqlite3.Error, ValueError) as error:
            cause = error if isinstance(error, sqlite3.Error) else error.__cause__
            if not self._owner or not (self.file.is_dir() or (isinstance(cause, sqlite3.Error) and is_damage(cause))):
                raise
            self._repair(DAMAGED)
        else:
            self._identity = self.file.stat()

    def _repair(self, why: str) -> None:
        if time.monotonic() - self._repaired < REPAIR_INTERVAL:
            raise QueueUnavailable(f"{self.file} {why} repeatedly; check its disk")
        self._repaired = time.monotonic()
        try:
            notice = repair(self.file, self._connection, why)
        except (OSError, sqlite3.Error) as error:
            raise QueueUnavailable(f"{self.file} {why} and cannot be repaired now: {error}") from error
        if self._connection:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = connect(self.file, timeout=0.0)
        self._identity = self.file.stat()
        self.add_notice(notice)
