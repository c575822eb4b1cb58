"""Repairs a queue's file that was damaged, deleted or replaced: a new one gets every job that can still be read.

The old file is renamed, with its journal, which SQLite must not apply to the new one. Sources of jobs: the connection
that is still open, which can read a deleted file completely; the file, row by row and from both ends; and the file with
the first page of an empty queue, which is the same in all queues.
"""

import os
import shutil
import sqlite3
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from framepack.files.durable import move
from framepack.jobs.job import Job
from framepack.jobs.rows import job_of, replace_row, values_of
from framepack.jobs.schema import MIGRATIONS, NEWER_VERSIONS, connect, is_busy, is_damage, lenient, version_of

SCANS = (
    "SELECT rowid FROM job",
    "SELECT rowid FROM job ORDER BY rowid DESC",
    "SELECT rowid FROM job INDEXED BY job_order",
    "SELECT rowid FROM job INDEXED BY job_revision",
)
"""Queries for row numbers; each may end at a damaged page that another does not read."""
MAX_ROWID = 200_000
"""Row numbers up to this one are tried one by one."""
HEADER_PAGES, HEADER_VALID = slice(28, 32), slice(92, 96)
"""Where the file's first page has the number of pages, and the change counter for which that number is valid."""
Jobs = dict[str, Job]
DAMAGED = "was damaged"
"""What happened to a file that is still the one that was opened."""


def repair(file: Path, own: sqlite3.Connection | None, why: str) -> str:
    """Replace `file` by a new queue with all jobs that it, or the connection `own`, still has; returns a notice.

    OSError or sqlite3.Error where that is not possible now: then nothing has changed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    backup = backup_name(file)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".repair-") as name:
        new = Path(name) / "new"
        connect(new).close()
        copies = copies_of(file, new)
        if why != DAMAGED and os.path.lexists(journal_of(file)):  # of another file, never of our own
            journal_of(file).rename(journal_of(backup))
        jobs: Jobs = {}
        revision = max([collect(own, jobs) if own else 0, *(read_copy(copy, jobs) for copy in copies)])
        write(new, jobs, revision)
        backed_up = move_to_backup(file, backup)
        move(new, file)
    number = f"{len(jobs)} job{'s' if len(jobs) != 1 else ''}"
    done = f"the old file is {backup.name}" if backed_up else "it was restored"
    return f"the queue {file} {why} at {time.strftime('%H:%M:%S')}: {done}, and {number} could be read"


def copies_of(file: Path, new: Path) -> list[Path]:
    """Two copies beside `new`: the file with its journal, and with the first page of `new`. Empty without a file."""
    if not file.is_file():
        return []
    copy, patched = new.with_name("copy"), new.with_name("patched")
    shutil.copyfile(file, copy)
    shutil.copyfile(file, patched)
    if journal_of(file).is_file():
        shutil.copyfile(journal_of(file), journal_of(copy))
    replace_first_page(patched, new)
    return [copy, patched]


def read_copy(copy: Path, jobs: Jobs) -> int:
    """The same as `collect`, from a file."""
    with closing(sqlite3.connect(copy, timeout=0.0, isolation_level=None)) as connection:
        connection.row_factory, connection.text_factory = sqlite3.Row, lenient
        with unless_busy():
            connection.execute("PRAGMA writable_schema = ON")  # allows a file that is shorter than its header says
        return collect(connection, jobs)


def collect(connection: sqlite3.Connection, jobs: Jobs) -> int:
    """Add a connection's jobs that `jobs` has not, or has only damaged; returns the last revision."""
    for number in row_numbers(connection):
        with unless_busy():
            row = connection.execute("SELECT * FROM job WHERE rowid = ?", (number,)).fetchone()
            if row is not None:
                job = job_of(row)
                if job.id not in jobs or (jobs[job.id].damaged and not job.damaged):
                    jobs[job.id] = job
    counted = 0
    with unless_busy():
        value = connection.execute("SELECT value FROM counter WHERE name = 'revision'").fetchone()
        counted = value[0] if value and isinstance(value[0], int) else 0
    return max([counted, *(job.revision for job in jobs.values())])


def row_numbers(connection: sqlite3.Connection) -> list[int]:
    """The numbers of all rows that some scan finds, and those between them."""
    found: set[int] = set()
    for scan in SCANS:
        with unless_busy():
            for row in connection.execute(scan):
                found.add(row[0])
    between = range(1, min(max(found, default=0), MAX_ROWID) + 1)
    return sorted(found.union(between))


@contextmanager
def unless_busy() -> Iterator[None]:
    """Skip what cannot be read; what is only locked now must not count as lost."""
    try:
        yield
    except sqlite3.Error as error:
        if is_busy(error):
            raise


def has_all(file: Path, own: sqlite3.Connection) -> bool:
    """Whether the queue at `file` is intact and has every job of `own` at the same or a later revision."""
    if not file.is_file() or find_damage(file) != (False, ""):
        return False
    states = "SELECT id, revision FROM job"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", timeout=0.0, uri=True)) as connection:
        there = dict(connection.execute(states).fetchall())
    return all(there.get(row[0], -1) >= row[1] for row in own.execute(states))


def replace_first_page(copy: Path, new: Path) -> None:
    """Give a file the first page of a new queue, which has the schema, with the file's own number of pages."""
    with new.open("rb") as source, copy.open("r+b") as target:
        first = bytearray(source.read(4096))
        pages = copy.stat().st_size // len(first)
        first[HEADER_PAGES] = struct.pack(">I", pages)
        first[HEADER_VALID] = first[24:28]
        target.write(first)
        target.truncate(max(pages, 1) * len(first))


def write(new: Path, jobs: Jobs, revision: int) -> None:
    """Fill a new queue. Revisions continue from the last, so that pollers publish every job again."""
    with closing(connect(new)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE counter SET value = ? WHERE name = 'revision'", (revision,))
        for job in jobs.values():
            values = {**values_of(job), "revision": 0}
            places = ", ".join("?" * len(values))
            sql = f"INSERT OR IGNORE INTO job ({', '.join(values)}) VALUES ({places})"
            connection.execute(sql, tuple(values.values()))
        connection.execute("COMMIT")


def backup_name(file: Path) -> Path:
    """A free name for the old file."""
    first = file.with_name(f"{file.name}.{DAMAGED.removeprefix('was ')}-{time.strftime('%Y%m%d-%H%M%S')}")
    places = (first, *(first.with_name(f"{first.name}-{number}") for number in range(1, 100)))
    return next(place for place in places if not os.path.lexists(place) and not os.path.lexists(journal_of(place)))


def move_to_backup(file: Path, backup: Path) -> bool:
    """Rename the file and its journal; False where there is no file."""
    if os.path.lexists(journal_of(file)):
        journal_of(file).rename(journal_of(backup))
    if not os.path.lexists(file):
        return False
    try:
        backup.hardlink_to(file)  # so that there is a queue at every moment
    except OSError:
        file.rename(backup)
    return True


def journal_of(file: Path) -> Path:
    """SQLite's rollback journal of a file."""
    return file.with_name(f"{file.name}-journal")


def find_damage(file: Path) -> tuple[bool, str]:
    """Whether rows of the file are damaged, and what happened to it as a whole, empty where nothing did.

    Reads the file, not a connection's cache of it. Finds nothing where it is locked.
    """
    if not file.is_file():
        return False, ""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", timeout=0.0, uri=True)) as connection:
            connection.row_factory, connection.text_factory = sqlite3.Row, lenient
            bad_rows = any(True for _ in damaged_rows(connection))
            if not len(MIGRATIONS) <= version_of(connection) <= len(MIGRATIONS) + NEWER_VERSIONS:
                return bad_rows, DAMAGED
            counted = connection.execute("SELECT value FROM counter WHERE name = 'revision'").fetchone()
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(100)")]
            bad_file = [line for line in found if line != "ok" and " in job" not in line]
            return bad_rows, "" if not bad_file and counted and isinstance(counted[0], int) else DAMAGED
    except sqlite3.Error as error:
        return False, DAMAGED if is_damage(error) else ""


def damaged_rows(connection: sqlite3.Connection) -> Iterator[tuple[int, Job]]:
    """Number and placeholder of each row that is no valid job."""
    for row in connection.execute("SELECT rowid AS row, * FROM job"):
        job = job_of(row)
        if job.damaged:
            yield row["row"], job


def replace_damaged_rows(connection: sqlite3.Connection) -> None:
    """Replace each damaged row by its placeholder, a failed job."""
    for number, job in list(damaged_rows(connection)):
        replace_row(connection, number, job)
