"""A batch run once more finds its jobs, also those that an earlier version has queued."""

import json
from dataclasses import replace

from fake_generator import ask

from framepack.jobs.batch import batch_name
from framepack.jobs.rerun import find_rerun
from framepack.jobs.store import JobStore


def test_a_job_from_before_a_setting_was_there_is_the_one_with_its_default(tmp_path, monkeypatch):
    store = JobStore(tmp_path / "queue.sqlite")
    plain, other = ask(seed=1).resolved(), ask(seed=1, steps=9).resolved()
    (job,) = store.submit([plain], batch=batch_name("b"))
    written = json.loads(job.request_json)
    del written["output"]["mark"]
    monkeypatch.setattr(store, "jobs", lambda **_: [replace(job, request_json=json.dumps(written))])
    found = find_rerun(store, "b", [other, plain])
    assert found is not None
    assert {place: same.id for place, same in found.jobs.items()} == {1: job.id}
    unmarked = plain.model_copy(update={"output": plain.output.model_copy(update={"mark": False})})
    assert find_rerun(store, "b", [unmarked]) is None
    store.close()
