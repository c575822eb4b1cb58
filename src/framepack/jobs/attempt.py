"""One worker's attempt at one job: reads its stream, updates the queue and the listeners, forwards control requests.

Decides nothing about workers; `pool` does.
"""

import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from framepack.jobs.claims import Claims, LostClaim
from framepack.jobs.feed import Feed, JobUpdate
from framepack.jobs.job import ControlRequest, Job, Progress
from framepack.jobs.stream import AsyncStream, Command, Ended
from framepack.jobs.worker import Worker
from framepack.spec.events import Cancelled, Event, Finished, Notice, SectionDone, StepDone
from framepack.spec.events_json import strip_png

CHECK_INTERVAL = 0.25
"""Seconds between checks of the worker and of the job's control request."""
HEARTBEAT_INTERVAL = 1.0
"""Seconds between heartbeats to the queue."""
MAX_NOTICES = 20
"""Notices of a job; a new one takes the place of the oldest."""
MAX_SECTION_SECONDS = 100
"""Sections whose seconds are kept: progress goes to every listener, and long videos have thousands."""
COMMANDS: dict[ControlRequest, Command] = {"cancel": Command.CANCEL, "stop": Command.STOP, "pause": Command.PAUSE}


class ProgressTracker(Protocol):
    """Estimates a job's progress from its events."""

    stage: str
    section: int
    sections: int
    step: int
    steps: int

    def update(self, event: Event) -> None:
        """Take one event into account."""
        ...

    @property
    def fraction(self) -> float:
        """0..1 over the whole job."""
        ...

    @property
    def seconds_left(self) -> float | None:
        """None while unknown."""
        ...


class Attempt:
    """A claimed job while it runs. `job` is its state with the newest progress."""

    def __init__(self, job: Job, worker: Worker, tracker: ProgressTracker, claims: Claims, feed: Feed) -> None:
        self.job = replace(job, progress=replace(job.progress, stage=tracker.stage, step=0, seconds_left=None))
        self.started = False
        """Whether the worker has sent any event of this job yet."""
        self.preview: bytes | None = None
        """The last step's preview of its window: one PNG with the frames below each other."""
        self.preview_frames = 0
        self.warning = ""
        """The worker's warning about missing heartbeats, empty while they arrive."""
        self._worker, self._tracker, self._claims, self._feed = worker, tracker, claims, feed

    @property
    def progress(self) -> Progress:
        """The newest, with the time that has passed since the last event."""
        return self._progress(self.job.progress)

    def follow(self, stream: AsyncStream) -> Ended:
        """Until the stream ends, or the claim is lost."""
        checked = reported = -HEARTBEAT_INTERVAL
        try:
            while True:
                item = stream.get(CHECK_INTERVAL)
                if isinstance(item, Ended):
                    return item
                if item is not None:
                    self._handle_event(item)
                now = time.monotonic()
                if isinstance(item, SectionDone) or now - reported >= HEARTBEAT_INTERVAL:
                    reported = now
                    self._send_heartbeat()
                if now - checked >= CHECK_INTERVAL:
                    checked = now
                    self._check_worker()
                    self._forward_control_request(stream)
        except LostClaim as lost:
            return Ended(how="lost", message=str(lost))

    def _check_worker(self) -> None:
        self._worker.alive()
        before, self.warning = self.warning, self._worker.warning
        if bool(self.warning) != bool(before):
            self.job = replace(self.job, progress=self.progress)
            self._feed.publish(JobUpdate(job=self.job))

    def _handle_event(self, event: Event) -> None:
        self._tracker.update(event)
        self.started = True
        progress, outputs = self.job.progress, self.job.outputs
        if isinstance(event, StepDone) and event.preview is not None:
            self.preview, self.preview_frames = strip_png(event.preview), event.preview.shape[0]
        if isinstance(event, Notice) and event.message not in progress.notices:
            progress = replace(progress, notices=(*progress.notices, event.message)[-MAX_NOTICES:])
        if isinstance(event, SectionDone):
            seconds = (event.seconds,) if event.seconds else ()  # none where an earlier attempt made it
            latest = (*progress.section_seconds, *seconds)[-MAX_SECTION_SECONDS:]
            first = event.look if event.section == 0 else progress.first_look
            progress = replace(progress, frames=event.frames, section_seconds=latest, look=event.look, first_look=first)
        if isinstance(event, Finished):
            progress = replace(progress, frames=event.frames)
        if isinstance(event, SectionDone | Finished | Cancelled) and event.file:
            outputs = (event.file,)
        self.job = replace(self.job, progress=self._progress(progress), outputs=outputs)
        self._feed.publish(JobUpdate(job=self.job, event=event))

    def _progress(self, before: Progress) -> Progress:
        now = self._tracker
        section = now.section if now.sections else before.section
        return replace(
            before,
            stage=self.warning or now.stage,
            section=section,
            reached=max(before.reached, section),
            sections=now.sections or before.sections,
            step=now.step,
            steps=now.steps or before.steps,
            fraction=now.fraction if now.sections else before.fraction,
            seconds_left=now.seconds_left,
            memory=self._worker.channel.memory,
        )

    def _send_heartbeat(self) -> None:
        with suppress(sqlite3.OperationalError):
            self._claims.heartbeat(self.job.id, self.job.claim or "", self.job.progress, self.job.outputs)

    def _forward_control_request(self, stream: AsyncStream) -> None:
        with suppress(sqlite3.OperationalError):
            request = self._claims.control_request(self.job.id, self.job.claim or "")
            self.job = replace(self.job, control_request=request)
            if request is None:
                stream.clear_command()
            else:
                stream.send(COMMANDS[request])
