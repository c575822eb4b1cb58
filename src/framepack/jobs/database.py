"""One connection to the queue's file and rows as Jobs. Knows SQL, not what a queue is for."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from framepack.jobs.job import Job, Progress, UnknownJob
from framepack.jobs.schema import connect


class Database:
    """Shared between the threads of a process; other processes open the same file themselves."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._connection = connect(file)
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def jobs(self, sql: str, *values: object) -> list[Job]:
        """All rows of a query over `job`."""
        return [job_of(row) for row in self.rows(sql, *values)]

    def get(self, job: str) -> Job:
        """The job called `job`; UnknownJob where there is none."""
        found = self.jobs("SELECT * FROM job WHERE id = ?", job)
        if not found:
            raise UnknownJob(f"there is no job {job!r}; `framepack jobs list` shows them")
        return found[0]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements within happen, or none; no other connection writes in between."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def change(self, job: str, decide: Callable[[Job], dict[str, Any]]) -> Job:
        """Read a job, let `decide` say its new values or raise, and write them, as one transaction."""
        with self.transaction() as connection:
            return self._write(connection, self.get(job), decide)

    def change_first(self, which: str, decide: Callable[[Job], dict[str, Any]]) -> Job | None:
        """The same for the first job of a query, or None where it finds none."""
        with self.transaction() as connection:
            found = self.jobs(which)
            return self._write(connection, found[0], decide) if found else None

    def _write(self, connection: sqlite3.Connection, job: Job, decide: Callable[[Job], dict[str, Any]]) -> Job:
        values = decide(job)
        if values:
            names = ", ".join(f"{name} = ?" for name in values)
            connection.execute(f"UPDATE job SET {names} WHERE id = ?", (*map(stored, values.values()), job.id))
        return self.get(job.id)


def stored(value: object) -> object:
    """A Job's value as SQLite keeps it."""
    if isinstance(value, Progress):
        return json.dumps(asdict(value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return json.dumps([str(path) for path in value])
    return value


def job_of(row: sqlite3.Row) -> Job:
    """The Job of one row; keys of another version's progress are left out."""
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - iterating a Row gives its values
    values["outputs"] = tuple(Path(path) for path in json.loads(values["outputs"]))
    values["machine"] = json.loads(values["machine"])
    known = Progress.__dataclass_fields__
    progress = {key: value for key, value in json.loads(values["progress"]).items() if key in known}
    for name in ("section_seconds", "notices"):
        if name in progress:
            progress[name] = tuple(progress[name])
    return Job(**{**values, "progress": Progress(**progress)})
