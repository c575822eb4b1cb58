"""The file that plays what exists of a job's video, or why nobody gets one."""

from pathlib import Path

from framepack.app.service.job_service import Service
from framepack.jobs.job import Job, NoVideo

ELSEWHERE = (
    "job {id}'s video lies where its output.path says, and only files of the outputs folder are sent: open it on the "
    "service's own machine"
)
GONE = "job {id}'s video is not there any more: it was moved or deleted, so make it again"
FAILED = "job {id} failed before there was anything to play ({reason}): retry it"
CANCELLED = "job {id} was cancelled before there was anything to play: retry it"
NOT_YET = "job {id} is {status}: there is nothing to play yet; the video appears with its first section"


def playable(service: Service, job: str) -> Path:
    """The file in the outputs folder. Raises UnknownJob, and NoVideo with the reason where there is none."""
    now = service.get(job)
    file = now.outputs[0] if now.outputs else None
    if file is not None and file.is_file() and file.parent == service.folders.outputs:
        return file
    raise NoVideo(why_none(now, service.folders.outputs))


def why_none(now: Job, outputs: Path) -> str:
    """Why a job has no video in the outputs folder, in a sentence with the way out."""
    if now.outputs:
        said = GONE if now.outputs[0].parent == outputs or not now.outputs[0].is_file() else ELSEWHERE
    else:
        said = {"failed": FAILED, "cancelled": CANCELLED, "done": GONE}.get(now.status, NOT_YET)
    return said.format(id=now.id, status=now.status, reason=now.reason or "for no known reason")
