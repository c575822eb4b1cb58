"""Single frames of the form's video, before the long run: one, or a storyboard of which some become keyframes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from framepack.app.service.job_service import Service
from framepack.app.service.kinds import with_usable_files
from framepack.app.service.paths import copy_once
from framepack.app.ui import form
from framepack.app.ui.control_rows import Values
from framepack.jobs.batch import has_title
from framepack.jobs.job import Job
from framepack.spec.request import GenerationRequest
from framepack.spec.storyboard import still_at

ONLY_OF_IMAGES = "One frame and a storyboard are of a video from an image: choose that under What is made."
QUEUED = {"still": "One frame is queued.", "storyboard": "{count} frames are queued. Choose among them under Batches."}
CHOSEN = "{count} frames of the storyboard are now keyframes."
LABEL = re.compile(r"(\d+(?:\.\d+)?) s")
"""What a storyboard calls its frames: their time."""
View = dict[str, Any]


def queue(
    service: Service, action: str, second: str, values: Values, machine: Mapping[str, Any]
) -> tuple[list[Job], str]:
    """Queue one frame, or a storyboard. Returns the jobs and the message. Raises ValueError for what cannot be."""
    if values["task"] != "image":
        raise form.FieldError("task", ONLY_OF_IMAGES)
    request = with_usable_files(form.request_of(values, service.folders), service.folders)
    if action == "still":
        jobs = service.submit([still_at(request, second_of(second))], machine=machine)
    elif action == "storyboard":
        jobs = service.storyboard(request, machine)
    else:
        raise ValueError(f"there is no button called {action!r}")
    return jobs, QUEUED[action].format(count=len(jobs))


def second_of(typed: str) -> float | None:
    """What was typed as a second. None for nothing, which means the usual one."""
    text = typed.replace(",", ".").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"the second of the frame must be a number, got {form.shorten(typed)}") from None


def second_in(settings: Mapping[str, Any]) -> str:
    """The second of the frame whose settings these are, as one types it; empty for the usual one, and for a video."""
    still = settings.get("still")
    if not still:
        return ""
    if still.get("at") is not None:
        return f"{still['at']:g}"
    request = GenerationRequest.stored({**settings, "image": "-"})
    index = still.get("index") or request.window
    return "" if index == request.window else f"{request.geometry.seconds_of(index, index, request.window):.3g}"


def panels(service: Service, batch: str) -> list[View]:
    """The frames of a storyboard in the order of time, as the page shows them; none for any other batch."""
    if not has_title(batch, "storyboard"):
        return []
    return [
        {
            "job": job.id,
            "label": job.label,
            "status": job.status,
            "picture": f"/api/uploads/{job.outputs[0].name}/picture" if is_made(job) else "",
        }
        for job in jobs_of(service, batch)
    ]


def jobs_of(service: Service, batch: str) -> list[Job]:
    """The jobs of a storyboard, in the order of time."""
    found = [job for job in service.store.jobs(batch=batch, limit=-1) if LABEL.fullmatch(job.label)]
    return sorted(found, key=lambda job: float(job.label[:-2]))


def is_made(job: Job) -> bool:
    """Whether the frame of a job is there."""
    return job.status == "done" and bool(job.outputs) and job.outputs[0].is_file()


def keyframes(service: Service, batch: str, chosen: Sequence[str], values: Values) -> list[View]:
    """The form's keyframes and the chosen frames of a storyboard, in the order of time.

    Raises ValueError where none of them can be used.
    """
    made = [job for job in jobs_of(service, batch) if job.id in chosen and is_made(job)]
    if not made:
        raise ValueError("choose frames of the storyboard that are there")
    uploads = service.folders.uploads
    new = [
        {"image": copy_once(job.outputs[0], uploads).name, "second": float(job.label[:-2]), "strength": 1}
        for job in made
    ]
    kept = list(values["frames"] or [])
    return sorted([*kept, *new], key=lambda row: row["second"] if isinstance(row["second"], int | float) else 0)
