"""Many jobs at once over HTTP: mistakes name their row, all of a batch can be ended, its sheet can be fetched."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from fake_generator import TARGET

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.sheets import make_sheet
from framepack.jobs.pool import PoolConfig


@pytest.fixture
def picture(client) -> str:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(out, "PNG")
    return client.post("/api/uploads", files={"file": ("me.png", out.getvalue())}).json()[0]["id"]


def test_a_mistake_names_the_request_and_the_place_in_the_grid_and_queues_nothing(client, picture, service):
    good = {"image": picture, "prompt": "{}"}
    for requests, grid, says in (
        ([good, good | {"steps": 0}], {}, "request 2: steps must be 1..200, got 0"),
        ([good], {"seed": [1], "steps": [3, 0]}, "request 1, seed=1 steps=0: steps must be 1..200, got 0"),
        ([good, good | {"image": "none.png"}], {}, "request 2: there is no upload or output called 'none.png'"),
        ([good | {"preset": "none"}], {}, "request 1: There is no preset called none"),
    ):
        answer = client.post("/api/batches", json={"requests": requests, "grid": grid})
        assert (answer.status_code, answer.json()["error"][: len(says)]) == (422, says)
    assert service.jobs() == []
    assert client.get("/api/batches").json() == []


def test_a_grid_goes_over_presets_too(client, picture, service):
    for name, steps in (("soft", 3), ("hard", 4)):
        assert client.put(f"/api/presets/{name}", json={"steps": steps}).status_code == 200
    batch = {"requests": [{"image": picture, "seed": 7}], "grid": {"preset": ["soft", "hard"]}, "name": "two looks"}
    views = client.post("/api/batches", json=batch).json()
    assert [(view["label"], view["request"]["steps"]) for view in views] == [("preset=soft", 3), ("preset=hard", 4)]
    assert all("preset" not in view["request"] for view in views)


def test_all_of_a_batch_are_ended_at_once_and_no_others(client, picture, service):
    other = client.post("/api/jobs", json={"image": picture}).json()["id"]
    batch = {"requests": [{"image": picture}], "grid": {"seed": [1, 2, 3]}, "name": "my seeds"}
    views = client.post("/api/batches", json=batch).json()
    name = views[0]["batch"]
    assert service.store.claims.take("w").id == other, "it runs"
    running = service.store.claims.take("w")
    service.pause(views[2]["id"])
    (now,) = client.get("/api/batches").json()
    assert (now["name"], now["title"], now["jobs"], now["unfinished"], now["sheet"]) == (name, "my seeds", 3, 3, None)
    ended = client.post(f"/api/batches/{name}/cancel").json()
    assert ended["counts"] == {"cancelled": 2, "running": 1}
    assert service.store.get(running.id).control_request == "cancel"
    assert service.store.get(other).control_request is None
    assert service.store.get(views[2]["id"]).finished
    for address in ("/api/batches/none", "/api/batches/none/sheet", f"/api/batches/{name}/sheet"):
        assert client.get(address).status_code == 404
    assert client.post("/api/batches/none/cancel").status_code == 404


def test_the_contact_sheet_is_there_once_all_have_ended(tmp_path, ended, monkeypatch):
    monkeypatch.setattr("framepack.app.service.sheets.still", lambda job: np.zeros((40, 60, 3), np.uint8))
    folders = folders_at(tmp_path / "outputs", reserve=0)
    with (
        Service(folders, PoolConfig(target=TARGET, in_process=True)) as service,
        TestClient(make_app(service, Access()), base_url="http://localhost") as client,
    ):
        out = io.BytesIO()
        Image.new("RGB", (40, 30)).save(out, "PNG")
        picture = client.post("/api/uploads", files={"file": ("me.png", out.getvalue())}).json()[0]["id"]
        ask = {"image": picture, "prompt": "{}", "steps": 1, "seconds": 1.2}
        views = client.post("/api/batches", json={"requests": [ask], "grid": {"seed": [1, 2]}}).json()
        for view in views:
            assert ended(client, view["id"])["status"] == "done"
        make_sheet(service.store, folders, views[0]["batch"])
        shown = client.get(f"/api/batches/{views[0]['batch']}").json()
        assert (shown["counts"], shown["unfinished"]) == ({"done": 2}, 0)
        sheet = client.get(shown["sheet"])
        assert sheet.headers["content-type"] == "image/png"
        assert "sandbox" in sheet.headers["content-security-policy"]
        assert Image.open(io.BytesIO(sheet.content)).width > 40
