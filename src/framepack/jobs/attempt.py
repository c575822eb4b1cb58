"""One worker's attempt at one job: follows its stream, keeps the queue and the listeners informed, passes wishes on.

Decides nothing about workers; `pool` does.
"""

import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from framepack.jobs.claims import Claims, LostClaim
from framepack.jobs.feed import Feed, News
from framepack.jobs.job import Job, Progress, Wish
from framepack.jobs.stream import AsyncStream, Command, Ended
from framepack.jobs.worker import Worker
from framepack.spec.events import Cancelled, Event, Finished, Notice, SectionDone, StepDone
from framepack.spec.events_json import strip_png

LISTEN = 0.25
"""Seconds between looks at the worker while it is silent."""
REPORT = 1.0
"""Seconds between reports to the queue."""
NOTICES = 20
"""Sentences that are kept of a job; a new one takes the place of the oldest."""
SECTIONS = 100
"""Sections whose seconds are kept: progress goes to every listener, and long videos have thousands."""
COMMANDS: dict[Wish, Command] = {"cancel": Command.CANCEL, "stop": Command.STOP, "pause": Command.PAUSE}


class Tracks(Protocol):
    """Estimates how far a job is from its events."""

    stage: str
    section: int
    sections: int
    step: int
    steps: int

    def see(self, event: Event) -> None:
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
    """A claimed job on its way. `job` is its state with the newest progress, `preview` the last step's picture."""

    def __init__(self, job: Job, worker: Worker, tracker: Tracks, claims: Claims, feed: Feed) -> None:
        self.job = replace(job, progress=replace(job.progress, stage=tracker.stage, step=0, seconds_left=None))
        self.began = False
        """Whether the worker has said anything about this job yet."""
        self.preview: bytes | None = None
        """The expected window of the last step: one PNG with its frames below each other."""
        self.preview_frames = 0
        self.trouble = ""
        """What a person should hear of the worker's silence, empty while it gives signs of life."""
        self._worker, self._tracker, self._claims, self._feed = worker, tracker, claims, feed

    @property
    def progress(self) -> Progress:
        """The newest, with the time that has passed since the last event."""
        return self._progress(self.job.progress)

    def follow(self, stream: AsyncStream) -> Ended:
        """Until the stream ends, or the job is no longer ours."""
        looked = reported = -REPORT
        try:
            while True:
                item = stream.get(LISTEN)
                if isinstance(item, Ended):
                    return item
                if item is not None:
                    self._see(item)
                now = time.monotonic()
                if isinstance(item, SectionDone) or now - reported >= REPORT:
                    reported = now
                    self._report()
                if now - looked >= LISTEN:
                    looked = now
                    self._look_after_worker()
                    self._pass_on_wish(stream)
        except LostClaim as lost:
            return Ended(how="lost", message=str(lost))

    def _look_after_worker(self) -> None:
        self._worker.alive()
        before, self.trouble = self.trouble, self._worker.trouble
        if bool(self.trouble) != bool(before):
            self.job = replace(self.job, progress=self.progress)
            self._feed.publish(News(job=self.job))

    def _see(self, event: Event) -> None:
        self._tracker.see(event)
        self.began = True
        progress, outputs = self.job.progress, self.job.outputs
        if isinstance(event, StepDone) and event.preview is not None:
            self.preview, self.preview_frames = strip_png(event.preview), event.preview.shape[0]
        if isinstance(event, Notice) and event.message not in progress.notices:
            progress = replace(progress, notices=(*progress.notices, event.message)[-NOTICES:])
        if isinstance(event, SectionDone):
            spent = (event.seconds,) if event.seconds else ()  # nothing where an earlier attempt made it
            latest = (*progress.section_seconds, *spent)[-SECTIONS:]
            progress = replace(progress, frames=event.frames, section_seconds=latest)
        if isinstance(event, SectionDone | Finished | Cancelled) and event.file:
            outputs = (event.file,)
        self.job = replace(self.job, progress=self._progress(progress), outputs=outputs)
        self._feed.publish(News(job=self.job, event=event))

    def _progress(self, before: Progress) -> Progress:
        now = self._tracker
        section = now.section if now.sections else before.section
        return replace(
            before,
            stage=self.trouble or now.stage,
            section=section,
            reached=max(before.reached, section),
            sections=now.sections or before.sections,
            step=now.step,
            steps=now.steps or before.steps,
            fraction=now.fraction if now.sections else before.fraction,
            seconds_left=now.seconds_left,
            memory=self._worker.line.memory,
        )

    def _report(self) -> None:
        with suppress(sqlite3.OperationalError):
            self._claims.beat(self.job.id, self.job.claim or "", self.job.progress, self.job.outputs)

    def _pass_on_wish(self, stream: AsyncStream) -> None:
        with suppress(sqlite3.OperationalError):
            wish = self._claims.wish(self.job.id, self.job.claim or "")
            self.job = replace(self.job, wish=wish)
            if wish is None:
                stream.take_back()
            else:
                stream.send(COMMANDS[wish])
