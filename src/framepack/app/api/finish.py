"""The route that finishes a job's video: steps on its frames, made once and kept beside its conversions."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from framepack.app.api.bodies import json_body
from framepack.app.api.files import CONVERTING, send_file
from framepack.app.api.receive import LimitedRoute, text_of
from framepack.app.api.submit import object_of, require_numbers
from framepack.app.service.finishing import finished
from framepack.app.service.job_service import Service
from framepack.spec.finish import FileFinish
from framepack.spec.ignored import ignored_coding
from framepack.spec.output import FileCoding


def finish_routes(service: Service) -> APIRouter:
    """Just the one."""
    routes = APIRouter(prefix="/api", tags=["files"], route_class=LimitedRoute)

    @routes.post("/jobs/{job}/finish", response_class=Response, openapi_extra=json_body())
    async def finish(job: str, request: Request, output: Annotated[FileCoding, Query()]) -> Response:
        """The finished job's video with the steps of the body, JSON such as {"enlarge": 2, "start": 0.5}.

        The new file's format, codec, rate and so on stand in the address. Steps that need a file (lut, audio, join)
        go to `POST /api/finishings`. Answers with the file once it is made; the same steps again are answered at once.
        """
        data = await run_in_threadpool(object_of, await text_of(request))
        require_numbers(FileFinish, data)
        steps = FileFinish.model_validate(data)
        file = await to_thread.run_sync(finished, service, job, steps, output, limiter=CONVERTING)
        return send_file(file, ignored_coding(output))

    return routes
