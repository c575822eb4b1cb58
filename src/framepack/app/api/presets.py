"""Routes of presets: settings without pictures, prompts and seed, under a name. A job names one as `"preset": NAME`."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from framepack.app.api.bodies import json_body
from framepack.app.api.receive import LimitedRoute, text_of
from framepack.app.api.submit import object_of, text_in
from framepack.app.service.job_service import Service
from framepack.pipeline.presets import Imported


class PresetView(BaseModel):
    """A preset; `settings` are None and `error` says why where its file is damaged. `starred`: a new page has it."""

    name: str
    starred: bool
    settings: dict[str, Any] | None
    error: str | None = None


class Rename(BaseModel):
    """The name a preset gets."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=200)]


def preset_routes(service: Service) -> APIRouter:
    """All of them. Errors are {"error": sentence}."""
    routes = APIRouter(prefix="/api", tags=["presets"], route_class=LimitedRoute)
    for part in (one_preset, all_presets):
        part(routes, service)
    return routes


def one_preset(routes: APIRouter, service: Service) -> None:
    """By its name."""
    presets = service.presets

    @routes.get("/presets/{name}")
    def show(name: str) -> dict[str, Any]:
        """Its settings: fields of a request, as a client sends them."""
        return presets.load(name)

    @routes.put("/presets/{name}", response_model=PresetView, openapi_extra=json_body())
    async def save(name: str, request: Request) -> PresetView:
        """Keep settings under a name; what they leave out is as a request has it. One of that name is replaced."""
        text = await text_of(request)
        return await run_in_threadpool(lambda: view_of(service, presets.save(name, object_of(text))))

    @routes.delete("/presets/{name}", status_code=204)
    def delete(name: str) -> Response:
        """Forget it."""
        presets.delete(name)
        return Response(status_code=204)

    @routes.post("/presets/{name}/rename")
    def rename(name: str, to: Rename) -> PresetView:
        """Give it another name that is free."""
        return view_of(service, presets.rename(name, to.name))


def all_presets(routes: APIRouter, service: Service) -> None:
    """Together."""
    presets = service.presets

    @routes.get("/presets")
    def listing() -> list[PresetView]:
        """All of them, damaged ones too."""
        return [view_of(service, name) for name in presets.names()]

    @routes.get("/export/presets")
    def export() -> dict[str, Any]:
        """All that can be read as one object, {NAME: settings}, which an import takes."""
        return presets.exported()

    @routes.post("/import/presets", openapi_extra=json_body())
    async def take_in(request: Request) -> Imported:
        """Save the presets of an export, all or none; those of the same names are replaced."""
        text = await text_of(request)
        return await run_in_threadpool(lambda: presets.take_in(text_in(text)))


def view_of(service: Service, name: str) -> PresetView:
    """A preset as the API shows it."""
    starred = service.presets.startup() == name
    try:
        return PresetView(name=name, starred=starred, settings=service.presets.load(name))
    except ValueError as error:
        return PresetView(name=name, starred=starred, settings=None, error=str(error))
