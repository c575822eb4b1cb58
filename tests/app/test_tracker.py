"""Progress and time left, with a clock of our own."""

from pathlib import Path

import pytest

from framepack.app.tracker import Tracker
from framepack.spec.events import Finished, SectionDone, StageStarted, StepDone


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run_section(tracker: Tracker, clock: Clock, section: int, sections: int, steps: int, pace: float, tail: float):
    tracker.see(StageStarted(stage="section", message="sampling", section=section))
    for step in range(steps):
        clock.now += pace
        tracker.see(StepDone(section=section, sections=sections, step=step, steps=steps))
    clock.now += tail
    tracker.see(SectionDone(section=section, sections=sections, frames=33, seconds=0, file=Path("a.mp4")))


def test_time_left_is_right_after_the_first_section_which_is_decoded_alone():
    clock = Clock()
    tracker = Tracker(clock=clock)
    run_section(tracker, clock, 0, 5, 10, pace=2.0, tail=8.0)
    assert tracker.seconds_left == pytest.approx(4 * (10 * 2.0 + 10.0))
    assert tracker.fraction == pytest.approx(28 / (28 + 4 * 30))
    run_section(tracker, clock, 1, 5, 10, pace=2.0, tail=11.0)
    assert tracker.seconds_left == pytest.approx(3 * (10 * 2.0 + 11.0))


def test_a_job_that_goes_on_later_has_timed_a_whole_tail():
    clock = Clock()
    tracker = Tracker(clock=clock)
    run_section(tracker, clock, 2, 5, 10, pace=2.0, tail=14.0)
    assert tracker.seconds_left == pytest.approx(2 * (10 * 2.0 + 14.0))


def test_steps_that_a_cache_skips_count_with_their_share():
    clock = Clock()
    tracker = Tracker(clock=clock)
    for section in range(2):
        tracker.see(StageStarted(stage="section", message="sampling", section=section))
        for step in range(10):
            clock.now += 0.1 if step % 3 else 2.0
            tracker.see(StepDone(section=section, sections=4, step=step, steps=10))
        clock.now += 6.0 if section else 4.8
        tracker.see(SectionDone(section=section, sections=4, frames=33, seconds=0, file=None))
    truth = 2 * (4 * 2.0 + 6 * 0.1 + 6.0)
    assert tracker.seconds_left == pytest.approx(truth, rel=0.1)


def test_a_slow_first_step_does_not_spoil_the_estimate():
    clock = Clock()
    tracker = Tracker(clock=clock)
    tracker.see(StageStarted(stage="section", message="sampling", section=0))
    for step, seconds in enumerate([60.0, 1.0, 1.0]):
        clock.now += seconds
        tracker.see(StepDone(section=0, sections=1, step=step, steps=10))
    assert tracker.pace == 1.0


def test_progress_never_falls_and_is_whole_only_when_finished():
    clock = Clock()
    tracker = Tracker(clock=clock)
    seen = [tracker.fraction]
    for section in range(3):
        run_section(tracker, clock, section, 3, 4, pace=1.0, tail=3.0)
        seen.append(tracker.fraction)
    assert seen == sorted(seen)
    assert seen[-1] < 1
    tracker.see(Finished(file=Path("a.mp4"), frames=109, seconds=1.0))
    assert tracker.fraction == 1
    assert tracker.seconds_left is None


def test_nothing_is_claimed_before_anything_was_timed():
    tracker = Tracker()
    assert tracker.seconds_left is None
    assert tracker.fraction == 0
