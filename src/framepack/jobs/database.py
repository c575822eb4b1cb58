"""One connection to the queue's file. Knows SQL and what can befall a file, not what a queue is for.

Nobody waits for another program's lock with ours in hand: what is refused lets go and is tried again for a while. The
owner, who has the queue to itself, mends a file that is damaged, deleted or replaced; others open the new one.
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
from framepack.jobs.mend import DAMAGED, complaint, heal, holds_all, mend
from framepack.jobs.rows import job_of, replace_row, stored, sum_of
from framepack.jobs.schema import connect, is_busy, is_damage

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds a call waits for a lock of another program at most."""
AGAIN = 0.02
"""Seconds between tries."""
CALM = 10.0
"""Seconds after a mend in which there is no other: a disk that damages everything is not to be filled with copies."""


SAID = 20
"""Sentences that are kept."""


class QueueTrouble(sqlite3.OperationalError):
    """The queue cannot be used this moment; trying again may help."""


class Database:
    """Shared between the threads of a process; other processes open the same file themselves."""

    def __init__(self, file: Path, *, owner: bool = False) -> None:
        self.file = file
        self.said: tuple[str, ...] = ()
        """What was done to the file, for people."""
        self._owner, self._mended = owner, -CALM
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        with self._lock:
            self._open(PATIENCE)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection:
                self._connection.close()

    def say(self, sentence: str) -> None:
        """Tell people of what befell the file."""
        self.said = (*self.said, sentence)[-SAID:]
        logging.getLogger("framepack").warning(sentence)

    def rows(self, sql: str, *values: object, patience: float = PATIENCE) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._do(lambda connection: connection.execute(sql, values).fetchall(), patience)

    def jobs(self, sql: str, *values: object) -> list[Job]:
        """All rows of a query over `job`."""
        return [job_of(row) for row in self.rows(sql, *values)]

    def get(self, job: str) -> Job:
        """The job called `job`; UnknownJob where there is none."""
        found = self.jobs("SELECT * FROM job WHERE id = ?", job)
        if not found:
            raise UnknownJob(f"there is no job {job!r}; `framepack jobs list` shows them")
        return found[0]

    def transact(self, work: Callable[[sqlite3.Connection], T], patience: float = PATIENCE) -> T:
        """All statements of `work` happen, or none; no other connection writes in between. It may be called again."""

        def whole(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            if self._moved():
                raise QueueTrouble("the queue's file was moved in this very moment; try again")
            result = work(connection)
            connection.execute("COMMIT")
            return result

        return self._do(whole, patience)

    def change(self, job: str, decide: Callable[[Job], dict[str, Any]], patience: float = PATIENCE) -> Job:
        """Read a job, let `decide` say its new values or raise, and write them, as one transaction."""
        return self.transact(lambda connection: self._write(connection, self.get(job), decide), patience)

    def change_first(self, which: str, decide: Callable[[Job], dict[str, Any]]) -> Job | None:
        """The same for the first job of a query, or None where it finds none. A damaged one is only written down so."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute(which).fetchone()
            if row is None:
                return None
            job = job_of(row)
            return replace_row(connection, row["row"], job) if job.damaged else self._write(connection, job, decide)

        return self.transact(work)

    def check(self) -> None:
        """Look the file through; the owner heals rows and mends what is damaged. Holds no lock while it reads."""
        bad, why = complaint(self.file)
        if bad and self._owner:
            self.transact(heal)
        if why and self._owner:
            with self._lock:
                self._mend(why)

    def _write(self, connection: sqlite3.Connection, job: Job, decide: Callable[[Job], dict[str, Any]]) -> Job:
        values = {name: stored(value) for name, value in decide(job).items()}
        if values.keys() & {"request_json", "machine"}:
            request, machine = values.get("request_json", job.request_json), values.get("machine", stored(job.machine))
            values["request_sum"] = sum_of(str(request), str(machine))
        if values:
            names = ", ".join(f"{name} = ?" for name in values)
            connection.execute(f"UPDATE job SET {names} WHERE id = ?", (*values.values(), job.id))
        return self.get(job.id)

    # What can befall the file

    def _do(self, work: Callable[[sqlite3.Connection], T], patience: float) -> T:
        until = time.monotonic() + patience
        while True:
            with self._lock:
                if self._connection and self._connection.in_transaction:  # ours: an inner call
                    return work(self._connection)
                try:
                    return self._once(work)
                except sqlite3.Error as error:
                    refused = self._understood(error)
            if time.monotonic() >= until:
                raise refused
            time.sleep(AGAIN)

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None or self._moved():
            connection = self._moved_on()
        try:
            return work(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _understood(self, error: sqlite3.Error) -> sqlite3.Error:
        """The error to raise where trying again does not help in time; raises it at once where it cannot help."""
        if is_damage(error):
            if not self._owner:
                mends = "a service mends it within a minute, `framepack jobs list` at once"
                raise QueueTrouble(f"{self.file} is damaged ({error}); {mends}") from error
            self._mend(DAMAGED)
            return QueueTrouble(f"{self.file} was damaged and is mended; try again")
        if is_busy(error):
            return QueueTrouble(f"another program holds {self.file.name} locked ({error}); try again when it is done")
        if isinstance(error, QueueTrouble):
            return error
        raise error

    def _moved(self) -> bool:
        try:
            return not os.path.samestat(self.file.stat(), self._identity)
        except (FileNotFoundError, NotADirectoryError):
            return True

    def _moved_on(self) -> sqlite3.Connection:
        own = self._connection if self._owner else None
        there = self.file.exists()
        if own and not (there and holds_all(self.file, own)):
            self._mend("was replaced" if there else "was deleted")
        elif not there and not self._owner:
            raise QueueTrouble(f"{self.file} is gone; a service puts it back within a minute")
        else:
            self.close()
            self._connection = None
            self._open(0.0)
        assert self._connection
        return self._connection

    def _open(self, patience: float) -> None:
        try:
            self._connection = connect(self.file, timeout=patience)
        except (sqlite3.Error, ValueError) as error:
            cause = error if isinstance(error, sqlite3.Error) else error.__cause__
            if not self._owner or not (self.file.is_dir() or (isinstance(cause, sqlite3.Error) and is_damage(cause))):
                raise
            self._mend(DAMAGED)
        else:
            self._identity = self.file.stat()

    def _mend(self, why: str) -> None:
        if time.monotonic() - self._mended < CALM:
            raise QueueTrouble(f"{self.file} {why}, again and again; look after its disk")
        self._mended = time.monotonic()
        try:
            said = mend(self.file, self._connection, why)
        except (OSError, sqlite3.Error) as error:
            raise QueueTrouble(f"{self.file} {why} and cannot be mended now: {error}") from error
        if self._connection:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = connect(self.file, timeout=0.0)
        self._identity = self.file.stat()
        self.say(said)
