"""Errors as answers: each is {"error": sentence} with a status, without a folder of this machine and a traceback."""

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from framepack.app.service.convert import TooMany
from framepack.app.service.paths import without_folders
from framepack.app.service.uploads import NoRoom, TooLarge
from framepack.files.text import printable_line
from framepack.jobs.batch import BatchError
from framepack.jobs.folders import Folders
from framepack.jobs.job import NoVideo, UnknownJob, WrongState
from framepack.jobs.run import disk_is_full
from framepack.pipeline.presets import PresetExists, UnknownPreset
from framepack.spec.model import RequestError, sentence_of

STATUS: dict[type[Exception], int] = {
    UnknownJob: 404,
    NoVideo: 404,
    UnknownPreset: 404,
    WrongState: 409,
    PresetExists: 409,
    TooLarge: 413,
    BatchError: 422,
    RequestError: 422,
    TooMany: 503,
    NoRoom: 507,
}
PLACES = ("body", "query", "path")
"""Where in a request a value stands, which FastAPI says before its name."""


def answer_errors(app: FastAPI, folders: Folders) -> None:
    """Have every error answered so. folders: those of the service."""

    def told(error: object, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": printable_line(without_folders(str(error), folders))}, status, headers=headers)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return told(error.detail, error.status_code, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return told(malformation(error.errors()), 422)

    @app.exception_handler(ValueError)
    async def mistaken(_: Request, error: ValueError) -> JSONResponse:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
        return told(error, status, {"retry-after": str(error.wait)} if isinstance(error, TooMany) else None)

    @app.exception_handler(sqlite3.OperationalError)
    async def unwritable(_: Request, error: sqlite3.OperationalError) -> JSONResponse:
        return told(f"the queue cannot be used now: {error}", 503)

    @app.exception_handler(OSError)
    async def no_room(request: Request, error: OSError) -> JSONResponse:
        if disk_is_full(error):
            return told("the disk is full; free some space", 507)
        return await broken(request, error)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        logging.getLogger("framepack").error("%s %s", request.method, request.url.path, exc_info=error)
        return told("internal error; the service's log has the details", 500)


def malformation(findings: Sequence[dict[str, Any]]) -> str:
    """What is wrong with an address's parts or a small body, as a request's own errors say it.

    Of what may be one thing or another, such as a number or a word, there is a finding for each, with its kind behind
    the name: all are said in one sentence.
    """
    first, place = findings[0], names_in(findings[0])
    alike = [one for one in findings if names_in(one)[:1] == place[:1] and one["input"] == first["input"]]
    if len(alike) == 1:
        return sentence_of({**first, "loc": place})
    said = [sentence_of({**one, "loc": place[:1]}).rpartition(", got ") for one in alike]
    others = [head.partition(" must be ")[2] for head, _, _ in said[1:]]
    return f"{said[0][0]}, or {', or '.join(others)}, got {said[0][2]}"


def names_in(finding: dict[str, Any]) -> tuple[str | int, ...]:
    """The place of a finding without what FastAPI says before a name, which alone is the whole body."""
    place = tuple(finding["loc"])
    if place == ("body",):
        return ("the body",)
    return place[1:] if place and place[0] in PLACES else place
