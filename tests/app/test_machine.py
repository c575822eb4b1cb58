"""Memory to leave free: from the API through the queue to the maker in its process."""

import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from fake_generator import TARGET, ask

from framepack.app import machine
from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.machine import check_devices, gigabytes_of, has_gpu, preserved, preserving
from framepack.app.service import worker_target
from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.worker_target import make_generator
from framepack.jobs.pool import PoolConfig


def test_a_jobs_machine_settings_reach_the_generate_function(tmp_path, monkeypatch, ended):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "jobs"))
    config = PoolConfig(target=TARGET, workers=[{"device": "cuda:0"}])
    with Service(folders_at(tmp_path / "outputs", reserve=0), config) as service:
        (service.folders.uploads / "a.png").write_bytes(b"x")
        request = ask(seed=3, record=True).model_dump(mode="json") | {"image": "a.png"}
        with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
            told = client.post("/api/jobs", params={"preserve_gb": 6.5}, json=request).json()
            assert told["machine"] == {"preserve": "6.5GB"}
            silent = client.post("/api/jobs", json=request).json()
            assert silent["machine"] == {}
            both = client.post("/api/batches", json={"requests": [request], "preserve_gb": 0}).json()
            for job, says in ((told, "6.5GB"), (silent, None), (both[0], "0GB")):
                view = ended(client, job["id"])
                assert view["status"] == "done"
                (recorded,) = service.folders.outputs.glob(f"*{job['id']}.preserve")
                assert recorded.read_text() == str(says)


def test_where_there_is_no_gpu_it_is_refused_and_not_ignored(tmp_path):
    config = PoolConfig(target=TARGET, workers=[{"device": "cpu"}])
    with Service(folders_at(tmp_path / "outputs", reserve=0), config) as service:
        (service.folders.uploads / "a.png").write_bytes(b"x")
        with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
            answer = client.post("/api/jobs", params={"preserve_gb": 6}, json={"image": "a.png"})
            assert (answer.status_code, "no worker of this service has a GPU" in answer.json()["error"]) == (400, True)
            assert client.get("/api/jobs").json() == []


@pytest.mark.parametrize("size", [-1.0, 1001.0, float("nan"), float("inf")])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(ValueError, match=r"must be 0\.\.1000 GB"):
        preserving(size, gpu=True)


def test_it_survives_as_it_was_said():
    assert preserving(None, gpu=False) == {}
    assert preserved(preserving(6.5, gpu=True)) == "6.5"
    assert preserved({}) == ""
    assert [gigabytes_of(text) for text in ("", " ", "6", "6,5", "0")] == [None, None, 6, 6.5, 0]
    with pytest.raises(ValueError, match="is a number of GB"):
        gigabytes_of("lots")


def test_auto_has_a_gpu_where_its_driver_is(monkeypatch):
    monkeypatch.setattr(machine, "gpu_here", lambda: True)
    assert has_gpu(["auto"])
    assert not has_gpu(["cpu"])
    monkeypatch.setattr(machine, "gpu_here", lambda: False)
    assert not has_gpu(["auto", "cpu"])
    assert has_gpu(["cpu", "cuda:1"])


def test_the_model_is_opened_anew_only_where_the_memory_to_leave_free_is_another(monkeypatch):
    opened = []

    class Model:
        def __init__(self, name, **settings):
            opened.append((name, settings["preserve"]))
            self.model = name

    monkeypatch.setattr(worker_target, "load", Model)
    generator = make_generator(preserve="4GB", device="cpu")
    for name, preserve in (("a", None), ("a", None), ("a", "6GB"), ("a", "6GB"), ("b", "6GB"), ("b", None)):
        generator._model(name, preserve)
    assert opened == [("a", "4GB"), ("a", "6GB"), ("b", "6GB"), ("b", "4GB")]


@pytest.mark.parametrize("name", ["evil", "", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "auto:0", "cuda:1:2", "x" * 1000])
def test_a_device_that_there_is_nowhere_is_refused_with_what_there_is(name):
    with pytest.raises(ValueError, match="device must be auto, cpu") as caught:
        check_devices(["cpu", name])
    assert len(str(caught.value)) <= 300


def test_devices_are_those_that_a_driver_has_left_traces_of(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "TRACES", (str(tmp_path / "kfd"),))
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine, "cards_here", lambda: 2)
    check_devices([])
    check_devices(["auto", "cpu"])
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(ValueError, match=f"no {name} here: device must be auto, cpu$"):
            check_devices([name])
    (tmp_path / "kfd").touch()
    check_devices(["cuda", "cuda:1"])
    with pytest.raises(ValueError, match="no cuda:2 here: device must be auto, cpu, cuda"):
        check_devices(["cuda:2"])
