"""The service around the queue: uploads, sheets, deletion, news, force; with the fake generator."""

import asyncio
import os
import sqlite3
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from fake_generator import TARGET, ask

from framepack.app.api.broadcast import Broadcast
from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.sheets import CELL, make_sheet, sheet_file
from framepack.app.service.tidy import UNUSED_AFTER
from framepack.jobs.job import UnknownJob
from framepack.jobs.pool import PoolConfig
from framepack.jobs.store import JobStore
from framepack.media.sheet import GAP
from framepack.media.video import VideoWriter
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


@pytest.fixture
def folders(tmp_path: Path):
    return folders_at(tmp_path / "outputs", reserve=0)


def fake_request(folder: Path, **script) -> GenerationRequest:
    picture = folder / "x.png"
    picture.write_bytes(b"pixels")
    return ask(**script).model_copy(update={"image": Picture(file=picture)})


def test_a_second_service_on_the_same_folders_is_refused(folders):
    nobody = PoolConfig(target=TARGET, workers=[])
    with Service(folders, nobody), pytest.raises(ValueError, match=f"process {os.getpid()}"):
        Service(folders, nobody, patience=0.2)
    Service(folders, PoolConfig(target=TARGET, workers=[]), patience=0.2).close()


def test_a_restart_finds_all_jobs_and_goes_on(folders, tmp_path, wait):
    with Service(folders, PoolConfig(target=TARGET, workers=[])) as service:
        jobs = service.submit([fake_request(tmp_path, seed=1), fake_request(tmp_path, seed=2)])
        service.pause(jobs[1].id)
    with Service(folders, PoolConfig(target=TARGET, in_process=True)) as service:
        assert wait(service, jobs[0]).status == "done"
        assert service.get(jobs[1].id).status == "paused"


def test_changes_by_another_process_reach_the_listeners(folders, tmp_path):
    with Service(folders, PoolConfig(target=TARGET, workers=[])) as service:
        (job,) = service.submit([fake_request(tmp_path)])
        other = JobStore(folders.queue)
        with service.listen(job.id) as listener:
            assert listener.get(60).job.status == "queued"
            other.cancel(job.id)
            while (status := listener.get(60).job.status) == "queued":
                pass
            assert status == "cancelled"
        other.close()
        with pytest.raises(UnknownJob):
            service.listen("none")


def test_who_listens_to_all_hears_of_every_unfinished_job_and_of_ended_ones(folders):
    with Service(folders, PoolConfig(target=TARGET, workers=[])) as service:
        jobs = service.store.submit([ask()] * 120)
        service.cancel(jobs[0].id)
        with service.listen() as listener:
            heard = {listener.get(60).job.id for _ in jobs}
        assert heard == {job.id for job in jobs}


def test_a_job_that_another_process_deletes_ends_who_listens_to_it(folders, tmp_path):
    with Service(folders, PoolConfig(target=TARGET, workers=[])) as service:
        job, stays = service.submit([fake_request(tmp_path), fake_request(tmp_path)])
        other = JobStore(folders.queue)
        with service.listen(job.id) as of_one, service.listen() as of_all:
            other.delete(job.id)
            other.pause(stays.id)
            other.close()
            for listener in (of_one, of_all):
                while not (news := listener.get(60)).deleted:
                    assert news.job.id in (job.id, stays.id)
                assert news.job.id == job.id
            while (news := of_all.get(60)).job.status != "paused":
                pass
            assert of_one.get(0) is None, "told once"


def test_a_stream_of_a_deleted_job_closes_with_its_deletion(folders, tmp_path):
    async def follow(service: Service, job: str) -> list[str]:
        seen = []
        async for page in Broadcast(service).stream(job):
            seen += [line for line in page.decode().splitlines() if line.startswith("event: ")]
            if seen == ["event: job"]:
                other = JobStore(folders.queue)
                other.delete(job)
                other.close()
        return seen

    with Service(folders, PoolConfig(target=TARGET, workers=[])) as service:
        (job,) = service.submit([fake_request(tmp_path)])
        seen = asyncio.run(follow(service, job.id))
        assert (seen[0], seen[-1], seen.count("event: deleted")) == ("event: job", "event: deleted", 1)
        assert asyncio.run(follow(service, job.id)) == ["event: deleted"], "asked for just before it was deleted"


def test_force_ends_a_worker_that_does_not_listen(folders, tmp_path, monkeypatch, wait):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "jobs"))
    with Service(folders, PoolConfig(target=TARGET)) as service:
        (job,) = service.submit([fake_request(tmp_path, steps=1, pause=3000)])
        until = time.monotonic() + 120
        while not ((attempt := service.pool.attempt_of(job.id)) and attempt.started):
            assert time.monotonic() < until
            time.sleep(0.02)
        service.cancel(job.id, force=True)
        assert wait(service, job).status == "cancelled"


def test_deleting_removes_the_work_and_if_asked_the_video(folders, tmp_path, wait):
    with Service(folders, PoolConfig(target=TARGET, in_process=True)) as service:
        kept, gone = (wait(service, job) for job in service.submit([fake_request(tmp_path), fake_request(tmp_path)]))
        with service.listen() as listener:
            of_requests_before = [file.with_name(f"{file.stem}.part-1.mp4") for file in (*kept.outputs, *gone.outputs)]
            for file in of_requests_before:
                file.touch()
            service.delete(kept.id)
            service.delete(gone.id, files=True)
            heard = []
            while len([news for news in heard if news.deleted]) < 2:
                heard.append(listener.get(60))
                assert heard[-1] is not None
        assert kept.outputs[0].is_file()
        assert not gone.outputs[0].exists()
        assert [file.exists() for file in of_requests_before] == [True, False]
        assert service.jobs() == []


def test_old_uploads_that_no_job_uses_are_dropped_at_the_next_start(folders, tmp_path):
    for name in ("used.png", "old.png", "young.png"):
        (folders.uploads / name).write_bytes(b"x")
    with Service(folders, PoolConfig(target=TARGET, workers=[])) as service:
        service.submit(
            [fake_request(tmp_path).model_copy(update={"image": Picture(file=folders.uploads / "used.png")})]
        )
    long_ago = time.time() - UNUSED_AFTER - 10
    for name in ("used.png", "old.png"):
        os.utime(folders.uploads / name, (long_ago, long_ago))
    with Service(folders, PoolConfig(target=TARGET, workers=[])):
        assert {file.name for file in folders.uploads.iterdir()} == {"used.png", "young.png"}


def test_a_service_that_stays_open_drops_them_too_and_thumbnails_of_what_is_gone(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("framepack.app.service.job_service.TIDY_EVERY", 0.05)
    with Service(folders, PoolConfig(target=TARGET, workers=[])):
        (folders.uploads / "young.png").write_bytes(b"x")
        old = folders.uploads / "old.png"
        old.write_bytes(b"x")
        os.utime(old, (1, 1))
        small = folders.home / "thumbnails"
        small.mkdir()
        for name in ("young.png.jpg", "old.png.jpg", ".new.jpg.part"):
            (small / name).write_bytes(b"x")
        until = time.monotonic() + 60
        while old.exists() or (small / "old.png.jpg").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert {file.name for file in small.iterdir()} == {"young.png.jpg", ".new.jpg.part"}
        assert (folders.uploads / "young.png").exists()


def test_a_cancel_while_the_worker_starts_is_heard(folders, tmp_path, monkeypatch, wait):
    (tmp_path / "slow.py").write_text("import time\n\ndef make(**_):\n    time.sleep(3000)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Service(folders, PoolConfig(target="slow:make")) as service:
        (job,) = service.submit([fake_request(tmp_path)])
        wait(service, job, lambda now: now.status == "running" and service.pool.slots[0].worker)
        service.cancel(job.id, force=True)
        assert wait(service, job).status == "cancelled"


def test_workers_take_no_module_from_the_current_folder(folders, tmp_path, monkeypatch, wait):
    (tmp_path / "random.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "jobs"))
    with Service(folders, PoolConfig(target=TARGET)) as service:
        (job,) = service.submit([fake_request(tmp_path)])
        assert wait(service, job).status == "done"


def test_a_batch_gets_a_contact_sheet_once_all_its_jobs_have_ended(folders):
    store = JobStore(folders.queue)
    jobs = store.submit([ask(), ask(), ask()], batch="b", labels=["seed=1", "seed=2", "seed=3"])
    for index, job in enumerate(jobs):
        assert make_sheet(store, folders, "b") is None
        claimed = store.claims.take("w")
        video = folders.outputs / f"{index}.mp4"
        with VideoWriter(video, fps=10, size=(64, 48)) as writer:
            writer.write(np.full((5, 48, 64, 3), 80 * index, np.uint8))
        store.claims.finish(job.id, claimed.claim, "failed" if index == 2 else "done", outputs=[video])
    sheet = make_sheet(store, folders, "b")
    assert sheet == sheet_file(folders, "b")
    with Image.open(sheet) as picture:
        assert picture.width == 2 * (CELL + GAP) + GAP, "the failed one is left out"
    store.close()


def test_the_service_makes_the_sheet_by_itself(folders, tmp_path, monkeypatch, wait):
    made = []
    monkeypatch.setattr("framepack.app.service.sheets.make_sheet", lambda *arguments: made.append(arguments[2]))
    with Service(folders, PoolConfig(target=TARGET, in_process=True)) as service:
        (job,) = service.submit([fake_request(tmp_path)], batch="b1")
        wait(service, job)
        until = time.monotonic() + 60
        while not made:
            assert time.monotonic() < until
            time.sleep(0.05)
    assert made[0] == "b1"


def test_the_sheet_is_made_though_the_last_job_failed(folders, tmp_path, monkeypatch, wait):
    made = []
    monkeypatch.setattr("framepack.app.service.sheets.make_sheet", lambda *arguments: made.append(arguments[2]))
    with Service(folders, PoolConfig(target=TARGET, in_process=True)) as service:
        (job,) = service.submit([fake_request(tmp_path, fail="error", times=9)], batch="b1")
        assert wait(service, job).status == "failed"
        until = time.monotonic() + 60
        while not made:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_queue_file_that_is_deleted_or_spoiled_under_a_service_costs_no_job_and_is_told(folders, tmp_path, wait):
    with Service(folders, PoolConfig(target=TARGET, in_process=True)) as service:
        jobs = service.submit([fake_request(tmp_path, seed=seed, steps=20, pause=0.01) for seed in range(3)])
        wait(service, jobs[0], lambda now: now.progress.step or now.progress.section)
        folders.queue.unlink()
        assert [wait(service, job).status for job in jobs] == ["done"] * 3
        assert [job.attempts for job in service.jobs()] == [1] * 3
        assert "was deleted" in service.health()["queue"]["repaired"][0]
        assert folders.queue.is_file()


def test_a_service_whose_folders_are_deleted_makes_them_again_and_goes_on(folders, tmp_path, wait):
    picture = tmp_path / "x.png"
    with Service(folders, PoolConfig(target=TARGET, in_process=True)) as service:
        (first,) = service.submit([fake_request(tmp_path)])
        wait(service, first)
        folders.outputs.rename(tmp_path / "elsewhere")
        (job,) = service.store.submit([ask(seed=2).model_copy(update={"image": Picture(file=picture)})])
        assert wait(service, job).status == "done"
        assert service.get(first.id).status == "done"
        assert folders.uploads.is_dir()
        assert service.health()["queue"]["repaired"]


def test_a_service_answers_while_another_program_holds_the_queue_locked(folders, tmp_path, wait):
    with Service(folders, PoolConfig(target=TARGET, in_process=True)) as service:
        (job,) = service.submit([fake_request(tmp_path, steps=30, pause=0.02)])
        wait(service, job, lambda now: now.progress.step and service.store.last_counts()[0] == {"running": 1})
        other = sqlite3.connect(folders.queue, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(10):
            began = time.monotonic()
            health = service.health()
            assert time.monotonic() - began < 1
            assert health["jobs"] == {"running": 1}
            assert "another program has locked" in health["queue"]["trouble"]
            time.sleep(0.2)
        other.execute("ROLLBACK")
        other.close()
        assert wait(service, job).status == "done"
        assert service.health()["queue"] == {"trouble": "", "repaired": []}


def test_a_queue_that_is_gone_at_the_start_is_reported_and_unfinished_work_stays(folders):
    kept = folders.work("abc")
    kept.mkdir()
    with Service(folders, PoolConfig(target=TARGET, workers=[])) as service:
        assert "the work of 1 jobs is kept" in service.health()["queue"]["repaired"][0]
    assert kept.is_dir()
    with Service(folders, PoolConfig(target=TARGET, workers=[])):
        assert not kept.is_dir()
