"""What is done where the queue's file is damaged, deleted or replaced: a new one with every job that can still be read.

What lay there is set aside under another name, with its journal, which must not be taken for the new file's. Sources:
the connection that is open still, which reads a deleted file to its last row; the file itself, row by row and from
either end; and the file with the first page of a fresh queue, as all queues have the same.
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
from framepack.jobs.schema import BEYOND, MIGRATIONS, connect, is_busy, is_damage, lenient, version_of

SCANS = (
    "SELECT rowid FROM job",
    "SELECT rowid FROM job ORDER BY rowid DESC",
    "SELECT rowid FROM job INDEXED BY job_order",
    "SELECT rowid FROM job INDEXED BY job_revision",
)
"""Ways to the rows; each may end at a damaged page that another does not meet."""
MOST = 200_000
"""Numbers of rows that are tried one by one."""
HEADER_PAGES, HEADER_VALID = slice(28, 32), slice(92, 96)
"""Where the file's first page says how many pages there are, and for which change that holds."""
Rows = dict[str, Job]
DAMAGED = "was damaged"
"""What befell a file that is still the one that was opened."""


def mend(file: Path, own: sqlite3.Connection | None, why: str) -> str:
    """Put a queue in the place of `file` with all jobs that `own`, or what lies there, still has; says what was done.

    OSError or sqlite3.Error where that cannot be now: then nothing has changed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = free_name(file)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".mend-") as name:
        fresh = Path(name) / "fresh"
        connect(fresh).close()
        copies = copies_of(file, fresh)
        if why != DAMAGED and os.path.lexists(journal_of(file)):  # of whatever lay there, never of our own file
            journal_of(file).rename(journal_of(aside))
        kept: Rows = {}
        revision = max([collect(own, kept) if own else 0, *(read_copy(copy, kept) for copy in copies)])
        write(fresh, kept, revision)
        put_aside = set_aside(file, aside)
        move(fresh, file)
    jobs = f"{len(kept)} job{'s' if len(kept) != 1 else ''}"
    put = f"what lay there is kept as {aside.name}" if put_aside else "it was put back"
    return f"the queue {file} {why} at {time.strftime('%H:%M:%S')}: {put}, and {jobs} could be read"


def copies_of(file: Path, fresh: Path) -> list[Path]:
    """Two beside `fresh`: the file with its journal, and with the first page of a fresh queue. None of no file."""
    if not file.is_file():
        return []
    as_it_is, patched = fresh.with_name("copy"), fresh.with_name("patched")
    for copy in (as_it_is, patched):
        shutil.copyfile(file, copy)
    if journal_of(file).is_file():
        shutil.copyfile(journal_of(file), journal_of(as_it_is))
    put_first_page(patched, fresh)
    return [as_it_is, patched]


def read_copy(copy: Path, rows: Rows) -> int:
    """As `collect`, of a file."""
    with closing(sqlite3.connect(copy, timeout=0.0, isolation_level=None)) as connection:
        connection.row_factory, connection.text_factory = sqlite3.Row, lenient
        with unless_busy():
            connection.execute("PRAGMA writable_schema = ON")  # lets a file be shorter than it says
        return collect(connection, rows)


def collect(connection: sqlite3.Connection, rows: Rows) -> int:
    """Add the jobs of a connection that are not among `rows`, readable ones also to damaged ones; the last revision."""
    for number in numbers(connection):
        with unless_busy():
            row = connection.execute("SELECT * FROM job WHERE rowid = ?", (number,)).fetchone()
            if row is not None:
                job = job_of(row)
                if job.id not in rows or (rows[job.id].damaged and not job.damaged):
                    rows[job.id] = job
    counted = 0
    with unless_busy():
        value = connection.execute("SELECT value FROM counter WHERE name = 'revision'").fetchone()
        counted = value[0] if value and isinstance(value[0], int) else 0
    return max([counted, *(job.revision for job in rows.values())])


def numbers(connection: sqlite3.Connection) -> list[int]:
    """The numbers of all rows that some way leads to, and those between them."""
    found: set[int] = set()
    for scan in SCANS:
        with unless_busy():
            for row in connection.execute(scan):
                found.add(row[0])
    between = range(1, min(max(found, default=0), MOST) + 1)
    return sorted(found.union(between))


@contextmanager
def unless_busy() -> Iterator[None]:
    """Pass over what cannot be read; what is only locked now must not count as lost."""
    try:
        yield
    except sqlite3.Error as error:
        if is_busy(error):
            raise


def holds_all(file: Path, own: sqlite3.Connection) -> bool:
    """Whether the queue at `file` is whole and has every job of `own`, as new or newer."""
    if not file.is_file() or complaint(file) != (False, ""):
        return False
    states = "SELECT id, revision FROM job"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", timeout=0.0, uri=True)) as connection:
        there = dict(connection.execute(states).fetchall())
    return all(there.get(row[0], -1) >= row[1] for row in own.execute(states))


def put_first_page(copy: Path, fresh: Path) -> None:
    """Give a file the first page of a fresh queue, where all queues' tables are told, with its own number of pages."""
    with fresh.open("rb") as source, copy.open("r+b") as target:
        first = bytearray(source.read(4096))
        pages = copy.stat().st_size // len(first)
        first[HEADER_PAGES] = struct.pack(">I", pages)
        first[HEADER_VALID] = first[24:28]
        target.write(first)
        target.truncate(max(pages, 1) * len(first))


def write(fresh: Path, rows: Rows, revision: int) -> None:
    """Fill a fresh queue. Revisions go on from the last, so that whoever watches hears of every job again."""
    with closing(connect(fresh)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE counter SET value = ? WHERE name = 'revision'", (revision,))
        for job in rows.values():
            values = {**values_of(job), "revision": 0}
            marks = ", ".join("?" * len(values))
            sql = f"INSERT OR IGNORE INTO job ({', '.join(values)}) VALUES ({marks})"
            connection.execute(sql, tuple(values.values()))
        connection.execute("COMMIT")


def free_name(file: Path) -> Path:
    """Where what lies at `file` can be kept."""
    first = file.with_name(f"{file.name}.{DAMAGED.removeprefix('was ')}-{time.strftime('%Y%m%d-%H%M%S')}")
    places = (first, *(first.with_name(f"{first.name}-{number}") for number in range(1, 100)))
    return next(place for place in places if not os.path.lexists(place) and not os.path.lexists(journal_of(place)))


def set_aside(file: Path, aside: Path) -> bool:
    """Give what lies at `file`, and its journal, another name; False where nothing does."""
    if os.path.lexists(journal_of(file)):
        journal_of(file).rename(journal_of(aside))
    if not os.path.lexists(file):
        return False
    try:
        aside.hardlink_to(file)  # so that there is a queue at every moment
    except OSError:
        file.rename(aside)
    return True


def journal_of(file: Path) -> Path:
    """SQLite's rollback journal of a file."""
    return file.with_name(f"{file.name}-journal")


def complaint(file: Path) -> tuple[bool, str]:
    """Whether rows of the file are damaged, and what is wrong with it as a whole, empty where nothing is.

    Reads the file, not what a connection remembers of it; says nothing where it is locked.
    """
    if not file.is_file():
        return False, ""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", timeout=0.0, uri=True)) as connection:
            connection.row_factory, connection.text_factory = sqlite3.Row, lenient
            bad = any(True for _ in damaged_rows(connection))
            if not len(MIGRATIONS) <= version_of(connection) <= len(MIGRATIONS) + BEYOND:
                return bad, DAMAGED
            counted = connection.execute("SELECT value FROM counter WHERE name = 'revision'").fetchone()
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(100)")]
            whole = [line for line in said if line != "ok" and " in job" not in line]
            return bad, "" if not whole and counted and isinstance(counted[0], int) else DAMAGED
    except sqlite3.Error as error:
        return False, DAMAGED if is_damage(error) else ""


def damaged_rows(connection: sqlite3.Connection) -> Iterator[tuple[int, Job]]:
    """Number and stand-in of each row that is no job."""
    for row in connection.execute("SELECT rowid AS row, * FROM job"):
        job = job_of(row)
        if job.damaged:
            yield row["row"], job


def heal(connection: sqlite3.Connection) -> None:
    """Write a failed job that says so in the place of each damaged row."""
    for number, job in list(damaged_rows(connection)):
        replace_row(connection, number, job)
