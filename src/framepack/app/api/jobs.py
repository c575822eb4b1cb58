"""Routes of jobs. Many at once are `batches`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from framepack.app.api.bodies import form_body, json_body
from framepack.app.api.receive import LimitedRoute, text_of
from framepack.app.api.submit import object_of, request_of, validated
from framepack.app.api.views import JobView, TakeView, answer, job_view, take_view
from framepack.app.machine import preserving
from framepack.app.service.job_service import Service
from framepack.app.service.takes import Wanted
from framepack.jobs.job import Job, Status
from framepack.spec.parts import TEXT_MOST
from framepack.spec.request import GenerationRequest

BODY = form_body(
    json=GenerationRequest,
    text="a GenerationRequest as JSON, which names the form's other files as part:FIELD",
    image="the picture the video starts with",
)


Preserve = Annotated[float | None, Query(description="GB of GPU memory to leave free; empty: the service's default")]


class RedoBody(BaseModel):
    """Which section to make anew, counted from 1 in the order of time: `section` alone, or `from_section` on."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    section: int | None = None
    """Made anew alone; its neighbours stay."""
    from_section: int | None = None
    """Made anew with all that are made after it."""
    prompt: Annotated[str | None, Field(max_length=TEXT_MOST)] = None
    """What happens in that section; empty: as before."""
    seed: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    """Its noise is that of a video with this seed; empty: another in each take."""


class Move(BaseModel):
    """Where to put a waiting job; 1 is next."""

    model_config = ConfigDict(extra="forbid", strict=True)
    place: Annotated[int, Field(ge=1)]


def job_routes(service: Service) -> APIRouter:
    """All of them. Errors are {"error": sentence}."""
    routes = APIRouter(prefix="/api", tags=["jobs"], route_class=LimitedRoute)
    for part in (asking, looking, steering, taking):
        part(routes, service)
    return routes


def handed_in(service: Service, job: Job) -> JobView:
    """The job, and the notes on its request."""
    shown = job_view(service.get(job.id), service.folders, traceback=True)
    return shown.model_copy(update={"doubts": service.doubts(job.request)})


def viewer(service: Service) -> Callable[[Job], JobView]:
    """How a job is shown after something was done to it."""
    return lambda job: job_view(service.get(job.id), service.folders, traceback=True)


def asking(routes: APIRouter, service: Service) -> None:
    """Submit and edit."""

    @routes.post("/jobs", status_code=201, response_model=JobView, openapi_extra=BODY)
    async def submit(request: Request, preserve_gb: Preserve = None) -> Response:
        """Queue a request: JSON that names uploads, or a form whose field `image` is the picture."""
        machine = preserving(preserve_gb, gpu=service.has_gpu)
        wanted = await request_of(request, service.folders, service.presets)

        def queue() -> Response:
            (job,) = service.submit([wanted], machine=machine)
            return answer(handed_in(service, job), 201)

        return await run_in_threadpool(queue)

    @routes.post("/storyboards", status_code=201, response_model=list[JobView], openapi_extra=BODY)
    async def storyboard(request: Request, preserve_gb: Preserve = None) -> Response:
        """Queue a still for each border between a video's sections, as a batch: a body like that of `POST /api/jobs`.

        Each job's `label` is its time. Pictures that are liked go into the video's `frames` by their names.
        """
        machine = preserving(preserve_gb, gpu=service.has_gpu)
        wanted = await request_of(request, service.folders, service.presets)

        def queue() -> Response:
            return answer((handed_in(service, job) for job in service.storyboard(wanted, machine)), 201)

        return await run_in_threadpool(queue)

    @routes.put("/jobs/{job}", response_model=JobView, openapi_extra=json_body(GenerationRequest))
    async def edit(job: str, request: Request, preserve_gb: Preserve = None) -> Response:
        """Give a waiting job another request."""
        machine, text = preserving(preserve_gb, gpu=service.has_gpu), await text_of(request)

        def change() -> Response:
            own = [lora.file for lora in service.get(job).request.loras]
            data = service.presets.resolve(object_of(text))
            return answer(handed_in(service, service.edit(job, validated(data, service.folders, own), machine)))

        return await run_in_threadpool(change)


def looking(routes: APIRouter, service: Service) -> None:
    """List and show."""

    @routes.get("/jobs", response_model=list[JobView])
    def listing(
        status: Annotated[list[Status] | None, Query()] = None,
        batch: str | None = None,
        search: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    ) -> Response:
        """Unfinished jobs in their order, then ended ones, newest first."""
        found = service.jobs(status=status, batch=batch, search=search, limit=limit, offset=offset)
        return answer(job_view(job, service.folders) for job in found)

    @routes.get("/jobs/{job}", response_model=JobView)
    def show(job: str) -> Response:
        """One job, with its traceback where it failed."""
        return answer(job_view(service.get(job), service.folders, traceback=True))


def steering(routes: APIRouter, service: Service) -> None:
    """Control a job."""
    view = viewer(service)

    @routes.delete("/jobs/{job}", status_code=204)
    def delete(job: str, files: bool = False) -> Response:
        """Forget a job that does not run; `files` deletes its video too."""
        service.delete(job, files=files)
        return Response(status_code=204)

    @routes.post("/jobs/{job}/cancel")
    def cancel(job: str, force: bool = False) -> JobView:
        """End it within a step; `force` ends a worker that does not listen."""
        return view(service.cancel(job, force=force))

    @routes.post("/jobs/{job}/stop")
    def stop(job: str) -> JobView:
        """End it after its current section."""
        return view(service.stop(job))

    @routes.post("/jobs/{job}/pause")
    def pause(job: str) -> JobView:
        """Pause it, after its current section."""
        return view(service.pause(job))

    @routes.post("/jobs/{job}/resume")
    def resume(job: str) -> JobView:
        """Queue a paused job again."""
        return view(service.resume(job))

    @routes.post("/jobs/{job}/retry")
    def retry(job: str) -> JobView:
        """Queue a failed or cancelled job again; it resumes after its last finished section."""
        return view(service.retry(job))

    @routes.post("/jobs/{job}/move")
    def move(job: str, to: Move) -> JobView:
        """Put a waiting job elsewhere in the queue."""
        return view(service.move(job, to.place))


def taking(routes: APIRouter, service: Service) -> None:
    """Takes of a video."""

    @routes.post("/jobs/{job}/redo", status_code=201)
    def redo(job: str, wanted: RedoBody) -> JobView:
        """Queue another take of a finished job's video, in which a section is made anew."""
        asked = Wanted.of(wanted.section, wanted.from_section, wanted.prompt, wanted.seed)
        return handed_in(service, service.redo(job, asked))

    @routes.get("/jobs/{job}/takes")
    def takes(job: str) -> list[TakeView]:
        """All takes of a job's video: what each made anew of which other, and which take made each section."""
        return [take_view(node) for node in service.takes(job)]

    @routes.delete("/jobs/{job}/sections", status_code=204)
    def drop(job: str) -> Response:
        """Delete what a finished job keeps for other takes; its video stays, and so do the takes there are."""
        service.drop_sections(job)
        return Response(status_code=204)
