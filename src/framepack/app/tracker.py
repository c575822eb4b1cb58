"""Turns events into where a job stands: fraction done and time left. Pure; the terminal and the page both show it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from framepack.spec.events import Event, Finished, SectionDone, StageStarted, StepDone

RECENT = 5
"""How many of the latest sections tell the pace."""
GUESSED_TAIL = 6.0
"""Steps' worth of decoding and encoding a section, until one was timed."""
FIRST_TAIL = 0.8
"""The first section's share of that: it is decoded alone, each later one together with its neighbour.

Half of the tiles of time, less those that come again, and some for the first call of everything; measured with
`benchmarks/time_left.py`.
"""


@dataclass
class Tracker:
    """Feed it each event of one job in order.

    A section costs its steps and a tail (decoding, encoding). Both are timed; after one section both are known. A step
    counts with its section's mean, as a cache lets some of them be skipped.
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
    fraction: float = 0.0
    """Share of the work done, 0..1, steps and tails weighed by their time; never falls, 1 only when finished."""
    _durations: list[float] = field(default_factory=list)
    """Of the steps of the section being made."""
    _paces: list[float] = field(default_factory=list)
    _tails: list[float] = field(default_factory=list)
    """Of sections but the first; where only that is known, what it lets expect of the others."""
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
                self._section_timed(event.section, now - self._last)
            self._last = None
            self.section, self.sections, self.step = event.section + 1, event.sections, 0
        elif isinstance(event, Finished):
            self.finished, self.stage = True, "done"
        self.fraction = max(self.fraction, self._share())

    @property
    def pace(self) -> float | None:
        """Seconds a step; the job's first one warms up and is dropped when there are others."""
        return median(self._paces[-RECENT:]) if self._paces else mean_of(self._durations)

    @property
    def seconds_left(self) -> float | None:
        """Estimate, None until a step was timed."""
        if self.pace is None or self.finished:
            return None
        return self._cost(self.sections, 0) - self._cost(self.section, self.step)

    def _section_timed(self, section: int, tail: float) -> None:
        pace = mean_of(self._durations) if not self._paces else fmean(self._durations)
        if pace is not None:
            self._paces.append(pace)
        self._durations = []
        if section == 0:
            self._tails = [tail / FIRST_TAIL]
        else:
            self._tails = [*(self._tails if section > 1 else []), tail]

    def _share(self) -> float:
        if self.finished:
            return 1.0
        if self.pace is None:
            return 0.0
        return min(self._cost(self.section, self.step) / self._cost(self.sections, 0), 0.999)

    def _cost(self, sections: int, steps: int) -> float:
        """Seconds that so many sections, and steps of the next one, take."""
        pace = self.pace or 0.0
        tail = median(self._tails[-RECENT:]) if self._tails else GUESSED_TAIL * pace
        tails = max(sections - 1, 0) + FIRST_TAIL * min(sections, 1)
        return pace * (sections * self.steps + steps) + tail * tails


def mean_of(durations: Sequence[float]) -> float | None:
    """Of all but the first, which warms up, where there are others."""
    timed = durations[1:] or durations
    return fmean(timed) if timed else None
