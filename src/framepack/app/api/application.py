"""Puts the HTTP application together: routes, errors as answers, and the guard around everything."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from framepack import __version__
from framepack.app.api import docs
from framepack.app.api.batches import Batch, batch_routes
from framepack.app.api.bodies import ERRORS
from framepack.app.api.edited import edited_routes
from framepack.app.api.errors import answer_errors
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
from framepack.app.service.job_service import Service
from framepack.app.service.paths import without_folders
from framepack.spec.model import Model
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

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
        return without_folders(service.health(), service.folders)

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

    answer_errors(app, service.folders)
    return app
