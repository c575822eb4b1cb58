"""The route that finishes a job's video: steps on its frames, made once and kept beside its conversions."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from framepack.app.api.bodies import json_body
from framepack.app.api.files import CONVERTING, notes_of, send_file
from framepack.app.api.receive import LimitedRoute, text_of
from framepack.app.api.submit import object_of, require_numbers
from framepack.app.service.finishing import finished
from framepack.app.service.job_service import Service
from framepack.app.service.paths import find_finishing
from framepack.jobs.folders import Folders
from framepack.pipeline.finishing import ignored
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileCoding


def finish_routes(service: Service) -> APIRouter:
    """Just the one."""
    routes = APIRouter(prefix="/api", tags=["files"], route_class=LimitedRoute)

    @routes.post("/jobs/{job}/finish", response_class=Response, openapi_extra=json_body())
    async def finish(job: str, request: Request, output: Annotated[FileCoding, Query()]) -> Response:
        """The finished job's video with the steps of the body, JSON such as {"enlarge": 2, "start": 0.5}.

        The new file's format, codec, rate and so on stand in the address. Steps that need a file (lut, audio, join)
        go to `POST /api/finishings`; a network, one of the service's folder, enlarges on the processor. Answers with
        the file once it is made; the same steps again are answered at once. The header X-Notes is as for the video.
        """
        data = await run_in_threadpool(object_of, await text_of(request))
        steps = await run_in_threadpool(steps_of, data, service.folders)
        file = await to_thread.run_sync(finished, service, job, steps, output, limiter=CONVERTING)
        return send_file(file, [*ignored(steps, output), *await notes_of(service, file)])

    return routes


def steps_of(data: dict[str, Any], folders: Folders) -> FileFinish:
    """The steps in JSON, their network a file of the service. ValueError for what is none."""
    require_numbers(FileFinish, data)
    steps = FileFinish.model_validate(data)
    if steps.network is None:
        return steps
    return steps.model_copy(update={"network": find_finishing(data["network"], folders)})
