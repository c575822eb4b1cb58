"""Puts the HTTP application together: routes, errors as one sentence, and the guard around everything."""

import logging
import sqlite3
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from framepack import __version__
from framepack.app.api import docs
from framepack.app.api.batches import Batch, batch_routes
from framepack.app.api.bodies import ERRORS
from framepack.app.api.edited import edited_routes
from framepack.app.api.events import event_routes
from framepack.app.api.files import file_routes
from framepack.app.api.finish import finish_routes
from framepack.app.api.finishings import finishing_routes
from framepack.app.api.guard import Access, Guard
from framepack.app.api.jobs import job_routes
from framepack.app.api.loras import lora_routes
from framepack.app.api.presets import preset_routes
from framepack.app.api.receive import LimitedRoute
from framepack.app.api.timelines import timeline_routes
from framepack.app.service.convert import TooMany
from framepack.app.service.job_service import Service
from framepack.app.service.uploads import NoRoom, TooLarge
from framepack.files.text import printable_line
from framepack.jobs.batch import BatchError
from framepack.jobs.job import UnknownJob, WrongState
from framepack.jobs.run import disk_is_full
from framepack.pipeline.presets import PresetExists, UnknownPreset
from framepack.spec.model import Model, RequestError
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

STATUS: dict[type[Exception], int] = {
    UnknownJob: 404,
    UnknownPreset: 404,
    WrongState: 409,
    PresetExists: 409,
    TooLarge: 413,
    BatchError: 422,
    RequestError: 422,
    TooMany: 503,
    NoRoom: 507,
}
PRESET_HELP = "Name of a preset. Its settings are used for fields that the request leaves out."


class Application(FastAPI):
    """FastAPI whose schema also has the bodies that are read off the event loop (`bodies`): `request` and a batch."""

    def __init__(self, *, request: type[Model] = GenerationRequest, **settings: Any) -> None:
        super().__init__(**settings)
        self._request = request

    def openapi(self) -> dict[str, Any]:
        """See FastAPI."""
        if self.openapi_schema is not None:
            return self.openapi_schema
        schema = super().openapi()
        known = schema.setdefault("components", {}).setdefault("schemas", {})
        for model in (self._request, Batch):
            described = model.model_json_schema(ref_template="#/components/schemas/{model}")
            known |= {**described.pop("$defs", {}), model.__name__: described}
        known[self._request.__name__]["properties"]["preset"] = {"type": "string", "description": PRESET_HELP}
        return schema


def make_app(service: Service, access: Access) -> FastAPI:
    """The application on a service that is open. A page may be mounted on it; the guard stands before that too."""
    app = Application(
        title="FramePack",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        responses=ERRORS,
    )
    app.router.route_class = LimitedRoute
    app.add_middleware(Guard, access=access)
    of_files = file_routes, edited_routes, timeline_routes, finish_routes, finishing_routes
    for routes in (job_routes, batch_routes, event_routes, *of_files, lora_routes, preset_routes):
        app.include_router(routes(service))

    @app.get("/api/health", tags=["service"])
    def health() -> dict[str, Any]:
        """Jobs by status, workers, disk."""
        return service.health()

    @app.get("/api/docs", include_in_schema=False)
    def documentation() -> HTMLResponse:
        """The schema, for people."""
        return HTMLResponse(docs.page(app.openapi()), headers={"content-security-policy": docs.POLICY})

    @app.get("/api/models", tags=["service"])
    def models() -> list[dict[str, Any]]:
        """What `model` may be; `to_fetch`: about how many bytes of it are missing, null where none are known to be.

        `territories`: where the weights' licence does not apply, null for the bundled ones.
        """
        return [
            {
                **{key: getattr(v, key) for key in ("name", "title", "bundled", "keyframes_ahead", "territories")},
                "to_fetch": service.models.lack(v.name),
            }
            for v in VARIANTS.values()
        ]

    answer_errors(app)
    return app


def answer_errors(app: FastAPI) -> None:
    """Every error is {"error": sentence}; a traceback is never part of an answer."""

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": printable_line(str(error.detail))}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        message = first["msg"].removeprefix("Value error, ")
        return JSONResponse({"error": printable_line(f"{where}: {message}" if where else message)}, 422)

    @app.exception_handler(ValueError)
    async def mistaken(_: Request, error: ValueError) -> JSONResponse:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
        wait = {"retry-after": str(error.wait)} if isinstance(error, TooMany) else None
        return JSONResponse({"error": printable_line(str(error))}, status, headers=wait)

    @app.exception_handler(sqlite3.OperationalError)
    async def unwritable(_: Request, error: sqlite3.OperationalError) -> JSONResponse:
        return JSONResponse({"error": printable_line(f"the queue cannot be used now: {error}")}, 503)

    @app.exception_handler(OSError)
    async def no_room(request: Request, error: OSError) -> JSONResponse:
        if disk_is_full(error):
            return JSONResponse({"error": "the disk is full; free some space"}, 507)
        return await broken(request, error)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        logging.getLogger("framepack").error("%s %s", request.method, request.url.path, exc_info=error)
        return JSONResponse({"error": "internal error; the service's log has the details"}, 500)
