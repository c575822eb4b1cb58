"""The HTTP API over a service whose workers run the fake generator in a thread."""

import asyncio
import io
import json
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from fake_generator import TARGET, ask, expected

from framepack.app.api import batches, jobs, make_app, submit
from framepack.app.api.guard import Access
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.pool import PoolConfig


def png(width: int = 40, height: int = 30) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    with Service(folders_at(folder / "outputs", reserve=0), PoolConfig(target=TARGET, in_process=True)) as service:
        yield service


@pytest.fixture
def client(service):
    with TestClient(make_app(service, Access()), base_url="http://localhost:7860") as client:
        yield client


@pytest.fixture
def picture(client) -> str:
    return client.post("/api/uploads", files={"file": ("me.png", png())}).json()[0]["id"]


def asked(picture: str, **script) -> dict:
    seed, sections = script.pop("seed", 1), script.pop("sections", 3)
    return {"image": picture, "seed": seed, "steps": 4, "seconds": sections * 1.2, "prompt": json.dumps(script)}


def test_a_request_becomes_a_video_that_can_be_fetched_in_ranges(client, picture, ended):
    answer = client.post("/api/jobs", json=asked(picture, seed=5))
    assert answer.status_code == 201, answer.text
    view = ended(client, answer.json()["id"])
    assert (view["status"], view["progress"]["fraction"]) == ("done", 1.0)
    data = expected(ask(seed=5))
    for address in (view["video"], view["outputs"][0]["url"]):
        whole = client.get(address)
        assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "video/mp4", data)
        assert "sandbox" in whole.headers["content-security-policy"]
        part = client.get(address, headers={"range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, data[100:200])
    small = client.get(view["picture"])
    assert Image.open(io.BytesIO(small.content)).size == (40, 30)


def test_the_request_that_is_shown_can_be_submitted_again_and_tells_no_path(client, picture, service):
    first = client.post("/api/jobs", json=asked(picture)).json()
    assert str(service.folders.outputs) not in json.dumps(first)
    assert first["request"]["image"] == picture
    again = client.post("/api/jobs", json=first["request"])
    assert again.status_code == 201
    assert again.json()["request"] == first["request"]


def test_a_form_brings_its_pictures_along(client):
    request = {"end_frame": {"image": "part:last"}, "seconds": 1.2, "prompt": "{}"}
    files = {"image": ("a.png", png()), "last": ("b.png", png(20, 20))}
    answer = client.post("/api/jobs", data={"request": json.dumps(request)}, files=files)
    assert answer.status_code == 201, answer.text
    stored = answer.json()["request"]
    assert stored["image"] != stored["end_frame"]["image"]
    assert stored["image"].endswith(".png")
    missing = client.post("/api/jobs", data={"request": json.dumps({"image": "part:other"})}, files=files)
    assert (missing.status_code, missing.json()["error"]) == (400, "the form has no file called 'other'")


@pytest.mark.parametrize(
    ("texts", "files", "said"),
    [
        (
            {"prompt": "a walk"},
            ["image"],
            "the form's field 'prompt' is not known; settings go into `request`, as JSON",
        ),
        ({}, ["image", "end"], "the request does not use the file 'end': write \"part:end\" there"),
        ({}, ["image", "image"], "the form has two files in one field: give each a field of its own"),
    ],
)
def test_what_a_form_brings_and_nobody_would_use_is_refused(client, texts, files, said):
    sent = [(name, ("a.png", png())) for name in files]
    answer = client.post("/api/jobs", data={"request": '{"seconds": 1.2}', **texts}, files=sent)
    assert (answer.status_code, answer.json()["error"]) == (400, said)


def test_a_parameter_of_the_address_that_nobody_reads_is_refused(client, picture):
    answer = client.post("/api/jobs?preserve=6", json=asked(picture))
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "'preserve' in the address is not known; there are preserve_gb",
    )
    assert client.get("/api/jobs?statsu=done").status_code == 422
    assert client.get("/api/jobs?status=done&limit=3").status_code == 200


def test_a_batch_is_a_grid_over_requests(client, picture, service):
    batch = {"requests": [asked(picture, sections=1)], "grid": {"seed": [1, 2], "output.crf": [16, 20]}}
    views = client.post("/api/batches", json=batch).json()
    assert [view["label"] for view in views] == [
        "seed=1 output.crf=16",
        "seed=1 output.crf=20",
        "seed=2 output.crf=16",
        "seed=2 output.crf=20",
    ]
    listed = client.get("/api/jobs", params={"batch": views[0]["batch"]}).json()
    assert {view["id"] for view in listed} == {view["id"] for view in views}
    bad = client.post("/api/batches", json={**batch, "grid": {"steps": [1, 0]}})
    assert (bad.status_code, bad.json()["error"]) == (
        422,
        "request 1, steps=0: steps must be 1..200, got 0",
    )
    assert len(client.get("/api/jobs", params={"batch": views[0]["batch"]}).json()) == 4


def test_a_form_that_is_refused_leaves_no_picture(service, client):
    before = set(service.folders.uploads.iterdir())
    refused = client.post("/api/jobs", data={"request": '{"steps": 0}'}, files={"image": ("a.png", png())})
    assert refused.status_code == 422
    assert set(service.folders.uploads.iterdir()) == before


def test_jobs_are_steered(client, picture, ended):
    running = client.post("/api/jobs", json=asked(picture, sections=1000, pause=0.05)).json()["id"]
    waiting, last = (client.post("/api/jobs", json=asked(picture)).json()["id"] for _ in range(2))
    while client.get(f"/api/jobs/{running}").json()["status"] != "running":
        time.sleep(0.05)
    assert client.post(f"/api/jobs/{waiting}/pause").json()["status"] == "paused"
    refused = client.post(f"/api/jobs/{waiting}/stop")
    assert refused.status_code == 409
    assert "is paused" in refused.json()["error"]
    assert client.post(f"/api/jobs/{last}/move", json={"place": 1}).status_code == 200
    order = [view["id"] for view in client.get("/api/jobs").json() if view["id"] in (waiting, last)]
    assert order == [last, waiting]
    edited = client.put(f"/api/jobs/{last}", json={**asked(picture), "seed": 99})
    assert edited.json()["request"]["seed"] == 99
    assert client.delete(f"/api/jobs/{running}").status_code == 409
    told = client.post(f"/api/jobs/{running}/cancel").json()
    assert told["wish"] == "cancel" or told["status"] == "cancelled"
    assert ended(client, running)["status"] == "cancelled"
    assert client.post(f"/api/jobs/{waiting}/resume").json()["status"] in ("queued", "running", "done")
    for job in (last, waiting):
        assert ended(client, job)["status"] == "done"
    file = client.get(f"/api/jobs/{last}").json()["outputs"][0]["url"]
    assert client.delete(f"/api/jobs/{last}", params={"files": True}).status_code == 204
    assert client.get(f"/api/jobs/{last}").status_code == 404
    assert client.get(file).status_code == 404


def test_a_failed_job_shows_its_sentence_and_traceback_and_can_be_retried(client, picture, ended):
    job = client.post("/api/jobs", json=asked(picture, fail="error", section=1)).json()["id"]
    view = ended(client, job)
    assert (view["status"], view["reason"]) == ("failed", "the picture is too small; use a larger one")
    assert "misbehave" in view["traceback"]
    assert client.get("/api/jobs", params={"status": "failed"}).json()[0]["traceback"] is None
    assert client.post(f"/api/jobs/{job}/retry").status_code == 200
    assert ended(client, job)["status"] == "done"


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"steps": 0}, 422, "steps must be 1..200, got 0"),
        ({"stepz": 3}, 422, "there is no setting called stepz"),
        ({"image": 3}, 422, "image"),
        ({"image": "nothing.png"}, 400, "there is no upload or output called 'nothing.png'"),
        ({"output": {"path": "/tmp/x.mp4"}}, 400, "output.path is chosen by the service"),
        ({"loras": [{"file": "/etc/passwd"}]}, 400, "no LoRA called '/etc/passwd' here"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(client, picture, change, status, says):
    answer = client.post("/api/jobs", json={**asked(picture), **change})
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b'"x"', b"[" * 100_000, b"x" * 2_000_000])
def test_what_is_no_json_object_is_refused(client, body):
    answer = client.post("/api/jobs", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]


@pytest.mark.parametrize(("method", "address"), [("PUT", "/api/jobs/x"), ("POST", "/api/batches")])
def test_a_body_has_a_limit_wherever_there_is_one(client, method, address):
    answer = client.request(method, address, json={"image": "x" * 2**20})
    assert answer.status_code == 413
    assert answer.json()["error"]


def test_a_batch_has_a_limit_over_all_its_requests(client, picture, service):
    before = service.store.counts()
    batch = {"requests": [asked(picture)] * 3, "grid": {"seed": list(range(5000))}}
    answer = client.post("/api/batches", json=batch)
    assert (answer.status_code, "a batch may have 10000 jobs" in answer.json()["error"]) == (400, True)
    assert service.store.counts() == before


def test_a_batch_that_would_take_gigabytes_is_refused_before_it_unfolds(client, picture, service, monkeypatch):
    monkeypatch.setattr("framepack.jobs.batch.expand", lambda *_: pytest.fail("it unfolds"))
    before = service.store.counts()
    long = {**asked(picture), "prompts": [{"second": 0.1, "text": "long " * 1000}] * 190}
    answer = client.post("/api/batches", json={"requests": [long], "grid": {"seed": list(range(10_000))}})
    assert answer.status_code == 400
    assert "a batch may take 100 MB in the queue, this one would take about" in answer.json()["error"]
    assert service.store.counts() == before


def test_bodies_are_checked_off_the_event_loop(client, picture, monkeypatch):
    check, seen = submit.validated, []

    def checking(*arguments):
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        seen.append(arguments)
        return check(*arguments)

    for module in (submit, jobs, batches):
        monkeypatch.setattr(module, "validated", checking)
    waits = {**asked(picture, sections=1), "seed": 5}
    client.post("/api/jobs", json=asked(picture, sections=1000, pause=0.02))
    job = client.post("/api/jobs", json=waits).json()["id"]
    assert client.put(f"/api/jobs/{job}", json=waits).status_code == 200
    form = {"request": json.dumps({**waits, "image": {"rotate": 90}})}
    made = client.post("/api/jobs", data=form, files={"image": png()})
    assert (made.status_code, made.json()["request"]["image"]["rotate"]) == (201, 90)
    assert client.post("/api/batches", json={"requests": [waits]}).status_code == 201
    assert len(seen) == 5
    refused = client.post("/api/jobs", json={**waits, "loras": [{"file": "x"}] * 20_000})
    assert (refused.status_code, refused.json()["error"]) == (
        422,
        "loras may have 100 entries, got 20000: make it shorter",
    )
    for view in client.get("/api/jobs", params={"status": ["queued", "running"]}).json():
        client.post(f"/api/jobs/{view['id']}/cancel")


def test_unknown_jobs_and_routes_are_404_with_a_sentence(client):
    for address in ("/api/jobs/none", "/api/jobs/none/events", "/api/jobs/none/video", "/api/nothing", "/api/files/x"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert answer.json()["error"]


def test_events_begin_with_the_state_and_end_with_the_deletion(service, client, picture):
    job = client.post("/api/jobs", json=asked(picture, sections=2, pause=0.02)).json()["id"]
    with service.listen(job) as listener:
        first = listener.get(60)
        assert first.event is None
        assert first.job.id == job
        seen = [first]
        while seen[-1].job.status != "done":
            seen.append(listener.get(60))
        client.delete(f"/api/jobs/{job}")
        while not seen[-1].deleted:
            seen.append(listener.get(60))
    kinds = [type(news.event).__name__ for news in seen if news.event]
    assert kinds.count("SectionDone") == 2
    assert kinds[-1] == "Finished"


def test_health_models_and_openapi(client):
    health = client.get("/api/health").json()
    assert health["workers"][0]["name"] == "thread-0"
    assert health["disk"]["full"] is False
    models = {model["name"]: model for model in client.get("/api/models").json()}
    assert (models["mini"]["bundled"], models["mini"]["to_fetch"]) == (True, None)
    assert "to_fetch" in models["framepack"]
    assert models["mini"]["territories"] is None
    assert "does not apply in the European Union" in models["framepack"]["territories"]


def test_openapi_says_what_each_field_may_be_and_what_each_route_takes_and_answers(client):
    schema = client.get("/api/openapi.json").json()
    objects = schema["components"]["schemas"]
    for name in ("GenerationRequest", "OutputSettings", "Keyframe", "EndFrame", "TimedPrompt", "Lora", "Picture"):
        assert all(field.get("description") for field in objects[name]["properties"].values()), name
    steps = objects["GenerationRequest"]["properties"]["steps"]
    assert (steps["minimum"], steps["maximum"], steps["default"]) == (1, 200, 2)
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            said = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert said == {"$ref": "#/components/schemas/ErrorAnswer"}, path
            assert "422" not in operation["responses"]
    assert objects["ErrorAnswer"]["properties"].keys() == {"error"}
    for path in ("/api/uploads", "/api/loras", "/api/jobs"):
        form = schema["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert [field for field in form["properties"].values() if field.get("format") == "binary"], path


def test_the_api_is_described_on_a_page_that_loads_nothing(client):
    answer = client.get("/api/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for words in ("POST /api/jobs/{job}/move", 'id="GenerationRequest"', "integer 1..200", "multipart/form-data"):
        assert words in answer.text
    assert "<script" not in answer.text
    assert "http" not in answer.text.replace("HTTP", "")


def test_a_locked_queue_is_a_sentence_and_health_answers(client, service):
    other = sqlite3.connect(service.folders.queue, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    answer = client.get("/api/jobs")
    assert answer.status_code == 503
    assert "another program has locked queue.sqlite" in answer.json()["error"]
    assert "another program has locked" in client.get("/api/health").json()["queue"]["trouble"]
    other.execute("ROLLBACK")
    other.close()
    assert client.get("/api/jobs").status_code == 200


def test_what_a_body_says_twice_or_in_vain_is_refused(client):
    upload = client.post("/api/uploads", files={"file": png()}).json()[0]["id"]
    client.put("/api/presets/b", json={"steps": 3})
    json_type = {"content-type": "application/json"}
    twice = [
        ("/api/jobs", b'{"image": "x.png", "seed": 1, "seed": 2}'),
        ("/api/presets/b/rename", b'{"name": "c", "name": "d"}'),
        ("/api/import/presets", b'{"c": {}, "c": {}}'),
    ]
    for path, body in twice:
        answer = client.post(path, content=body, headers=json_type)
        assert answer.status_code == 400, answer.text
        assert "is given twice" in answer.json()["error"]
    answer = client.post("/api/presets/b/rename", content='{"name": "ü"}'.encode("latin-1"), headers=json_type)
    assert (answer.status_code, answer.json()["error"]) == (400, "the body is not text in UTF-8: send it as UTF-8")
    answer = client.post("/api/jobs", data={"request": json.dumps({"image": upload})}, files={"image": png()})
    assert (answer.status_code, answer.json()["error"][:43]) == (400, "the request does not use the file 'image': ")
    parts = [("request", (None, "{}")), ("request", (None, "{}")), ("image", png())]
    answer = client.post("/api/jobs", files=parts)
    assert (answer.status_code, answer.json()["error"]) == (400, "the form has 'request' twice: keep one")


@pytest.mark.parametrize(
    "address",
    [
        "health",
        "models",
        "files",
        "events",
        "loras",
        "presets",
        "batches",
        "jobs/x/inspect",
        "jobs/x/picture",
        "jobs/x/video",
    ],
)
def test_what_stands_in_an_address_in_vain_or_twice_is_refused_everywhere(client, address):
    answer = client.get(f"/api/{address}?nonsense=1")
    assert answer.status_code == 422
    assert "nonsense" in answer.json()["error"]


def test_a_word_in_an_address_stands_there_once_unless_several_are_meant(client):
    assert "twice" in client.get("/api/jobs?limit=1&limit=2").json()["error"]
    assert client.get("/api/jobs?status=done&status=failed").status_code == 200


def test_a_value_of_the_wrong_kind_is_reported_in_plain_words(client, picture):
    plain = {
        "frames": ("x", "a list"),
        "steps": (2.5, "a whole number"),
        "image": ([], "an object"),
        "prompt": (3, "a text"),
    }
    for name, (value, says) in plain.items():
        answer = client.post("/api/jobs", json={**asked(picture), name: value})
        assert 400 <= answer.status_code < 500
        assert f"{name} must be {says}" in answer.json()["error"], answer.text
