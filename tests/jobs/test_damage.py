"""The queue's file is damaged, deleted, replaced or locked: what is noticed, what is kept, who waits."""

import random
import shutil
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from damage import DAMAGES, KEEPS_ALL, ROWS, spoil_row
from fake_generator import ask

from framepack.jobs.database import QueueUnavailable
from framepack.jobs.repair import find_damage
from framepack.jobs.store import JobStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite"


@pytest.fixture
def store(file):
    store = JobStore(file, owner=True)
    yield store
    store.close()


@pytest.fixture
def locked(file):
    """Call it to hold a lock as another program does, until what it returns is called."""
    others = []

    def lock(how: str = "EXCLUSIVE"):
        other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        other.execute(f"BEGIN {how}")
        others.append(other)
        return lambda: other.execute("ROLLBACK")

    yield lock
    for other in others:
        other.close()


def backups(file: Path) -> list[Path]:
    return sorted(file.parent.glob("queue.sqlite.damaged-*"))


@pytest.mark.parametrize(("column", "value"), [(column, value) for column, values in ROWS.items() for value in values])
def test_one_bad_row_costs_one_job_and_not_the_list(store, file, column, value):
    first, bad, last = store.submit([ask(seed=1, word="one"), ask(seed=2), ask(seed=3)], batch="b")
    spoil_row(file, bad.id, column, value)
    found = store.jobs()
    assert len(found) == 3
    (odd,) = [job for job in found if job.id not in (first.id, last.id)]
    assert odd.status == "failed"
    assert "its entry in the queue is damaged" in odd.reason
    assert odd.request.prompt == ""
    assert [job.id for job in store.jobs(search="one")] == [first.id]
    assert sum(store.counts().values()) >= 2
    assert [store.claims.take("w").id for _ in range(2)] == [first.id, last.id]
    assert store.claims.take("w") is None
    store.check()
    assert find_damage(file) == (False, "")
    assert backups(file) == [], "a row is no reason to replace the file"
    (odd,) = store.jobs(status=["failed"])
    assert not odd.damaged
    assert store.delete(odd.id)


def test_a_request_that_is_not_the_one_that_was_written_is_noticed(store, file):
    (job,) = store.submit([ask(seed=77)])
    spoil_row(file, job.id, "request_json", ask(seed=76).model_dump_json())
    assert store.claims.take("w") is None
    assert store.get(job.id).status == "failed"


def test_an_edited_request_and_one_of_an_older_version_are_as_good(store, file):
    edited, old = store.submit([ask(seed=1), ask(seed=2)])
    store.edit(edited.id, ask(seed=3), {"preserve": "6GB"})
    store.set_machine(old.id, {"preserve": "7GB"})
    assert [store.get(job.id).status for job in (edited, old)] == ["queued", "queued"]
    spoil_row(file, old.id, "request_sum", "")
    assert store.get(old.id).request.seed == 2


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_under_a_running_service_is_noticed_and_what_can_be_read_is_kept(store, file, name):
    jobs = store.submit([ask(seed=seed, word="w" * 900) for seed in range(40)], batch="b")
    running = store.claims.take("w")
    before = store.revision()
    DAMAGES[name](file, random.Random(3))
    store.check()
    store.revision()
    assert len(store.notices) == 1, store.notices
    assert find_damage(file) == (False, "")
    assert len(backups(file)) == (name != "delete")
    kept = {job.id: job for job in store.jobs(limit=-1)}
    if name in KEEPS_ALL:
        assert kept.keys() == {job.id for job in jobs}
        assert store.claims.control_request(running.id, running.claim) is None, "the claim holds still"
        assert store.revision() > before
        assert store.changed_since(before), "pollers publish it"
    assert f"and {len(kept)} job" in store.notices[0]
    (new,) = store.submit([ask()])
    assert store.get(new.id).status == "queued"


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_while_no_service_runs_is_repaired_by_the_next_one(file, name):
    with closing(JobStore(file)) as store:
        store.submit([ask(seed=seed, word="w" * 900) for seed in range(40)])
    DAMAGES[name](file, random.Random(3))
    with closing(JobStore(file, owner=True)) as store:
        store.check()
        kept = store.jobs(limit=-1)
        assert len(store.notices) == (name != "delete")
        store.submit([ask()])
    assert find_damage(file) == (False, "")
    if name in ("zero", "scramble", "first_page"):
        assert len(kept) > 25


def test_others_than_the_owner_leave_a_damaged_file_alone_and_open_what_takes_its_place(store, file):
    (job,) = store.submit([ask()])
    with closing(JobStore(file)) as other:
        file.unlink()
        with pytest.raises(QueueUnavailable, match="was deleted"):
            other.get(job.id)
        assert not file.exists()
        store.revision()
        assert other.get(job.id).status == "queued"
        other.cancel(job.id)
        assert store.get(job.id).status == "cancelled"


def test_jobs_that_someone_added_to_a_file_in_the_place_of_ours_are_kept_too(store, file):
    (ours,) = store.submit([ask(seed=1)])
    file.unlink()
    with closing(JobStore(file)) as other:
        (theirs,) = other.submit([ask(seed=2)])
    assert {job.id for job in store.jobs()} == {ours.id, theirs.id}
    assert len(backups(file)) == 1


def test_a_file_that_was_only_moved_and_put_back_is_no_damage(store, file):
    (job,) = store.submit([ask()])
    shutil.copyfile(file, file.with_name("copy"))
    file.with_name("copy").replace(file)
    assert store.get(job.id).status == "queued"
    assert (store.notices, backups(file)) == ((), [])
    assert store.cancel(job.id).status == "cancelled"


def test_a_journal_of_a_damaged_file_is_never_taken_for_the_new_ones(store, file):
    store.submit([ask()])
    journal = file.with_name("queue.sqlite-journal")
    file.unlink()
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(4088))
    assert len(store.jobs()) == 1
    assert not journal.exists()


def test_a_file_of_a_newer_version_is_no_damage(store, file):
    store.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="newer FramePack"):
        JobStore(file, owner=True)
    assert backups(file) == []


def test_a_lock_of_another_program_is_a_sentence_and_blocks_no_thread(store, locked):
    (job,) = store.submit([ask()])
    claimed = store.claims.take("w")
    unlock = locked()
    took: dict[str, float] = {}

    def call(name: str, work) -> None:
        began = time.monotonic()
        with pytest.raises(QueueUnavailable, match="another program has locked"):
            work()
        took[name] = time.monotonic() - began

    calls = {"submit": lambda: store.submit([ask()]), "get": lambda: store.get(job.id), "jobs": store.jobs}
    threads = [threading.Thread(target=call, args=each) for each in calls.items()]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    call("control request", lambda: store.claims.control_request(job.id, claimed.claim))
    assert took["control request"] < 0.5, "the threads that wait hold nothing it needs"
    _, trouble = store.last_counts()
    assert "another program has locked" in trouble
    for thread in threads:
        thread.join()
    assert max(took.values()) < 4
    unlock()
    assert store.last_counts() == ({"running": 1}, "")
    assert store.notices == (), "a lock is no damage"


@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE"])
def test_what_is_asked_while_another_program_has_the_lock_is_done_when_it_lets_go(store, locked, how):
    unlock = locked(how)
    timer = threading.Timer(0.5, unlock)
    timer.start()
    assert store.submit([ask(), ask()])[1].status == "queued"
    timer.join()


def test_a_reader_in_another_program_delays_a_write_and_nothing_is_half_written(store, file):
    jobs = store.submit([ask() for _ in range(50)])
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        reading = other.execute("SELECT * FROM job")
        reading.fetchone()
        with pytest.raises(QueueUnavailable, match="another program has locked"):
            store.cancel(jobs[0].id)
        assert store.get(jobs[0].id).status == "queued"
        reading.close()
    assert store.cancel(jobs[0].id).status == "cancelled"


def test_a_locked_file_is_never_mistaken_for_an_empty_one(store, file, locked):
    store.submit([ask()])
    locked()
    file.rename(file.with_name("elsewhere"))
    with pytest.raises(QueueUnavailable):
        store.jobs()
    file.with_name("elsewhere").rename(file)
    assert backups(file) == []


def test_a_disk_that_damages_everything_is_not_filled_with_copies(store, file):
    store.submit([ask()])
    for _ in range(3):
        file.write_bytes(b"x" * 9000)
        with suppress(QueueUnavailable):
            store.check()
    with pytest.raises(QueueUnavailable, match="check its disk"):
        store.jobs()
    assert len(backups(file)) == 1


@pytest.mark.parametrize("column", ["request_json", "progress", "id"])
def test_a_damaged_row_of_a_job_that_ran_or_waits_for_space_is_in_nobodys_way(store, file, column):
    runs, waits, well = store.submit([ask(seed=1), ask(seed=2), ask(seed=3)])
    for job in (runs, waits):
        assert store.claims.take("process-0").id == job.id
    store.claims.finish(waits.id, store.get(waits.id).claim, "paused", waits_for="space")
    for job in (runs, waits):
        spoil_row(file, job.id, column, "" if column == "id" and job is runs else "{")
    assert store.claims.recover() == []
    assert store.resume_waiting_for_space() == []
    assert store.claims.take("process-0").id == well.id
    store.check()
    assert store.counts() == {"failed": 2, "running": 1}
