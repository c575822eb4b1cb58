"""Records the end of an attempt: in the queue, and in the job's files."""

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


def record_outcome(claims: Claims, folders: Folders, job: Job, ended: Ended) -> None:
    """Save how the attempt ended. A job with another claim by now is left as it is."""
    claim = job.claim or ""
    elsewhere = folders.other_full_disk(job) if ended.how == "disk full" else None
    if ended.how == "disk full" and not elsewhere:
        folders.mark_full()
    with suppress(LostClaim):
        if ended.how == "crashed":
            claims.crash(job.id, claim, ended.message, ended.traceback)
        elif ended.how != "lost":
            claims.finish(job.id, claim, OUTCOMES[ended.how], **outcome_fields(job, ended, elsewhere))
            if ended.how == "finished":
                folders.finish(job)


def outcome_fields(job: Job, ended: Ended, elsewhere: Path | None) -> dict[str, Any]:
    """Fields of the job. elsewhere: the folder on a full disk, where that is none of the service's own."""
    progress = job.progress
    fields: dict[str, Any] = {"reason": ended.message, "traceback": ended.traceback, "progress": progress}
    if job.outputs:
        fields["outputs"] = job.outputs
    if ended.how in ("stopped", "paused"):
        fields["reason"] = f"{ended.how} after section {progress.section} of {progress.sections}, on request"
    if elsewhere:
        fields["reason"] = f"the disk of {elsewhere} is full: free some space there, then resume the job"
    elif ended.how == "disk full":
        fields["reason"] = f"{ended.message}: free some space, and the job resumes by itself"
        fields["waits_for"] = "space"
    return fields
