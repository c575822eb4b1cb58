"""The queue's tables, the migrations from each version to the next, and the backup before a migration.

The DELETE journal is deliberate: SQLite before 3.51.3 can lose a write when several connections reset a WAL.
"""

import sqlite3
from pathlib import Path

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE job (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL
                CHECK (status IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
            position INTEGER NOT NULL,
            request_json TEXT NOT NULL,
            created REAL NOT NULL,
            started REAL,
            finished REAL,
            ran REAL NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            deaths INTEGER NOT NULL DEFAULT 0,
            claim TEXT,
            heartbeat REAL,
            wish TEXT,
            waits_for TEXT,
            reason TEXT NOT NULL DEFAULT '',
            traceback TEXT NOT NULL DEFAULT '',
            outputs TEXT NOT NULL DEFAULT '[]',
            progress TEXT NOT NULL DEFAULT '{}',
            batch TEXT,
            label TEXT NOT NULL DEFAULT '',
            revision INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE INDEX job_order ON job (status, position)",
        "CREATE INDEX job_batch ON job (batch)",
        "CREATE INDEX job_revision ON job (revision)",
        "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
        "INSERT INTO counter VALUES ('revision', 0)",
        """CREATE TRIGGER job_added AFTER INSERT ON job BEGIN
            UPDATE counter SET value = value + 1 WHERE name = 'revision';
            UPDATE job SET revision = (SELECT value FROM counter WHERE name = 'revision') WHERE id = NEW.id;
        END""",
        """CREATE TRIGGER job_changed AFTER UPDATE ON job WHEN NEW.revision = OLD.revision BEGIN
            UPDATE counter SET value = value + 1 WHERE name = 'revision';
            UPDATE job SET revision = (SELECT value FROM counter WHERE name = 'revision') WHERE id = NEW.id;
        END""",
    ),
    ("ALTER TABLE job ADD COLUMN machine TEXT NOT NULL DEFAULT '{}'",),
    (
        "CREATE TABLE gone (revision INTEGER PRIMARY KEY, id TEXT NOT NULL)",
        """CREATE TRIGGER job_deleted AFTER DELETE ON job BEGIN
            UPDATE counter SET value = value + 1 WHERE name = 'revision';
            INSERT INTO gone SELECT value, OLD.id FROM counter WHERE name = 'revision';
            DELETE FROM gone WHERE revision < (SELECT value - 100000 FROM counter WHERE name = 'revision');
        END""",
    ),
    ("ALTER TABLE job ADD COLUMN request_sum TEXT NOT NULL DEFAULT ''",),
    (
        "ALTER TABLE job RENAME COLUMN deaths TO crash_count",
        "ALTER TABLE job RENAME COLUMN wish TO control_request",
        "ALTER TABLE gone RENAME TO deleted_job",
    ),
    ("ALTER TABLE job ADD COLUMN tree TEXT", "CREATE INDEX job_tree ON job (tree)"),
)
"""Statements that lead from version i to version i + 1. Only ever appended to."""
NEWER_VERSIONS = 1000
"""How far a newer program's version may be ahead; a higher number is damage."""


def connect(file: Path, *, timeout: float = 2.0) -> sqlite3.Connection:
    """A connection to the queue in `file`, migrated to the current version; ValueError where that is not possible.

    timeout: seconds to wait for a lock now; afterwards a statement that needs a locked file fails at once.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=timeout, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lenient
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, file)
        connection.execute("PRAGMA busy_timeout = 0")
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise
        why = f"{file} is damaged or is not a job queue ({error})"
        raise ValueError(f"{why}; `framepack serve` replaces it and keeps what can be read") from error
    except ValueError:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, file: Path, steps: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Apply the migrations the file has not had, all or none; an existing queue is backed up before."""
    if version_of(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = version_of(connection)
        if not 0 <= version <= len(steps) + NEWER_VERSIONS:
            raise sqlite3.DatabaseError(f"version {version} is not possible")
        if version > len(steps):
            raise ValueError(
                f"{file} was written by a newer FramePack (schema {version}, this one knows {len(steps)}); update it"
            )
        if 0 < version < len(steps):
            back_up(file, version)
        for statements in steps[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version the file says it has; 0 is an empty file."""
    return connection.execute("PRAGMA user_version").fetchone()[0]


def back_up(file: Path, version: int) -> Path:
    """Copy the queue to `NAME.vVERSION.bak`, through SQLite so that the copy is whole."""
    copy = file.with_name(f"{file.name}.v{version}.bak")
    copy.unlink(missing_ok=True)
    source, target = sqlite3.connect(file), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    return copy


def lenient(text: bytes) -> str:
    """Text that may be damaged."""
    return text.decode(errors="replace")


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 where it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection has locked the file."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is no valid queue: not SQLite's, malformed, or without the queue's tables."""
    missing = str(error).startswith(("no such table", "no such column", "duplicate column", "table job already"))
    return (
        code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or missing
        or type(error) is sqlite3.DatabaseError
    )
