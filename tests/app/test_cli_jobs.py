"""The command line over the queue, with the fake generator in a thread."""

import json
import random
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from damage import DAMAGES, spoil_row
from fake_generator import TARGET, ask

from framepack.app.cli import batch as cli_batch
from framepack.app.cli import machine as cli_machine
from framepack.app.cli import service as cli_service
from framepack.app.cli.jobs import jobs_app
from framepack.app.service.job_service import Service, folders_at
from framepack.files.lock import QueueLock
from framepack.jobs.pool import PoolConfig
from framepack.jobs.repair import find_damage
from framepack.jobs.store import JobStore
from framepack.spec.machine import ServiceOptions

app = typer.Typer()
app.add_typer(jobs_app, name="jobs")
app.command()(cli_batch.batch)
app.command()(cli_service.serve)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("FRAMEPACK_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(cli_machine, "TARGET", TARGET)
    monkeypatch.setattr(cli_batch, "pool_config", lambda *_, **__: PoolConfig(target=TARGET, in_process=True))
    return tmp_path / "outputs"


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def store(outputs: Path):
    store = JobStore(folders_at(outputs).queue)
    yield store
    store.close()


def batch_file(folder: Path, *lines: dict) -> Path:
    Image.new("RGB", (32, 32)).save(folder / "a.png")
    file = folder / "batch.jsonl"
    file.write_text("\n".join(json.dumps({"image": "a.png", "prompt": "{}", "seconds": 1.2, **line}) for line in lines))
    return file


def test_a_batch_is_made_here_when_no_service_runs(outputs, tmp_path, store):
    answer = run("batch", batch_file(tmp_path, {"seed": 1}, {"seed": 2}), "--grid", "steps=1,2")
    assert answer.exit_code == 0, answer.output
    assert "queued 4 jobs" in answer.output
    jobs = store.jobs()
    assert {job.status for job in jobs} == {"done"}
    assert sorted(job.label for job in jobs) == [f"line {n} steps={s}" for n in (1, 2) for s in (1, 2)]
    assert all(job.outputs[0].is_file() for job in jobs)


def test_a_batch_run_once_more_makes_only_what_is_new_or_failed_or_gone(outputs, tmp_path, store):
    flaky = {"prompt": json.dumps({"fail": "error", "times": 1})}
    one, two, three = {"seed": 1}, {"seed": 2, "output": {"path": str(tmp_path / "two.mp4")}}, {"seed": 3}
    first = run("batch", batch_file(tmp_path, one, two, three, flaky))
    assert first.exit_code == 1, first.output
    (name,) = {job.batch for job in store.jobs()}
    assert [job.status for job in store.jobs(search="line 4")] == ["failed"]
    files = [job.outputs[0] for seed in (1, 3) for job in store.jobs() if job.request.seed == seed]
    files[1].unlink()
    made = files[0].stat().st_mtime_ns

    again = run("batch", batch_file(tmp_path, one, two, three, flaky, {"seed": 5}))
    assert again.exit_code == 0, again.output
    assert f"batch {name} resumes: 2 finished, 1 retried, 2 new; --again" in again.output
    assert files[0].stat().st_mtime_ns == made
    assert {job.batch for job in store.jobs()} == {name}
    assert sorted(job.request.seed for job in store.jobs() if job.request.prompt == "{}") == [1, 2, 3, 3, 5]

    nothing = run("batch", batch_file(tmp_path, one, two))
    assert (nothing.exit_code, len(store.jobs())) == (0, 6)
    assert "resumes: 2 finished; --again" in nothing.output
    anew = run("batch", batch_file(tmp_path, one), "--again", "--detach")
    assert "queued 1 jobs" in anew.output
    assert len({job.batch for job in store.jobs()}) == 2


def test_a_batch_run_once_more_goes_on_with_what_waits(outputs, tmp_path, store):
    lines = {"seed": 1}, {"seed": 1}
    run("batch", batch_file(tmp_path, *lines), "--detach")
    for job in store.jobs():
        store.set_machine(job.id, {"preserve": "6GB"})
    answer = run("batch", batch_file(tmp_path, *lines))
    assert [dict(job.machine) for job in store.jobs()] == [{}, {}]
    assert answer.exit_code == 0, answer.output
    assert "resumes: 2 in progress; --again" in answer.output
    assert [job.status for job in store.jobs()] == ["done", "done"]


def test_a_batch_that_may_replace_its_videos_is_made_anew(outputs, tmp_path, store):
    line = {"output": {"path": str(tmp_path / "mine.mp4"), "overwrite": True}}
    for _ in range(2):
        assert run("batch", batch_file(tmp_path, line)).exit_code == 0
    assert len({job.batch for job in store.jobs()}) == 2


def test_a_batch_is_left_to_a_service_that_runs(outputs, tmp_path):
    with Service(folders_at(outputs, reserve=0), PoolConfig(target=TARGET, in_process=True)):
        answer = run("batch", batch_file(tmp_path, {"seed": 1}))
    assert answer.exit_code == 0, answer.output
    assert "a running service does the work; Ctrl-C" in answer.output


def test_a_batch_goes_on_here_when_the_service_that_did_the_work_ends(outputs, tmp_path, store, monkeypatch):
    monkeypatch.setattr(cli_batch, "CHECK_INTERVAL", 0.3)
    service = Service(folders_at(outputs, reserve=0), PoolConfig(target=TARGET, workers=[]))

    def end() -> None:
        while not store.jobs():
            time.sleep(0.02)
        time.sleep(1.0)
        service.close()

    someone = threading.Thread(target=end)
    someone.start()
    answer = run("batch", batch_file(tmp_path, {"seed": 1}))
    someone.join()
    assert answer.exit_code == 0, answer.output
    assert "that service has ended; the work continues here" in answer.output
    assert [job.status for job in store.jobs()] == ["done"]


def test_why_a_job_cannot_begin_is_said_once_for_each_reason(store, capsys):
    (job,) = store.submit([ask()], batch="b")
    waiting = {job.id}
    for reason in ("the model is not here", "the disk cannot be read"):
        claimed = store.claims.take("w")
        store.claims.finish(job.id, claimed.claim, "queued", reason=reason)
        cli_batch.wait_for(store, "b", waiting, seconds=1.0)
        assert waiting == {job.id}
        assert capsys.readouterr().out.count(reason) == 1
    store.cancel(job.id)
    cli_batch.wait_for(store, "b", waiting)
    assert not waiting
    assert "cancelled" in capsys.readouterr().out


def test_options_a_running_service_does_not_use_are_named_or_refused(outputs, tmp_path, store):
    file = batch_file(tmp_path, {"seed": 1})
    options = ("--dtype", "float32", "--models-dir", tmp_path, "--offline")
    with Service(folders_at(outputs, reserve=0), PoolConfig(target=TARGET, in_process=True)):
        answer = run("batch", file, *options)
    assert "with its own --dtype, --models-dir, --offline instead of yours" in answer.output
    refused = run("batch", file, "--detach", *options)
    assert "leave out --dtype, --models-dir, --offline with --detach" in str(refused.exception)
    assert len(store.jobs()) == 1
    assert run("batch", file, "--detach").exit_code == 0


def test_a_batch_waits_no_longer_for_a_job_that_someone_deletes(outputs, tmp_path, store):
    def delete() -> None:
        while not (found := store.jobs()):
            time.sleep(0.02)
        store.delete(found[0].id)

    with Service(folders_at(outputs, reserve=0), PoolConfig(target=TARGET, workers=[])):
        someone = threading.Thread(target=delete)
        someone.start()
        answer = run("batch", batch_file(tmp_path, {}))
        someone.join()
    assert answer.exit_code == 0, answer.output
    assert "was deleted" in answer.output


def test_a_batch_with_a_failing_job_ends_with_1_and_says_why(outputs, tmp_path):
    bad = {"prompt": json.dumps({"fail": "error", "times": 9})}
    answer = run("batch", batch_file(tmp_path, bad, {}))
    assert answer.exit_code == 1
    assert "failed" in answer.output
    assert "use a larger one" in answer.output


def test_a_mistake_in_a_batch_queues_nothing(outputs, tmp_path, store):
    answer = run("batch", batch_file(tmp_path, {}, {"steps": 0}))
    assert isinstance(answer.exception, ValueError)
    assert "line 2: steps must be 1..200, got 0" in str(answer.exception)
    assert store.jobs() == []
    lost = run("batch", batch_file(tmp_path, {"image": "lost.png"}), "--dry-run")
    assert f"there is no file {tmp_path / 'lost.png'}" in str(lost.exception)
    dry = run("batch", batch_file(tmp_path, {"prompt": "night falls"}), "--dry-run", "--grid", "seed=1..3")
    assert dry.output.count("mini, 1.2 s") == 3
    assert "note:" not in dry.output
    dry = run(
        "batch", batch_file(tmp_path, {}), "--dry-run", "--set", "cfg_rescale=0.5", "--again", "--dtype", "float32"
    )
    assert "note: cfg_rescale 0.5 has no effect" in dry.output
    assert "note: --dtype, --again would have an effect without --dry-run" in dry.output
    dry = run("batch", batch_file(tmp_path, {"prompt": "she smiles"}), "--dry-run")
    assert "note: Nothing in the prompt is known" in dry.output
    assert store.jobs() == []


def test_jobs_are_listed_shown_and_steered_by_the_beginning_of_their_id(store):
    first, second = store.submit([ask(seed=1, word="harbour"), ask(seed=2)])
    assert first.id in run("jobs", "list").output
    assert run("jobs", "list", "--search", "harbour").output.count("queued") == 1
    assert run("jobs", "list", "--status", "done").output == "no jobs\n"
    assert '"seed": 2' in run("jobs", "show", second.id[:8]).output
    moved = run("jobs", "move", second.id, 1).output
    assert moved.index(second.id) < moved.index(first.id)
    for command, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled"), ("retry", "queued")):
        assert status in run("jobs", command, first.id[:8]).output
        assert store.get(first.id).status == status


def test_a_batch_is_cancelled_as_a_whole(store):
    mine = store.submit([ask(), ask()], batch="mine")
    other = store.submit([ask()], batch="other")
    answer = run("jobs", "cancel-batch", "mine")
    assert answer.output.count("cancelled") == 2
    assert [store.get(job.id).status for job in (*mine, *other)] == ["cancelled", "cancelled", "queued"]
    assert "there is no batch called 'none'" in str(run("jobs", "cancel-batch", "none").exception)


def test_clean_takes_a_job_or_a_size_and_says_when_nothing_was_kept(outputs, store):
    (job,) = store.submit([ask()])
    store.claims.finish(job.id, store.claims.take("w").claim, "done")
    kept = folders_at(outputs).work_of(job.id, job.request_json)
    kept.mkdir(parents=True)
    (kept / "section-0000.safetensors").write_bytes(bytes(1000))
    refused = run("jobs", "clean", job.id, "--keep", "2GB")
    assert "--keep is a size for all jobs together" in str(refused.exception)
    assert (kept / "section-0000.safetensors").exists()
    assert "no more than that was kept" in run("jobs", "clean", "--keep", "2GB").output
    assert run("jobs", "clean", job.id).output == f"the sections of 1 job are deleted\n{job.id}\n"
    for again in (["jobs", "clean", job.id], ["jobs", "clean"]):
        assert run(*again).output == "nothing is deleted: no section was kept\n"


def test_a_job_is_deleted_with_its_work_and_its_video_only_when_asked(outputs, tmp_path, store):
    run("batch", batch_file(tmp_path, {"seed": 1}, {"seed": 2}))
    kept, gone = store.jobs()
    folders = folders_at(outputs)
    folders.work(kept.id).mkdir(exist_ok=True)
    answer = run("jobs", "delete", kept.id[:8])
    assert (answer.exit_code, "stays" in answer.output) == (0, True)
    assert f"{gone.outputs[0]} is deleted" in run("jobs", "delete", gone.id, "--files").output
    assert (kept.outputs[0].is_file(), gone.outputs[0].exists()) == (True, False)
    assert not folders.work(kept.id).exists()
    assert store.jobs() == []
    (job,) = store.submit([ask()])
    store.claims.take("w")
    refused = run("jobs", "delete", job.id)
    assert isinstance(refused.exception, ValueError)
    assert "cancel it before" in str(refused.exception)


def test_a_video_elsewhere_is_left_alone_and_said_to_stay(outputs, tmp_path, store):
    run("batch", batch_file(tmp_path, {"output": {"path": str(tmp_path / "mine.mp4")}}))
    (job,) = store.jobs()
    answer = run("jobs", "delete", job.id, "--files")
    assert f"{tmp_path / 'mine.mp4'} stays" in answer.output
    assert (tmp_path / "mine.mp4").is_file()


def test_a_batch_that_would_replace_a_file_is_refused_unless_that_is_allowed(outputs, tmp_path, store):
    file = tmp_path / "mine.mp4"
    file.write_text("a video")
    refused = run("batch", batch_file(tmp_path, {"output": {"path": str(file)}}))
    assert "mine.mp4 is there already" in str(refused.exception)
    assert store.jobs() == []
    answer = run("batch", batch_file(tmp_path, {"output": {"path": str(file), "overwrite": True}}), "--detach")
    assert answer.exit_code == 0, answer.output


def test_memory_to_leave_free_goes_with_the_jobs_or_to_the_workers(outputs, tmp_path, store, monkeypatch):
    monkeypatch.setattr("framepack.app.machine.gpu_here", lambda: True)
    for size in ("6GB", "6gb", "6000MB"):
        run("batch", batch_file(tmp_path, {}), "--preserve", size, "--detach", "--again")
    assert [job.machine for job in store.jobs()] == 3 * [{"preserve": "6GB"}]
    asked = {"device": ["cuda:0"], "preserve": "6GB", "ram_limit": "8GiB"}
    options = cli_machine.machine_of(asked, ServiceOptions)
    monkeypatch.undo()
    monkeypatch.setattr("framepack.app.machine.devices_here", lambda: ["cuda"])
    config = cli_machine.pool_config(options)
    assert config.workers[0]["device"] == "cuda:0"
    assert config.workers[0]["preserve"] == "6GB"
    assert config.workers[0]["ram_limit"] == "8GiB"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("jobs", "show", "none"), "there is no job 'none'"),
        (("jobs", "list", "--status", "lost"), "--status must be one of queued, running"),
        (("jobs", "list", "--limit", "-3"), "--limit must be 1 or more, got -3"),
        (("batch", "none.csv"), "there is no file none.csv"),
        (("serve", "--host", "0.0.0.0"), "add --password-file FILE (- asks for it), or --i-know"),
        (("serve", "--auth", "me"), "a password among the arguments"),
        (("serve", "--preserve", "lots"), "a size must look like 6GB"),
        (("serve", "--device", "evil"), "device must be auto, cpu"),
        (("serve", "--device", "cpu", "--preserve", "6GB"), "there is no GPU here"),
    ],
)
def test_a_mistake_is_one_sentence(outputs, arguments, says):
    answer = run(*arguments)
    assert isinstance(answer.exception, ValueError)
    assert says in str(answer.exception)


@pytest.mark.parametrize("spoil", ["truncate", "first_page", "folder", "row"])
def test_a_damaged_queue_is_repaired_by_any_command_unless_a_service_has_it(outputs, store, spoil):
    jobs = store.submit([ask(seed=seed, word="w" * 900) for seed in range(30)])
    store.close()
    file = folders_at(outputs).queue
    if spoil == "row":
        spoil_row(file, jobs[0].id, "request_json", "{")
    else:
        DAMAGES[spoil](file, random.Random(1))
    lock = QueueLock(file.with_name("service.lock"), patience=0.1)
    before = sorted(file.parent.iterdir())
    refused = run("jobs", "list")
    assert refused.exit_code == (0 if spoil == "row" else 1)
    assert isinstance(refused.exception, ValueError | sqlite3.OperationalError | None)
    assert sorted(file.parent.iterdir()) == before, "a service has it"
    lock.close()
    answer = run("jobs", "list")
    assert answer.exit_code == 0, answer.exception
    assert find_damage(file) == (False, "")
    if spoil == "row":
        assert "its entry in the queue is damaged" in answer.output
