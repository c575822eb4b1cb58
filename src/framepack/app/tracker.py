"""Turns events into where a job stands: fraction done and time left. Pure; the terminal and the page both show it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from framepack.spec.events import Event, SectionDone, StageStarted, StepDone


@dataclass
class Tracker:
    """Feed it each event of one job in order.

    Time left is the median step times the steps to come, plus the last section's other work (decoding, encoding)
    times the sections to come: after one section both are known.
    """

    clock: Callable[[], float] = time.monotonic
    stage: str = "starting"
    section: int = 0
    sections: int = 0
    step: int = 0
    steps: int = 0
    _durations: list[float] = field(default_factory=list)
    _tail: float = 0.0
    _last_step: float | None = None

    def see(self, event: Event) -> None:
        """Take one event into account."""
        now = self.clock()
        if isinstance(event, StageStarted):
            self.stage = event.message
            if event.stage == "section":
                self._last_step = now
        elif isinstance(event, StepDone):
            if self._last_step is not None:
                self._durations.append(now - self._last_step)
            self._last_step = now
            self.section, self.sections = event.section, event.sections
            self.step, self.steps = event.step + 1, event.steps
        elif isinstance(event, SectionDone):
            if self._last_step is not None:
                self._tail = now - self._last_step
            self._last_step = None
            self.section, self.sections = event.section + 1, event.sections
            self.step = 0

    @property
    def fraction(self) -> float:
        """Share of all steps done, 0..1."""
        total = self.sections * self.steps
        return (self.section * self.steps + self.step) / total if total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate, None until a step was timed. The first step of a job warms up and is dropped when others exist."""
        timed = self._durations[1:] or self._durations
        if not timed or not self.sections:
            return None
        done = self.section * self.steps + self.step
        return median(timed[-50:]) * (self.sections * self.steps - done) + self._tail * (self.sections - self.section)
