"""Rows of the queue's table as jobs and back. A row that is no valid job costs that job, never the list it is in."""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import TypeAdapter

from framepack.jobs.job import Job, Progress
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest

JOB = TypeAdapter(Job)
COLUMNS = tuple(field.name for field in fields(Job) if field.name != "damaged")
UNREADABLE = GenerationRequest(image=Picture(file=Path("lost")), prompt="").model_dump_json()
"""Placeholder of a request that cannot be read."""
MAX_TEXT = 20_000
"""Characters of a damaged row that its placeholder keeps."""


def job_of(row: Mapping[str, Any] | sqlite3.Row) -> Job:
    """The job of one row; of an invalid row, its placeholder."""
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - iterating a Row gives its values
    try:
        return parse_row(values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return placeholder(values, error)


def parse_row(row: Mapping[str, Any]) -> Job:
    """The job of one row; ValueError, TypeError, KeyError or RecursionError of an invalid row."""
    values = {name: row[name] for name in COLUMNS}
    if not is_id(values["id"]):
        raise ValueError("the id is not valid")
    if not isinstance(json.loads(values["request_json"]), dict):
        raise ValueError("the request is not an object")
    if row["request_sum"] not in ("", checksum(values["request_json"], values["machine"])):
        raise ValueError("the request has another checksum")
    for name in ("outputs", "machine", "progress"):
        values[name] = json.loads(values[name])
    return JOB.validate_python(values)


def placeholder(row: Mapping[str, Any], error: Exception) -> Job:
    """A failed job for an invalid row. It keeps the id, and has the row's text as its traceback."""
    name, why = row.get("id"), str(error).splitlines()[0]
    return Job(
        id=name if is_id(name) else secrets.token_hex(6),
        status="failed",
        position=0,
        request_json=UNREADABLE,
        created=0.0,
        finished=time.time(),
        reason="its entry in the queue is damaged, and its request cannot be read: submit it again",
        traceback=f"{why}\n{dict(row)!r}"[:MAX_TEXT],
        damaged=True,
    )


def is_id(value: object) -> TypeGuard[str]:
    """Whether the value is a valid id of a job."""
    return isinstance(value, str) and value.isascii() and value.isalnum()


def values_of(job: Job) -> dict[str, object]:
    """All columns of a job's row."""
    values = {name: stored(getattr(job, name)) for name in COLUMNS}
    return values | {"request_sum": checksum(job.request_json, str(values["machine"]))}


def stored(value: object) -> object:
    """The value of a job's field as SQLite stores it."""
    if isinstance(value, Progress):
        return json.dumps(asdict(value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return json.dumps([str(path) for path in value])
    return value


def checksum(request_json: str, machine: str) -> str:
    """Of a request and its machine settings; rows of older versions have an empty one."""
    return blake2b(f"{request_json}\n{machine}".encode(errors="replace"), digest_size=8).hexdigest()


def replace_row(connection: sqlite3.Connection, row: int, job: Job) -> Job:
    """Replace the row of that number by a job."""
    values = values_of(job)
    names = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE OR REPLACE job SET {names} WHERE rowid = ?", (*values.values(), row))
    return job
