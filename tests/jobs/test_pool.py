"""The pool with real worker processes that run the fake generator."""

import os
import random
import signal
import time

import pytest
from fake_generator import TARGET, ask, expected

from framepack.jobs import liveness
from framepack.jobs import pool as pool_module
from framepack.jobs.messages import Task
from framepack.jobs.worker import ProcessWorker
from framepack.spec.output import OutputSettings


def test_a_job_runs_to_its_end_and_its_unfinished_work_is_cleared(bench):
    pool = bench()
    request = ask(seed=4)
    (job,) = pool.ended(*pool.store.submit([request]))
    assert (job.status, job.attempts, job.crash_count) == ("done", 1, 0)
    assert job.outputs[0].read_bytes() == expected(request)
    assert job.outputs[0].parent == pool.folders.outputs
    pool.wait(lambda: not pool.folders.work(job.id).exists())
    assert (job.progress.sections, job.progress.frames, job.progress.fraction) == (3, 108, 1.0)
    assert len(job.progress.section_seconds) == 3
    assert job.ran > 0
    assert job.started <= job.finished


def test_jobs_run_in_order(bench):
    pool = bench()
    jobs = pool.store.submit([ask(seed=i, sections=1) for i in range(4)])
    pool.store.move(jobs[3].id, 1)
    times = [job.finished for job in pool.ended(*jobs)]
    assert sorted(times[:3]) == times[:3]
    assert times[3] < times[2]


@pytest.mark.parametrize(
    ("fail", "says"),
    [
        ("kill", "killed"),
        ("exit", "exited with code 7"),
        ("segfault", "SIGSEGV"),
        ("freeze", "no heartbeat"),
        ("deadlock", "no heartbeat"),
        ("garbage", "sent a message that cannot be read"),
        ("orphan", "killed"),
    ],
)
def test_a_worker_that_dies_is_replaced_and_the_job_ends_as_if_nothing_had_happened(bench, monkeypatch, fail, says):
    monkeypatch.setattr(liveness, "HUNG_AFTER", 3.0)
    pool = bench()
    request = ask(seed=7, fail=fail, section=1, step=2)
    (job,) = pool.store.submit([request])
    listener = pool.feed.listen(job.id)
    pool.wait(lambda: "worker" in pool.store.get(job.id).reason or pool.store.get(job.id).status == "done")
    assert says in pool.store.get(job.id).reason
    (job,) = pool.ended(job)
    assert (job.status, job.attempts) == ("done", 2)
    assert job.outputs[0].read_bytes() == expected(request)
    sections = []
    while (update := listener.get(0)) is not None:
        if type(update.event).__name__ == "SectionDone":
            sections.append(update.event.section)
    assert sections == [0, 1, 2], "the finished section was not made again"


def test_a_job_that_kills_three_workers_fails_and_the_next_one_runs(bench):
    pool = bench()
    bad, good = pool.store.submit([ask(fail="segfault", section=1, step=1, times=99), ask(seed=3)])
    bad, good = pool.ended(bad, good)
    assert (bad.status, bad.attempts, bad.crash_count) == ("failed", 3, 3)
    assert "3 workers crashed on this job" in bad.reason
    assert "SIGSEGV" in bad.reason
    assert "Segmentation fault" in bad.traceback
    assert "fake_generator.py" in bad.traceback
    assert good.status == "done"


def test_crashes_before_the_first_event_count_too_and_the_next_job_runs(bench):
    pool = bench()
    bad, good = pool.store.submit([ask(fail="kill", section=-1, times=99), ask(seed=3)])
    bad, good = pool.ended(bad, good)
    assert (bad.status, bad.attempts, bad.crash_count) == ("failed", 3, 3)
    assert "3 workers crashed on this job" in bad.reason
    assert (good.status, good.crash_count) == ("done", 0)


def test_kills_while_the_worker_starts_count_too_and_the_next_job_runs(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "BACKOFF", (0.0,))
    flag = tmp_path / "flag"
    flag.touch()
    pool = bench(settings={"crash_while_there": str(flag)})
    bad, good = pool.store.submit([ask(), ask(seed=3)])
    (bad,) = pool.ended(bad)
    assert (bad.status, bad.crash_count) == ("failed", 3)
    assert "exited with code 7 while it started" in bad.reason
    flag.unlink()
    assert pool.ended(good)[0].status == "done"
    pool.store.retry(bad.id)
    assert pool.ended(bad)[0].status == "done"


def test_a_worker_that_crashes_whenever_it_starts_costs_one_job_and_not_the_queue(bench, monkeypatch):
    monkeypatch.setattr(pool_module, "BACKOFF", (0.0,))
    pool = bench(settings={"crash": True})
    first, *others = pool.store.submit([ask(), ask(), ask()])
    pool.ended(first)
    pool.wait(lambda: "cannot start" in pool.pool.slots[0].error and "SIGSEGV" in pool.pool.slots[0].error)
    pool.wait(lambda: pool.store.get(others[0].id).attempts > 4)
    assert pool.pool.slots[0].state == "in trouble"
    for job in others:
        assert pool.store.get(job.id).status in ("queued", "running")
        assert pool.store.get(job.id).crash_count == 0


def test_a_system_that_gives_no_process_costs_no_job(bench, monkeypatch):
    monkeypatch.setattr(pool_module, "BACKOFF", (0.0,))
    refused = []

    def refuse(*arguments, **rest):
        refused.append(1)
        raise OSError(14, "Bad address")

    with monkeypatch.context() as patched:
        patched.setattr(pool_module, "ProcessWorker", refuse)
        pool = bench()
        (job,) = pool.store.submit([ask()])
        pool.wait(lambda: len(refused) > 4 and pool.pool.slots[0].error)
        assert "the worker cannot start: [Errno 14] Bad address" in pool.pool.slots[0].error
    (job,) = pool.ended(job)
    assert (job.status, job.crash_count) == ("done", 0)


def test_a_worker_without_heartbeats_is_shown_before_it_is_killed_and_listeners_get_an_update(bench, monkeypatch):
    monkeypatch.setattr(liveness, "WARN_AFTER", 1.5)
    monkeypatch.setattr(liveness, "HUNG_AFTER", 6.0)
    pool = bench()
    (job,) = pool.store.submit([ask(fail="freeze", section=1)])
    listener = pool.feed.listen(job.id)
    pool.wait(lambda: pool.pool.slots[0].state == "in trouble")
    silent = pool.attempt()
    assert "the worker has sent no heartbeat for" in silent.progress.stage
    pool.wait(lambda: "no heartbeat" in pool.store.get(job.id).progress.stage)
    pool.wait(lambda: pool.store.get(job.id).attempts == 2)
    assert "no heartbeat" in pool.pool.slots[0].last_crash
    assert pool.ended(job)[0].status == "done"
    stages = []
    while (update := listener.get(0)) is not None:
        stages.append(update.job.progress.stage)
    assert any("no heartbeat" in stage for stage in stages)


def test_a_worker_that_is_only_stopped_for_a_while_goes_on(bench, monkeypatch):
    monkeypatch.setattr(liveness, "WARN_AFTER", 1.5)
    pool = bench()
    (job,) = pool.store.submit([ask(pause=0.02, sections=2)])
    pool.wait(lambda: bool(pool.busy_pids()))
    (pid,) = pool.busy_pids()
    os.kill(pid, signal.SIGSTOP)
    pool.wait(lambda: pool.pool.slots[0].state == "in trouble")
    os.kill(pid, signal.SIGCONT)
    pool.wait(lambda: pool.pool.slots[0].state != "in trouble")
    (job,) = pool.ended(job)
    assert (job.status, job.attempts) == ("done", 1)


def test_a_worker_that_does_not_listen_holds_up_nobody(tmp_path, bench):
    worker = ProcessWorker(TARGET, {}, log=tmp_path / "log")
    os.kill(worker.pid, signal.SIGSTOP)
    task = Task(job="a", request=ask(), outputs=tmp_path, work=tmp_path, machine={"x": "y" * 10**6})
    began = time.monotonic()
    stream = worker.submit(task)
    assert worker.alive()
    worker.close(0.0)
    assert time.monotonic() - began < 10
    assert stream.get(0).how == "crashed"


def test_a_thread_that_leaves_ends_its_job(bench):
    pool = bench(in_process=True)
    bad, good = pool.ended(*pool.store.submit([ask(fail="leave", times=99), ask(seed=3)]))
    assert (bad.status, bad.crash_count, good.status) == ("failed", 3, "done")


def test_a_worker_whose_gpu_context_is_lost_fails_its_job_and_does_no_other(bench):
    pool = bench()
    (first,) = pool.ended(*pool.store.submit([ask(seed=2, sections=1)]))
    (before,) = pool.pids()
    bad, good = pool.ended(*pool.store.submit([ask(fail="context"), ask(seed=3)]))
    assert (first.status, bad.status, good.status) == ("done", "failed", "done")
    assert "illegal memory access" in bad.reason
    assert bad.crash_count == 0
    assert pool.pids() != [before]


def test_an_error_fails_the_job_with_a_sentence_and_a_traceback_and_retry_goes_on(bench):
    pool = bench()
    request = ask(fail="error", section=2, step=0)
    (job,) = pool.ended(*pool.store.submit([request]))
    assert (job.status, job.reason) == ("failed", "the picture is too small; use a larger one")
    assert "misbehave" in job.traceback
    pool.store.retry(job.id)
    (job,) = pool.ended(job)
    assert (job.status, job.traceback, job.attempts) == ("done", "", 2)
    assert job.outputs[0].read_bytes() == expected(request)


def test_cancel_takes_effect_within_a_step_and_keeps_what_is_finished(bench):
    pool = bench()
    (job,) = pool.store.submit([ask(sections=50, pause=0.2)])
    pool.wait(lambda: pool.store.get(job.id).progress.section >= 2)
    began = pool.store.get(job.id).progress.section
    pool.store.cancel(job.id)
    (job,) = pool.ended(job)
    assert job.status == "cancelled"
    assert job.progress.section <= began + 2, "it went on for more than a section"
    assert len(job.outputs[0].read_bytes()) == job.progress.section * 800


def test_stop_finishes_the_section_and_pause_can_be_resumed_or_taken_back(bench):
    pool = bench()
    request = ask(sections=6, steps=20, pause=0.02)
    stopped, paused = pool.store.submit([request, request])
    pool.wait(lambda: pool.store.get(stopped.id).status == "running")
    pool.store.stop(stopped.id)
    (stopped,) = pool.ended(stopped)
    assert (stopped.status, stopped.reason) == ("cancelled", "stopped after section 1 of 6, on request")
    assert len(stopped.outputs[0].read_bytes()) == 800
    pool.wait(lambda: pool.step(paused) > 2)
    pool.store.pause(paused.id)
    pool.wait(lambda: pool.store.get(paused.id).status == "paused")
    assert pool.store.get(paused.id).reason == "paused after section 1 of 6, on request"
    pool.store.resume(paused.id)
    pool.wait(lambda: pool.store.get(paused.id).status == "running")
    pool.store.pause(paused.id)
    pool.store.resume(paused.id)
    (paused,) = pool.ended(paused)
    assert (paused.status, paused.attempts) == ("done", 2)
    assert paused.outputs[0].read_bytes() == expected(request)


def test_a_full_disk_pauses_the_job_and_it_goes_on_when_there_is_space(bench):
    free = 10**9
    pool = bench(free=lambda _: free)
    request = ask(fail="full", section=1, step=1)
    (job,) = pool.store.submit([request])
    pool.wait(lambda: pool.store.get(job.id).status == "paused")
    job = pool.store.get(job.id)
    assert (job.waits_for, job.crash_count) == ("space", 0)
    assert "full" in job.reason
    assert not list(pool.folders.outputs.glob("[!.]*[!t].mp4"))
    time.sleep(1.5)
    assert pool.store.get(job.id).status == "paused"
    free = 2 * 10**9
    (job,) = pool.ended(job)
    assert job.status == "done"
    assert job.outputs[0].read_bytes() == expected(request)


def test_a_full_disk_of_one_jobs_own_stops_no_other(bench, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    pool = bench(free=lambda folder: 0 if folder == stick else 10**9)
    request = ask(fail="full", section=1, step=1)
    away = request.model_copy(update={"output": OutputSettings(path=stick / "v.mp4")})
    job, other = pool.store.submit([away, ask()])
    pool.ended(other)
    assert pool.store.get(other.id).status == "done"
    job = pool.store.get(job.id)
    assert (job.status, job.waits_for) == ("paused", None)
    assert job.reason == f"the disk of {stick} is full: free some space there, then resume the job"
    pool.store.resume(job.id)
    (job,) = pool.ended(job)
    assert (stick / "v.mp4").read_bytes() == expected(request)


def test_what_a_person_should_hear_is_kept_beside_the_job(bench):
    pool = bench()
    (job,) = pool.ended(*pool.store.submit([ask(notice="the prompt was cut")]))
    assert job.progress.notices == ("the prompt was cut",)


def test_no_job_begins_without_the_reserve(bench):
    free = 10
    pool = bench(free=lambda _: free, reserve=100)
    (job,) = pool.store.submit([ask()])
    time.sleep(1)
    assert pool.store.get(job.id).attempts == 0
    free = 200
    assert pool.ended(job)[0].status == "done"


def test_a_worker_that_cannot_start_costs_no_job(bench):
    pool = bench(settings={"broken": True})
    (job,) = pool.store.submit([ask()])
    pool.wait(lambda: bool(pool.pool.slots[0].error))
    job = pool.store.get(job.id)
    assert job.status in ("queued", "running")
    assert job.crash_count == 0
    assert "no such device" in pool.pool.slots[0].error


def test_closing_gives_running_jobs_back_at_once(bench):
    first = bench()
    request = ask(sections=4, steps=50, pause=0.01)
    (job,) = first.store.submit([request])
    first.wait(lambda: first.store.get(job.id).progress.section >= 1)
    first.pool.close()
    job = first.store.get(job.id)
    assert (job.status, job.crash_count) == ("queued", 0)
    second = bench()
    (job,) = second.ended(job)
    assert job.outputs[0].read_bytes() == expected(request)


def test_a_thread_can_do_the_work_too(bench):
    pool = bench(in_process=True)
    request = ask(seed=9)
    (job,) = pool.ended(*pool.store.submit([request]))
    assert job.status == "done"
    assert job.outputs[0].read_bytes() == expected(request)
    (long,) = pool.store.submit([ask(sections=50, pause=0.02)])
    pool.wait(lambda: pool.store.get(long.id).progress.section >= 1)
    pool.store.cancel(long.id)
    assert pool.ended(long)[0].status == "cancelled"


@pytest.mark.proof
def test_kill_9_at_20_random_moments_leaves_every_output_identical(bench):
    """A job that has lost two workers is left alone until it has finished a section: the third would fail it."""
    pool = bench(workers=2)
    requests = [ask(seed=seed, sections=20, steps=4, pause=0.02) for seed in range(20)]
    jobs = pool.store.submit(requests)
    chance, last = random.Random(5), None
    for _ in range(20):
        steps = chance.randrange(1, 30)
        pool.wait(lambda steps=steps, last=last: pool.attempt() is not last and pool.steps_made() >= steps)
        pool.wait(pool.would_survive)
        last = pool.attempt()
        os.kill(pool.pool.slots[0].worker.pid, signal.SIGKILL)
    for job, request in zip(pool.ended(*jobs, seconds=240), requests, strict=True):
        assert (job.status, job.reason) == ("done", "")
        assert job.outputs[0].read_bytes() == expected(request)
