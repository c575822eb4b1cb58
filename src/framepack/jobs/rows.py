"""A row of the queue's table as a Job and back. A row that cannot be one costs that job, never the list it is in."""

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
LOST = GenerationRequest(image=Picture(file=Path("lost")), prompt="").model_dump_json()
"""Stands for a request that cannot be read."""
KEPT = 20_000
"""Characters of a damaged row that are kept for whoever wants to look."""


def job_of(row: Mapping[str, Any] | sqlite3.Row) -> Job:
    """The Job of one row; where it is none, a failed one in its place that says so."""
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - iterating a Row gives its values
    try:
        return readable(values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return stand_in(values, error)


def readable(row: Mapping[str, Any]) -> Job:
    """The Job of one row; ValueError, TypeError, KeyError or RecursionError where it is none."""
    values = {name: row[name] for name in COLUMNS}
    if not is_id(values["id"]):
        raise ValueError("the id is none")
    if not isinstance(json.loads(values["request_json"]), dict):
        raise ValueError("the request is no object")
    if row["request_sum"] not in ("", sum_of(values["request_json"], values["machine"])):
        raise ValueError("the request is not the one that was written")
    for name in ("outputs", "machine", "progress"):
        values[name] = json.loads(values[name])
    return JOB.validate_python(values)


def stand_in(row: Mapping[str, Any], error: Exception) -> Job:
    """A failed job in the place of a row that cannot be read. It keeps the id, and the row's text as its traceback."""
    name, told = row.get("id"), str(error).splitlines()[0]
    return Job(
        id=name if is_id(name) else secrets.token_hex(6),
        status="failed",
        position=0,
        request_json=LOST,
        created=0.0,
        finished=time.time(),
        reason="its entry in the queue is damaged, so nobody knows what was asked for; please ask for the video again",
        traceback=f"{told}\n{dict(row)!r}"[:KEPT],
        damaged=True,
    )


def is_id(value: object) -> TypeGuard[str]:
    """Whether a job may be called so."""
    return isinstance(value, str) and value.isascii() and value.isalnum()


def values_of(job: Job) -> dict[str, object]:
    """All columns of a job's row."""
    values = {name: stored(getattr(job, name)) for name in COLUMNS}
    return values | {"request_sum": sum_of(job.request_json, str(values["machine"]))}


def stored(value: object) -> object:
    """A Job's value as SQLite keeps it."""
    if isinstance(value, Progress):
        return json.dumps(asdict(value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return json.dumps([str(path) for path in value])
    return value


def sum_of(request_json: str, machine: str) -> str:
    """What tells that a request is the one that was written; empty in rows of older versions."""
    return blake2b(f"{request_json}\n{machine}".encode(errors="replace"), digest_size=8).hexdigest()


def replace_row(connection: sqlite3.Connection, row: int, job: Job) -> Job:
    """Write a job in the place of the row of that number."""
    values = values_of(job)
    names = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE OR REPLACE job SET {names} WHERE rowid = ?", (*values.values(), row))
    return job
