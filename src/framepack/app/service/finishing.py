"""A finished job's video with steps done to its frames, by the child that converts, and kept as conversions are."""

from pathlib import Path

from framepack.app.service.job_service import Service
from framepack.app.service.playable import playable
from framepack.jobs.job import UNFINISHED, WrongState
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileCoding

WITH_FILES = ("lut", "audio", "join")
"""Steps that need a file, other than a network of the service: that child may open no other."""


def finished(service: Service, job: str, steps: FileFinish, output: FileCoding) -> Path:
    """The video as `output` says; waits until it is made.

    steps: their network is one of the service's folder for finishing.
    ValueError for steps with other files and for none, NoVideo where the video is not in the outputs folder,
    WrongState where it is not finished; see `Conversions.file`.
    """
    for field in WITH_FILES:
        if getattr(steps, field):
            raise ValueError(
                f"{field} needs a file: send it to POST /api/finishings, with the name of the job's video as `file`"
            )
    if not steps.changes:
        raise ValueError("these steps change nothing: name one, such as enlarge")
    now = service.get(job)
    if now.status in UNFINISHED:
        raise WrongState(f"job {job} is {now.status}: its video can be finished when it is done")
    if now.status != "done":
        raise WrongState(f"job {job} is {now.status}, so it has no finished video: retry it")
    file = playable(service, job)
    return service.conversions.file(job, file, output, steps, crf=now.request.output.coding.crf)
