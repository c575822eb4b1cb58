"""Progress and time left, with a clock of our own."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from framepack.app.service.shares import decoded_latents, finishing_seconds
from framepack.app.service.tracker import Tracker
from framepack.spec.events import Finished, SectionDone, StageStarted, StepDone
from framepack.spec.geometry import HUNYUAN
from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest

LATENTS = [13, 15, 18, 18, 29]
"""Decoded in each of five sections in inverted order."""


def request(sections: int = 5, **more) -> GenerationRequest:
    return GenerationRequest.model_validate({"image": "x.png", "model": "mini", "seconds": 1.2 * sections, **more})


@dataclass
class Job:
    """Sections on a clock that only we move."""

    request: GenerationRequest
    now: float = 0.0
    tracker: Tracker = field(init=False)

    def __post_init__(self) -> None:
        self.tracker = Tracker(self.request, clock=lambda: self.now)
        self.sections = len(plan(self.request))

    def steps(self, section: int, *durations: float) -> None:
        self.tracker.update(StageStarted(stage="section", message="sampling", section=section))
        for step, seconds in enumerate(durations):
            self.now += seconds
            self.tracker.update(StepDone(section=section, sections=self.sections, step=step, steps=len(durations)))

    def tail(self, section: int, seconds: float) -> None:
        self.now += seconds
        file = Path("a.mp4")
        self.tracker.update(SectionDone(section=section, sections=self.sections, frames=33, seconds=0, file=file))

    def section(self, section: int, steps: int, pace: float, latent: float) -> None:
        self.steps(section, *[pace] * steps)
        self.tail(section, latent * decoded_latents(plan(self.request), HUNYUAN.tiles)[section])


def test_time_left_is_right_after_the_first_section_though_each_decodes_another_number_of_latents():
    job = Job(request())
    job.section(0, steps=10, pace=2.0, latent=0.5)
    assert job.tracker.seconds_left == pytest.approx(4 * 20.0 + 0.5 * sum(LATENTS[1:]))
    assert job.tracker.fraction == pytest.approx((20 + 0.5 * 13) / (5 * 20 + 0.5 * sum(LATENTS)))
    for section in (1, 2, 3):
        job.section(section, steps=10, pace=2.0, latent=0.5)
    assert job.tracker.seconds_left == pytest.approx(20.0 + 0.5 * 29)


def test_a_job_that_goes_on_later_is_timed_from_there():
    job = Job(request())
    job.section(2, steps=10, pace=2.0, latent=0.7)
    assert job.tracker.seconds_left == pytest.approx(2 * 20.0 + 0.7 * (18 + 29))


@pytest.mark.parametrize(("form", "extra"), [("gif", True), ("webp", True), ("png", True), ("mp4", False)])
def test_what_is_encoded_at_the_end_counts_until_it_is_done(form, extra):
    plain, job = Job(request(width=512, height=512)), Job(request(width=512, height=512, output={"format": form}))
    for one in (plain, job):
        for section in range(5):
            one.section(section, steps=4, pace=1.0, latent=0.1)
    finish = finishing_seconds(job.request, plan(job.request))
    assert (finish > 5) is extra
    assert plain.tracker.seconds_left == 0
    assert job.tracker.seconds_left == pytest.approx(finish)
    assert job.tracker.fraction < (0.95 if extra else 1)
    job.tracker.update(StageStarted(stage="finish", message="finishing the file"))
    job.now += finish / 2
    assert job.tracker.seconds_left == pytest.approx(finish / 2)


def test_finishing_takes_longer_the_more_frames_and_pixels_there_are():
    small, long, large = (
        finishing_seconds(asked, plan(asked))
        for asked in (
            request(5, output={"format": "gif"}),
            request(50, output={"format": "gif"}),
            request(5, resolution=640, output={"format": "gif"}),
        )
    )
    assert long == pytest.approx(10 * small, rel=0.05)
    assert large > 10 * small
    half = request(5, output={"format": "gif", "fps": 15})
    assert finishing_seconds(half, plan(half)) == pytest.approx(small / 2)


def test_time_goes_on_during_a_step_or_a_tail_but_not_beyond_what_it_is_thought_to_take():
    job = Job(request())
    job.section(0, steps=4, pace=2.0, latent=0.5)
    at_rest = job.tracker.seconds_left
    job.now += 100
    assert job.tracker.seconds_left == at_rest, "nothing is under way"
    job.steps(1, 2.0, 2.0, 2.0, 2.0)
    before, share = job.tracker.seconds_left, job.tracker.fraction
    job.now += 3
    assert job.tracker.seconds_left == pytest.approx(before - 3)
    assert job.tracker.fraction > share
    job.now += 1000
    assert job.tracker.seconds_left == pytest.approx(before - 0.5 * 15)
    job.tail(1, 0)
    job.tracker.update(StageStarted(stage="section", message="sampling", section=2))
    job.now += 1000
    whole = job.tracker.seconds_left
    job.now += 1000
    assert job.tracker.seconds_left == whole


def test_steps_that_a_cache_skips_count_with_their_share():
    job = Job(request(4))
    latents = decoded_latents(plan(job.request), HUNYUAN.tiles)
    for section in range(2):
        job.steps(section, *(0.1 if step % 3 else 2.0 for step in range(10)))
        job.tail(section, 0.3 * latents[section])
    truth = 2 * (4 * 2.0 + 6 * 0.1) + 0.3 * sum(latents[2:])
    assert job.tracker.seconds_left == pytest.approx(truth, rel=0.1)


def test_a_slow_first_step_does_not_spoil_the_estimate():
    job = Job(request(1))
    job.steps(0, 60.0, 1.0, 1.0)
    assert job.tracker.pace == 1.0


def test_progress_never_falls_and_is_whole_only_when_finished():
    job = Job(request(3))
    seen = [job.tracker.fraction]
    for section in range(3):
        job.section(section, steps=4, pace=1.0, latent=0.2)
        seen.append(job.tracker.fraction)
    assert seen == sorted(seen)
    assert seen[-1] < 1
    job.tracker.update(Finished(file=Path("a.mp4"), frames=109, seconds=1.0))
    assert job.tracker.fraction == 1
    assert job.tracker.seconds_left is None


def test_nothing_is_claimed_before_anything_was_timed():
    tracker = Tracker(request())
    assert tracker.seconds_left is None
    assert tracker.fraction == 0


def test_a_video_of_ten_hours_is_tracked_without_a_plan_and_looked_at_in_no_time():
    short = request(50)
    assert Tracker(short)._latents == decoded_latents(plan(short), HUNYUAN.tiles)
    tracker = Tracker(GenerationRequest(image="a.png", seconds=36000), clock=iter(range(10**6)).__next__)
    tracker.update(StageStarted(stage="section", message="", section=0))
    for step in range(3):
        tracker.update(StepDone(section=20_000, sections=30_000, step=step, steps=25))
    began = time.process_time()
    for _ in range(1000):
        assert 0 < tracker.fraction < 1
        assert tracker.seconds_left
    assert time.process_time() - began < 2, "a walk along all sections takes ten times as long"
