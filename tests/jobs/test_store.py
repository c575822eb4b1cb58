import sqlite3
import threading
from pathlib import Path

import pytest
from fake_generator import ask

from framepack.jobs import schema
from framepack.jobs.claims import LostClaim
from framepack.jobs.job import Progress, UnknownJob
from framepack.jobs.store import JobStore
from framepack.spec.parts import TimedPrompt


@pytest.fixture
def store(tmp_path: Path):
    store = JobStore(tmp_path / "queue.sqlite")
    yield store
    store.close()


def test_a_job_keeps_its_whole_request(store):
    request = ask(seed=77, pause=0.5)
    (job,) = store.submit([request], batch="b", labels=["seed=77"])
    again = store.get(job.id)
    assert again.request == request
    assert (again.status, again.batch, again.label) == ("queued", "b", "seed=77")


def test_submitting_is_all_or_nothing(store, monkeypatch):
    class Unspeakable:
        def to_store(self):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.submit([ask(), Unspeakable()])
    assert store.jobs() == []


def test_no_two_claims_get_the_same_job(store, tmp_path):
    jobs = store.submit([ask(seed=i) for i in range(40)])
    stores = [JobStore(tmp_path / "queue.sqlite") for _ in range(4)]
    taken: list[str] = []

    def take(mine: JobStore) -> None:
        while job := mine.claims.take("w"):
            taken.append(job.id)

    threads = [threading.Thread(target=take, args=(s,)) for s in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(job.id for job in jobs)
    for each in stores:
        each.close()


def test_only_the_holder_of_a_claim_may_report(store):
    store.submit([ask()])
    first = store.claims.take("a")
    store.claims.crash(first.id, first.claim, "was killed")
    second = store.claims.take("b")
    for late in (
        lambda: store.claims.heartbeat(first.id, first.claim, Progress()),
        lambda: store.claims.finish(first.id, first.claim, "done"),
        lambda: store.claims.crash(first.id, first.claim, "again"),
        lambda: store.claims.control_request(first.id, first.claim),
    ):
        with pytest.raises(LostClaim):
            late()
    assert store.claims.finish(second.id, second.claim, "done").status == "done"


def test_three_crashes_without_a_finished_section_fail_a_job_but_progress_resets_the_count(store):
    (job,) = store.submit([ask()])
    for section in range(1, 6):
        claimed = store.claims.take("w")
        store.claims.heartbeat(job.id, claimed.claim, Progress(section=section, sections=9))
        assert store.claims.crash(job.id, claimed.claim, "was killed").status == "queued"
    assert store.get(job.id).crash_count == 1
    for status in ("queued", "failed"):
        claimed = store.claims.take("w")
        failed = store.claims.crash(job.id, claimed.claim, "was killed", "stack")
        assert failed.status == status
    assert failed.reason.startswith("3 workers crashed on this job")
    assert failed.traceback == "stack"
    assert store.retry(job.id).crash_count == 0


def test_only_a_section_more_than_ever_before_resets_the_crash_count(store):
    """Otherwise a job whose work is lost each time, and which crashes at the same place each time, would never end."""
    (job,) = store.submit([ask()])
    for status in ("queued", "queued", "failed"):
        claimed = store.claims.take("w")
        for section in range(3):
            store.claims.heartbeat(job.id, claimed.claim, Progress(section=section, sections=9))
        assert store.claims.crash(job.id, claimed.claim, "was killed").status == status


def test_a_wish_the_worker_took_to_its_grave_is_granted(store):
    for request, status in (("cancel", "cancelled"), ("stop", "cancelled"), ("pause", "paused")):
        (job,) = store.submit([ask()])
        claimed = store.claims.take("w")
        getattr(store, request)(job.id)
        assert store.claims.control_request(job.id, claimed.claim) == request
        assert store.claims.crash(job.id, claimed.claim, "was killed").status == status


def test_a_wish_is_granted_where_the_job_would_else_go_on_by_itself(store):
    for outcome, facts in (("queued", {}), ("paused", {"waits_for": "space", "reason": "the disk is full"})):
        for request, status in (("cancel", "cancelled"), ("stop", "cancelled"), ("pause", "paused")):
            (job,) = store.submit([ask()])
            claimed = store.claims.take("w")
            getattr(store, request)(job.id)
            ended = store.claims.finish(job.id, claimed.claim, outcome, **facts)
            assert (ended.status, ended.waits_for, ended.control_request) == (status, None, None)
            assert (ended.finished is not None) == (status == "cancelled")
            assert ended.reason == ("paused on request" if status == "paused" else "")
    (job,) = store.submit([ask()])
    claimed = store.claims.take("w")
    assert store.claims.finish(job.id, claimed.claim, "queued", reason="broken").reason == "broken"


def test_a_service_that_starts_takes_back_what_ran_and_blames_only_jobs_that_ran_inside_the_last_one(store):
    store.submit([ask(), ask()])
    outside, inside = store.claims.take("process-0"), store.claims.take("thread-0")
    store.claims.recover()
    assert (store.get(outside.id).status, store.get(outside.id).crash_count) == ("queued", 0)
    assert (store.get(inside.id).status, store.get(inside.id).crash_count) == ("queued", 1)


def test_the_time_a_machine_was_off_is_no_work(store, monkeypatch):
    (job,) = store.submit([ask()])
    monkeypatch.setattr("time.time", lambda: 1000.0)
    claimed = store.claims.take("process-0")
    monkeypatch.setattr("time.time", lambda: 1010.0)
    store.claims.heartbeat(job.id, claimed.claim, Progress())
    store.cancel(job.id)
    monkeypatch.setattr("time.time", lambda: 90_000.0)
    (ended,) = store.claims.recover()
    assert (ended.ran, ended.finished) == (10.0, 1010.0)


def test_jobs_move_among_the_waiting_ones(store):
    a, b, c, d = [job.id for job in store.submit([ask() for _ in range(4)])]
    store.claims.take("w")
    store.move(d, 1)
    assert [job.id for job in store.jobs()] == [a, d, b, c]
    store.move(d, 10**30)
    store.move(b, 2)
    assert [job.id for job in store.jobs(status=["queued"])] == [c, b, d]
    with pytest.raises(ValueError, match="is running"):
        store.move(a, 1)
    with pytest.raises(ValueError, match="place must be 1 or more"):
        store.move(b, 0)


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        ("done", ["cancel", "pause", "stop", "resume", "retry"]),
        ("queued", ["stop", "resume", "retry"]),
        ("cancelled", ["cancel", "pause", "stop", "resume"]),
        ("paused", ["pause", "stop", "retry"]),
    ],
)
def test_what_a_job_cannot_do_is_refused_with_its_state(store, status, refused):
    (job,) = store.submit([ask()])
    if status != "queued":
        claimed = store.claims.take("w")
        store.claims.finish(job.id, claimed.claim, status)
    for request in refused:
        with pytest.raises(ValueError, match=f"{job.id} is {status}"):
            getattr(store, request)(job.id)
        assert store.get(job.id).status == status


def test_unknown_and_shortened_ids(store):
    (job,) = store.submit([ask()])
    assert store.find(job.id[:6]) == job
    for start in ("", "zz", "' OR 1 --", "%", "_"):
        with pytest.raises(UnknownJob):
            store.find(start)
    with pytest.raises(UnknownJob):
        store.cancel("nothing")


def test_a_waiting_job_can_be_edited_until_it_has_finished_sections(store):
    (job,) = store.submit([ask(seed=1)])
    assert store.edit(job.id, ask(seed=2)).request.seed == 2
    claimed = store.claims.take("w")
    with pytest.raises(ValueError, match="is running"):
        store.edit(job.id, ask())
    store.claims.finish(job.id, claimed.claim, "paused", progress=Progress(section=1))
    with pytest.raises(ValueError, match="finished sections"):
        store.edit(job.id, ask())


def test_listing_finds_by_text_status_and_batch(store):
    store.submit([ask(word="harbour"), ask(word="forest")], batch="b1")
    store.submit([ask(word="harbour")])
    assert len(store.jobs(search="HARBOUR")) == 2
    assert store.jobs(search="sampler") == [], "names of settings are no text of anybody's"
    quoted = ask().model_copy(update={"prompts": (TimedPrompt(second=1, text='a "red" boat'),)})
    (boat,) = store.submit([quoted])
    assert [job.id for job in store.jobs(search='"red"')] == [boat.id]
    store.delete(boat.id)
    assert len(store.jobs(search="harbour", batch="b1")) == 1
    assert len(store.jobs(status=["done"])) == 0
    assert len(store.jobs(limit=1, offset=2)) == 1
    assert store.counts() == {"queued": 3}


def test_changes_by_another_process_are_seen_by_their_revision(store, tmp_path):
    before = store.revision()
    other = JobStore(tmp_path / "queue.sqlite")
    (job,) = other.submit([ask()])
    other.cancel(job.id)
    other.close()
    assert [changed.id for changed in store.changed_since(before)] == [job.id]
    assert store.changed_since(store.revision()) == []


def test_deletions_are_seen_by_their_revision_and_an_older_queue_is_migrated(tmp_path):
    file = tmp_path / "old.sqlite"
    connection = sqlite3.connect(file, isolation_level=None)
    schema.migrate(connection, file, schema.MIGRATIONS[:2])
    connection.execute("INSERT INTO job (id, status, position, request_json, created) VALUES ('a', 'done', 1, '{}', 0)")
    connection.close()
    store = JobStore(file)
    (job,) = store.submit([ask()])
    before = store.revision()
    store.delete("a")
    between = store.revision()
    store.delete(job.id)
    assert store.deleted_since(before) == [(between, "a"), (store.revision(), job.id)]
    assert store.deleted_since(between) == [(store.revision(), job.id)]
    assert before < between < store.revision()
    store.close()


def test_a_running_job_cannot_be_deleted(store):
    (job,) = store.submit([ask()])
    claimed = store.claims.take("w")
    with pytest.raises(ValueError, match="cancel it"):
        store.delete(job.id)
    store.claims.finish(job.id, claimed.claim, "done")
    store.delete(job.id)
    assert store.jobs() == []


def test_a_migration_keeps_the_jobs_and_makes_a_backup_before(store, tmp_path):
    (job,) = store.submit([ask()])
    store.close()
    file = tmp_path / "queue.sqlite"
    connection = sqlite3.connect(file, isolation_level=None)
    steps = (*schema.MIGRATIONS, ("ALTER TABLE job ADD COLUMN colour TEXT",))
    schema.migrate(connection, file, steps)
    assert connection.execute("SELECT id, colour FROM job").fetchall() == [(job.id, None)]
    assert schema.version_of(connection) == len(steps)
    backup = sqlite3.connect(tmp_path / f"queue.sqlite.v{len(schema.MIGRATIONS)}.bak")
    assert schema.version_of(backup) == len(schema.MIGRATIONS)
    assert backup.execute("SELECT id FROM job").fetchall() == [(job.id,)]
    backup.close()
    connection.close()
    with pytest.raises(ValueError, match="newer FramePack"):
        JobStore(file)


def test_a_queue_of_0_1_0_keeps_its_crash_counts_and_control_requests(tmp_path):
    file = tmp_path / "old.sqlite"
    connection = sqlite3.connect(file, isolation_level=None)
    schema.migrate(connection, file, schema.MIGRATIONS[:4])
    row = ("a", "running", 1, ask().model_dump_json(), 0, 2, "thread-0:1", "pause")
    names = "id, status, position, request_json, created, deaths, claim, wish"
    connection.execute(f"INSERT INTO job ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()
    store = JobStore(file)
    assert (store.get("a").crash_count, store.get("a").control_request) == (2, "pause")
    assert store.claims.control_request("a", "thread-0:1") == "pause"
    store.close()


def test_a_migration_that_fails_changes_nothing(store, tmp_path):
    store.submit([ask()])
    file = tmp_path / "queue.sqlite"
    connection = sqlite3.connect(file, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, file, (*schema.MIGRATIONS, ("DELETE FROM job", "NOT SQL")))
    connection.close()
    assert len(store.jobs()) == 1


def test_a_file_that_is_no_queue_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "queue.sqlite"
    file.write_bytes(b"holiday pictures" * 100)
    with pytest.raises(ValueError, match="is not a job queue"):
        JobStore(file)
    assert file.read_bytes() == b"holiday pictures" * 100
