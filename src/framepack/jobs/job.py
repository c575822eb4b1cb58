"""A job as data: one request's place in the queue, its progress and its result. Pure; `store` saves it."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from framepack.spec.events import Look
from framepack.spec.request import GenerationRequest

Status = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
ControlRequest = Literal["cancel", "stop", "pause"]
"""What a user requests of a running job: end now, end after this section, pause after this section."""

UNFINISHED: tuple[Status, ...] = ("queued", "running", "paused")
ENDED: tuple[Status, ...] = ("done", "failed", "cancelled")
MAX_CRASHES = 3
"""Workers that may crash on a job, without a finished section in between, before it fails."""


class UnknownJob(ValueError):  # noqa: N818 - reads as the sentence it is
    """There is no such job."""


class NoVideo(ValueError):  # noqa: N818 - reads as the sentence it is
    """The job has no video, or none that may be had here."""


class WrongState(ValueError):  # noqa: N818 - reads as the sentence it is
    """The job is in a state in which this cannot be done."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a job stands. `fraction` is 0..1 over the whole job, seconds are estimates or None while unknown."""

    stage: str = ""
    section: int = 0
    sections: int = 0
    reached: int = 0
    """The most sections any attempt has finished: one that finds the work folder deleted starts with fewer."""
    step: int = 0
    steps: int = 0
    fraction: float = 0.0
    seconds_left: float | None = None
    frames: int = 0
    """Frames that can be played by now."""
    section_seconds: tuple[float, ...] = ()
    """Of the latest sections."""
    look: Look | None = None
    """What the latest section looks like, by which one sees a video drift."""
    first_look: Look | None = None
    """What the first one, in the order they are made, looks like."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes in use by the worker, by kind: `ram`, and `vram` where there is a GPU."""
    notices: tuple[str, ...] = ()
    """Sentences for the user: what was cut, left out or done with less."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the queue. Times are seconds since 1970; `request_json` is the whole request as it was given."""

    id: str
    status: Status
    position: int
    request_json: str
    created: float
    started: float | None = None
    finished: float | None = None
    ran: float = 0.0
    """Seconds workers spent on it, over all attempts."""
    attempts: int = 0
    crash_count: int = 0
    """Workers that crashed on it since its last finished section."""
    claim: str | None = None
    """Token of the one attempt that may report on this job."""
    heartbeat: float | None = None
    control_request: ControlRequest | None = None
    waits_for: Literal["space"] | None = None
    """Why a paused job will resume by itself."""
    reason: str = ""
    """One sentence: why it failed or was paused."""
    traceback: str = ""
    outputs: tuple[Path, ...] = ()
    """Files, the video to play first; of an unfinished job, what exists so far."""
    progress: Progress = Progress()
    batch: str | None = None
    label: str = ""
    """What distinguishes it from the others of its batch, such as `seed=3`."""
    tree: str | None = None
    """The job whose video this one is another take of; None for a video of its own."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the generate function besides the request: how to use the machine, not what to make."""
    revision: int = 0
    damaged: bool = False
    """Whether it is the placeholder of a row that cannot be read."""

    @classmethod
    def deleted(cls, job: str) -> "Job":
        """A placeholder for a deleted job, of which only the id is known."""
        return cls(id=job, status="cancelled", position=0, request_json="{}", created=0.0)

    @property
    def request(self) -> GenerationRequest:
        """The request, validated by the current rules."""
        return GenerationRequest.stored(json.loads(self.request_json))


def new_id() -> str:
    """An id that no job has."""
    return secrets.token_hex(6)


def resumed(job: Job) -> dict[str, Any]:
    """Fields of a job that waited for space; none of one that was changed meanwhile."""
    return {"status": "queued", "waits_for": None, "reason": ""} if job.waits_for == "space" else {}


def require_status(job: Job, allowed: tuple[Status, ...], participle: str) -> None:
    """WrongState unless the job has one of the statuses."""
    if job.status not in allowed:
        raise WrongState(f"only a {' or '.join(allowed)} job can be {participle}, {job.id} is {job.status}")
