"""What can happen to the file of a queue, for tests and benchmarks."""

import random
import sqlite3
from pathlib import Path

ROWS = {
    "request_json": ["{", "[]", "null", "", '{"image": 1', "\udcff", '{"a":' * 2000],
    "status": ["weird", "", 7],
    "position": ["first", b"x"],
    "created": ["yesterday", b"x"],
    "progress": ["{", "[]", '{"section": "many"}', '{"section_seconds": 7}', "7"],
    "outputs": ["{", "7", "[1]", "[null]"],
    "machine": ["[]", "{", "7"],
    "reason": [b"\xff\xfe"],
    "id": [b"\x00", ""],
}
"""Columns, and invalid values."""


def spoil_row(file: Path, job: str, column: str, value: object) -> None:
    """Write something into a job's row that the queue never would."""
    connection = sqlite3.connect(file, timeout=30)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    sent = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    as_text = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
    connection.execute(f"UPDATE job SET {column} = {as_text} WHERE id = ?", (sent, job))
    connection.commit()
    connection.close()


def truncate(file: Path, chance: random.Random) -> None:
    with file.open("r+b") as data:
        data.truncate(chance.randrange(0, file.stat().st_size))


def zero(file: Path, chance: random.Random) -> None:
    overwrite(file, chance, bytes(4096))


def scramble(file: Path, chance: random.Random) -> None:
    overwrite(file, chance, chance.randbytes(4096))


def overwrite(file: Path, chance: random.Random, page: bytes) -> None:
    with file.open("r+b") as data:
        data.seek(4096 * chance.randrange(file.stat().st_size // 4096))
        data.write(page)


def first_page(file: Path, chance: random.Random) -> None:
    with file.open("r+b") as data:
        data.write(chance.randbytes(4096))


def delete(file: Path, chance: random.Random) -> None:
    file.unlink()


def other_file(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.write_bytes(chance.randbytes(5000))


def other_queue(file: Path, chance: random.Random) -> None:
    file.unlink()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE job (id TEXT)")
    connection.commit()
    connection.close()


def folder(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.mkdir()


def drop_table(file: Path, chance: random.Random) -> None:
    connection = sqlite3.connect(file, timeout=30)
    connection.execute(f"DROP TABLE {chance.choice(['job', 'counter'])}")
    connection.commit()
    connection.close()


DAMAGES = {
    damage.__name__: damage
    for damage in (truncate, zero, scramble, first_page, delete, other_file, other_queue, folder, drop_table)
}
KEEPS_ALL = ("delete", "other_file", "other_queue", "folder", "first_page")
"""Of a running service: after these not one job is lost."""
