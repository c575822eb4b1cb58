"""Routes of timelines for editing programs: a job's video as one, and the request that one says."""

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse

from framepack.app.api.files import SAFE, send_file
from framepack.app.api.receive import DECODING, LimitedRoute, text_of
from framepack.app.service.job_service import Service
from framepack.app.service.playable import playable
from framepack.app.service.timelines import exported
from framepack.app.service.uploads import AT_ONCE, checked
from framepack.media.editors import EDITORS
from framepack.media.sandbox import read_untrusted_timeline
from framepack.pipeline.timelines import valid_fields_from
from framepack.spec.stored import SCHEMA

To = Literal["otio", "otioz", "edl", "fcp7", "fcpxml"]
Read = Literal["otio", "otioz", "fcp7", "fcpxml"]
MOST = 8 << 20
"""Bytes of a timeline; one of an hour has two megabytes."""
TOO_LARGE = (
    f"a timeline may have {MOST >> 20} MB here: take fewer clips and markers, of an otioz send the content.otio "
    "in it, or use `framepack generate --from-timeline` on the command line"
)
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}}


def timeline_routes(service: Service) -> APIRouter:
    """Both."""
    routes = APIRouter(prefix="/api", tags=["files"], route_class=LimitedRoute)

    @routes.get("/jobs/{job}/timeline", response_class=FileResponse)
    async def timeline(job: str, to: To = "otio") -> Response:
        """The job's video as a timeline of an editing program; put the video beside it, otioz has it in it."""

        def make() -> Response:
            if service.get(job).request.still is not None:
                raise ValueError(f"job {job} is a still: a timeline is made of a video")
            file = playable(service, job)
            return send_file(checked(lambda video: exported(service.conversions.folder(job), video, to), file))

        answer = await to_thread.run_sync(make, limiter=DECODING)
        answer.headers.update(SAFE)
        return answer

    @routes.post("/timelines", openapi_extra=BODY)
    async def request_in(
        request: Request,
        format: Annotated[Read, Query(description="what the body is")] = "otio",  # noqa: A002
    ) -> dict[str, Any]:
        """The fields of a request that a timeline, the body, says: markers as `frames` and `prompts`, its `seconds`.

        Pictures have the names they had there: put ids of uploads in their place, and send the whole to `/api/jobs`.
        """
        content = await text_of(request, MOST, TOO_LARGE)

        def read() -> dict[str, Any]:
            with AT_ONCE:
                sequence = read_untrusted_timeline(content, EDITORS[format].suffix)
            fields = valid_fields_from(sequence)
            output = fields.get("output")
            kept = {key: value for key, value in output.items() if key != "path"} if isinstance(output, dict) else {}
            said = {key: value for key, value in fields.items() if key not in (SCHEMA, "output")}
            return {**said, "output": kept} if kept else said

        try:
            return await to_thread.run_sync(read, limiter=DECODING)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    return routes
