"""Routes of LoRA files: hand in, list, delete. A request names one as `{"loras": [{"file": NAME}]}`."""

from fastapi import APIRouter, Request, Response

from framepack.app.api.bodies import form_body
from framepack.app.api.files import found
from framepack.app.api.receive import LimitedRoute, form_of
from framepack.app.service.job_service import Service
from framepack.app.service.loras import IncomingLora, LoraFile, delete_lora, loras_in
from framepack.app.service.paths import lora_folder
from framepack.jobs.job import UNFINISHED


def lora_routes(service: Service) -> APIRouter:
    """All of them."""
    routes = APIRouter(prefix="/api/loras", tags=["loras"], route_class=LimitedRoute)

    @routes.get("")
    def listing() -> list[LoraFile]:
        """The files of the LoRA folder."""
        return loras_in(service.folders)

    @routes.post("", status_code=201, openapi_extra=form_body(file="a .safetensors file"))
    async def take(request: Request) -> list[LoraFile]:
        """Hand in `.safetensors` files (4 GB) as a form; their names go into requests."""
        form = await form_of(request, lambda name: IncomingLora(service.folders, name))
        if not form.files:
            raise ValueError("the form has no file in it")
        return [file for _, file in form.files]

    @routes.delete("/{name}", status_code=204)
    def delete(name: str) -> Response:
        """Delete one that no unfinished job needs."""
        found(name, lora_folder(service.folders))
        delete_lora(name, service.folders, service.jobs(status=UNFINISHED, limit=-1))
        return Response(status_code=204)

    return routes
