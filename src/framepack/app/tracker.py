"""Turns events into where a job stands: fraction done and time left. Pure; the terminal and the page both show it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from framepack.spec.events import Event, Finished, SectionDone, StageStarted, StepDone

RECENT = 50
"""How many of the latest steps tell the pace."""
GUESSED_TAIL = 3.0
"""Steps' worth of decoding and encoding a section, until one was timed."""


@dataclass
class Tracker:
    """Feed it each event of one job in order.

    A section costs its steps and a tail (decoding, encoding). Both are timed; after one section both are known.
    """

    clock: Callable[[], float] = time.monotonic
    stage: str = "starting"
    section: int = 0
    """Sections done."""
    sections: int = 0
    step: int = 0
    """Steps done in the section that is being made."""
    steps: int = 0
    finished: bool = False
    _durations: list[float] = field(default_factory=list)
    _tail: float | None = None
    _last: float | None = None

    def see(self, event: Event) -> None:
        """Take one event into account."""
        now = self.clock()
        if isinstance(event, StageStarted):
            self.stage = event.message
            if event.stage == "section":
                self._last = now
        elif isinstance(event, StepDone):
            if self._last is not None:
                self._durations.append(now - self._last)
            self._last = now
            self.section, self.sections = event.section, event.sections
            self.step, self.steps = event.step + 1, event.steps
        elif isinstance(event, SectionDone):
            if self._last is not None:
                self._tail = now - self._last
            self._last = None
            self.section, self.sections, self.step = event.section + 1, event.sections, 0
        elif isinstance(event, Finished):
            self.finished, self.stage = True, "done"

    @property
    def pace(self) -> float | None:
        """Seconds a step; the job's first one warms up and is dropped when there are others."""
        timed = self._durations[1:] or self._durations
        return median(timed[-RECENT:]) if timed else None

    @property
    def seconds_left(self) -> float | None:
        """Estimate, None until a step was timed."""
        if self.pace is None or self.finished:
            return None
        steps = self.sections * self.steps - self.section * self.steps - self.step
        return self.pace * steps + self._tail_seconds(self.pace) * (self.sections - self.section)

    @property
    def fraction(self) -> float:
        """Share of the work done, 0..1, steps and tails weighed by their time; 1 only when finished."""
        if self.finished:
            return 1.0
        if self.pace is None:
            return 0.0
        tail = self._tail_seconds(self.pace)
        done = self.pace * (self.section * self.steps + self.step) + tail * self.section
        return min(done / (self.sections * (self.pace * self.steps + tail)), 0.999)

    def _tail_seconds(self, pace: float) -> float:
        return GUESSED_TAIL * pace if self._tail is None else self._tail
