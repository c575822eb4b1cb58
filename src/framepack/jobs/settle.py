"""What the end of an attempt means for the job, its files and the queue."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from framepack.jobs.claims import Claims, LostClaim, Outcome
from framepack.jobs.folders import Folders
from framepack.jobs.job import Job
from framepack.jobs.stream import Ended, Ending

OUTCOMES: dict[Ending, Outcome] = {
    "finished": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "stopped": "cancelled",
    "paused": "paused",
    "released": "queued",
    "disk full": "paused",
    "broken": "queued",
}


def settle(claims: Claims, folders: Folders, job: Job, ended: Ended) -> None:
    """Write the end down. Someone else's job by now is left alone."""
    claim = job.claim or ""
    elsewhere = folders.full_elsewhere(job) if ended.how == "disk full" else None
    if ended.how == "disk full" and not elsewhere:
        folders.found_full()
    with suppress(LostClaim):
        if ended.how == "died":
            claims.died(job.id, claim, ended.message, ended.traceback)
        elif ended.how != "lost":
            claims.settle(job.id, claim, OUTCOMES[ended.how], **facts(job, ended, elsewhere))
            if ended.how == "finished":
                folders.clear(job.id)


def facts(job: Job, ended: Ended, elsewhere: Path | None) -> dict[str, Any]:
    """What the queue keeps of it. elsewhere: the folder that is full, where it is none of the service's own."""
    progress, said = job.progress, {"reason": ended.message, "traceback": ended.traceback, "progress": job.progress}
    if job.outputs:
        said["outputs"] = job.outputs
    if ended.how in ("stopped", "paused"):
        said["reason"] = f"{ended.how} after section {progress.section} of {progress.sections}, as asked"
    if elsewhere:
        said["reason"] = f"the disk of {elsewhere} is full; free some space there, then resume the job"
    elif ended.how == "disk full":
        said["reason"] = f"{ended.message}; free some space and the job goes on by itself"
        said["waits_for"] = "space"
    return said
