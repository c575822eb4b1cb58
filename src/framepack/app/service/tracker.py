"""Turns events into where a job stands: fraction done and time left. Pure; the terminal and the page both show it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import fmean, median

from framepack.app.service.shares import decoded_latents, finishing_seconds
from framepack.spec.events import Event, Finished, Planned, SectionDone, StageStarted, StepDone
from framepack.spec.plan import cuts
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

RECENT = 5
"""How many of the latest sections the speed is measured on."""
GUESSED_TAIL, GUESSED_TAIL_BUNDLED = 0.33, 1.3
"""Steps' worth of decoding and encoding a latent, until a section was timed; a small model's steps are short."""


@dataclass
class Tracker:
    """Feed it each event of one job in order.

    A section costs its steps and a tail (decoding, encoding), which goes with the latents that have to be decoded. Both
    are timed; after one section both are known. A step counts with its section's mean, as a cache lets some of them be
    skipped. Between events the time that passes is counted too, up to what the work under way is thought to take.
    """

    request: GenerationRequest
    clock: Callable[[], float] = time.monotonic
    stage: str = "starting"
    section: int = 0
    """Sections done."""
    sections: int = 0
    step: int = 0
    """Steps done in the section that is being made."""
    steps: int = 0
    finished: bool = False
    _best: float = 0.0
    _durations: list[float] = field(default_factory=list)
    """Of the steps of the section being made."""
    _paces: list[float] = field(default_factory=list)
    _tails: list[float] = field(default_factory=list)
    """Seconds a latent, of each section's tail."""
    _last: float | None = None
    _under_way: bool = False
    """Whether the work that the next event ends has begun, at `_since`."""
    _since: float = 0.0

    def __post_init__(self) -> None:
        sections = cuts(self.request)  # no plan: that of a long video takes seconds, and workers make it
        self._latents = decoded_latents(sections, self.request.geometry.tiles)
        self._latents_before = [0, *accumulate(self._latents)]
        self._finish = finishing_seconds(self.request, sections)

    def update(self, event: Event) -> None:
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
        elif isinstance(event, Planned):
            self._finish += sum(stage.seconds or 0.0 for stage in event.stages if stage.part == "upscale")
        elif isinstance(event, Finished):
            self.finished, self.stage = True, "done"
        if not isinstance(event, StageStarted) or event.stage in ("section", "finish"):
            self._since = now
            self._under_way = not isinstance(event, SectionDone)

    @property
    def pace(self) -> float | None:
        """Seconds a step; the job's first one warms up and is dropped when there are others."""
        return median(self._paces[-RECENT:]) if self._paces else mean_of(self._durations)

    @property
    def seconds_left(self) -> float | None:
        """Estimate, None until a step was timed."""
        if self.pace is None or self.finished:
            return None
        return max(self._whole() - self._done(), 0.0)

    @property
    def fraction(self) -> float:
        """Share of the work done, 0..1, each part weighed by its time; never falls, 1 only when finished."""
        if self.finished:
            return 1.0
        if self.pace is not None:
            self._best = max(self._best, min(self._done() / self._whole(), 0.999))
        return self._best

    def _section_timed(self, section: int, tail: float) -> None:
        pace = mean_of(self._durations) if not self._paces else fmean(self._durations)
        if pace is not None:
            self._paces.append(pace)
        self._durations = []
        self._tails.append(tail / self._latents_of(section))

    def _whole(self) -> float:
        return self._cost(self.sections, 0) + self._finish

    def _done(self) -> float:
        """Seconds' worth of work behind us, with what is under way as far as it must have come."""
        spent = min(self.clock() - self._since, self._next()) if self._under_way else 0.0
        return self._cost(self.section, self.step) + spent

    def _next(self) -> float:
        """Seconds that the work under way takes: a step, a tail, or the file at the end."""
        if self.section >= self.sections:
            return self._finish
        if self.step < self.steps:
            return self.pace or 0.0
        return self._tail() * self._latents_of(self.section)

    def _cost(self, sections: int, steps: int) -> float:
        """Seconds that so many sections, and steps of the next one, take."""
        latents = self._latents_before[min(sections, len(self._latents))]
        return (self.pace or 0.0) * (sections * self.steps + steps) + self._tail() * latents

    def _tail(self) -> float:
        """Seconds a latent."""
        if self._tails:
            return median(self._tails[-RECENT:])
        bundled = VARIANTS[self.request.model].bundled
        return (GUESSED_TAIL_BUNDLED if bundled else GUESSED_TAIL) * (self.pace or 0.0)

    def _latents_of(self, section: int) -> int:
        return self._latents[min(section, len(self._latents) - 1)]


def mean_of(durations: Sequence[float]) -> float | None:
    """Of all but the first, which warms up, where there are others."""
    timed = durations[1:] or durations
    return fmean(timed) if timed else None
