"""A finished job's video with steps done to its frames, by the child that converts, and kept as conversions are."""

from pathlib import Path

from framepack.app.service.job_service import Service
from framepack.jobs.job import WrongState
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileCoding

WITH_FILES = ("network", "lut", "audio", "join")
"""Steps that need a file, which that child may not open."""


def finished(service: Service, job: str, steps: FileFinish, output: FileCoding) -> Path:
    """The video as `output` says; waits until it is made.

    ValueError for steps with files and for none, WrongState where there is no finished video; see `Conversions.file`.
    """
    for field in WITH_FILES:
        if getattr(steps, field):
            raise ValueError(f"{field} needs a file: queue a request that has it in `finish`, or use the command line")
    if not steps.changes:
        raise ValueError("these steps change nothing: name one, such as enlarge")
    file, now = service.video(job), service.get(job)
    if file is None or file.parent != service.folders.outputs or now.status != "done":
        raise WrongState(f"job {job} has no finished video; wait until it is done")
    return service.conversions.file(job, file, output, steps, crf=now.request.output.coding.crf)
