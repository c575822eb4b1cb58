import threading
from dataclasses import replace

from fake_generator import ask

from framepack.jobs.feed import LIMIT, Feed, JobUpdate
from framepack.jobs.store import JobStore
from framepack.spec.events import Notice, StepDone


def step(number: int) -> StepDone:
    return StepDone(section=0, sections=1, step=number, steps=9)


def test_everyone_hears_of_the_jobs_they_asked_for(tmp_path):
    store = JobStore(tmp_path / "q.sqlite")
    one, two = store.submit([ask(), ask()])
    feed = Feed()
    with feed.listen(one.id) as of_one, feed.listen() as of_all:
        feed.publish(JobUpdate(job=two, event=Notice(message="a")))
        feed.publish(JobUpdate(job=one, event=Notice(message="b")))
        assert [of_all.get(0).event.message for _ in range(2)] == ["a", "b"]
        assert of_one.get(0).event.message == "b"
        assert of_one.get(0) is None
    feed.publish(JobUpdate(job=one, event=Notice(message="c")))
    assert of_one.get(0) is None, "a listener that left hears nothing"
    store.close()


def test_a_slow_listener_gets_the_last_step_and_every_other_event(tmp_path):
    store = JobStore(tmp_path / "q.sqlite")
    (job,) = store.submit([ask()])
    feed = Feed()
    listener = feed.listen()
    for number in range(5 * LIMIT):
        feed.publish(JobUpdate(job=job, event=step(number)))
        if number == 100:
            feed.publish(JobUpdate(job=job, event=Notice(message="cut")))
    seen = [listener.get(0).event for _ in range(3)]
    assert seen == [step(100), Notice(message="cut"), step(5 * LIMIT - 1)]
    assert listener.get(0) is None
    store.close()


def test_no_step_takes_the_place_of_a_state(tmp_path):
    store = JobStore(tmp_path / "q.sqlite")
    (job,) = store.submit([ask()])
    feed = Feed()
    listener = feed.listen()
    feed.publish(JobUpdate(job=job, event=step(1)))
    feed.publish(JobUpdate(job=job))
    feed.publish(JobUpdate(job=replace(job, status="running")))
    feed.publish(JobUpdate(job=job, event=step(2)))
    feed.publish(JobUpdate(job=job, event=step(3)))
    assert [(news.job.status, news.event) for news in (listener.get(0), listener.get(0))] == [
        ("running", None),
        ("queued", step(3)),
    ]
    assert listener.get(0) is None
    store.close()


def test_the_state_so_far_is_heard_whole_and_before_what_arrived_meanwhile(tmp_path):
    store = JobStore(tmp_path / "q.sqlite")
    (job,) = store.submit([ask()])
    feed = Feed()
    listener = feed.listen()
    feed.publish(JobUpdate(job=job, event=Notice(message="meanwhile")))
    listener.begin_with([JobUpdate(job=replace(job, position=number)) for number in range(LIMIT + 5)])
    assert [listener.get(0).job.position for _ in range(LIMIT + 5)] == list(range(LIMIT + 5))
    assert listener.get(0).event == Notice(message="meanwhile")
    assert listener.get(0) is None
    store.close()


def test_waiting_ends_when_news_arrive_and_wakes_whoever_asked(tmp_path):
    store = JobStore(tmp_path / "q.sqlite")
    (job,) = store.submit([ask()])
    feed, woken = Feed(), []
    listener = feed.listen(wake=lambda: woken.append(1))
    publisher = threading.Timer(0.1, feed.publish, [JobUpdate(job=job, event=step(1))])
    publisher.start()
    assert listener.get(60).event == step(1)
    publisher.join()
    assert woken == [1]
    store.close()
