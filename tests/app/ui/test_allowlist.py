"""What of Gradio is reachable: the page, its files, its handlers' calls; everything else is refused in a sentence."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio")
from fastapi.testclient import TestClient

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.service.job_service import Service, folders_at
from framepack.app.ui import mount_page
from framepack.app.ui.page import IDLE, TABS
from framepack.jobs.pool import PoolConfig

CALL = "/gradio_api/run/predict"
HASH = "abcdefghij"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("gate")
    with (
        pytest.MonkeyPatch.context() as patch,
        Service(folders_at(folder / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service,
    ):
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        app = mount_page(make_app(service, Access()), service, folder / "presets")
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
            yield client


def gradio_of(client: TestClient):
    """Gradio's own application, behind the gate."""
    return client.app.routes[-1].app._app


def sentence_of(answer) -> str:
    said = answer.json()
    assert set(said) == {"error"}, said
    assert 0 < len(said["error"]) <= 300
    assert "\n" not in said["error"]
    return said["error"]


def call(**more) -> dict:
    return {"fn_index": 0, "data": [], "session_hash": HASH, **more}


def handlers(client: TestClient) -> dict:
    return gradio_of(client).get_blocks().fns


def test_gradios_queue_sleeps_as_nothing_is_ever_in_it(client: TestClient) -> None:
    import gradio

    with gradio.Blocks() as plain:
        pass
    assert plain._queue.sleep_when_free < IDLE, "what is set is what Gradio reads"
    assert gradio_of(client).get_blocks()._queue.sleep_when_free == IDLE
    assert not any(handler.queue for handler in handlers(client).values() if handler.api_visibility == "private")


def test_the_page_its_files_and_its_calls_are_there(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    for address in ("/?job=12&__theme=dark", "/theme.css?v=1", "/favicon.ico", "/assets/" + asset(page.text)):
        assert client.get(address).status_code == 200, address
    assert client.get("/gradio_api/app_id").json()["app_id"], "by it a page sees that its server is another one"
    number, handler = next((n, f) for n, f in handlers(client).items() if f.name == "mode_update")
    answer = client.post(CALL, json=call(fn_index=number, data=["custom", "mini"][: len(handler.inputs)]))
    assert answer.status_code == 200, answer.text


def asset(page: str) -> str:
    return page.split('src="./assets/')[1].split('"')[0]


def test_every_other_route_of_gradio_is_not_there(client: TestClient) -> None:
    """All of its routes, with what an address may have put in, by all methods it knows."""
    needed = {"/", "/gradio_api/app_id", "/theme.css", "/favicon.ico", "/assets/{path:path}", "/static/{path:path}"}
    asked = 0
    for route in routes_of(gradio_of(client)):
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            if route.path in needed and method in ("GET", "HEAD"):
                continue
            path = route.path
            for name in getattr(route, "param_convertors", {}):
                path = path.replace(f"{{{name}}}", "1").replace(f"{{{name}:path}}", "etc/passwd")
            answer = client.request(method, path, content=b"{}", headers={"content-type": "application/json"})
            if path == "/gradio_api/run/1":
                path = CALL
            assert answer.status_code == 404, (method, path, answer.status_code)
            asked += 1
    assert asked > 60


def routes_of(app):
    found = []
    for route in app.routes:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        found += [route] if inner is None else list(inner)
    return [route for route in found if hasattr(route, "path")]


def test_gradios_upload_is_closed(client: TestClient, tmp_path: Path) -> None:
    for address in ("/gradio_api/upload", "/upload", "/gradio_api/upload?upload_id=1"):
        answer = client.post(address, files={"files": ("evil.html", b"<script>")})
        assert answer.status_code == 404
        assert sentence_of(answer)


ODD = [
    b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"{}" * 2, b"[" * 100_000, b'{"data": 1e999}',
    b'{"fn_index": 0, "fn_index": 1}', b'"\\ud800"',
]  # fmt: skip
WRONG = [
    {"fn_index": None}, {"fn_index": "0"}, {"fn_index": -1}, {"fn_index": 10**30}, {"fn_index": True},
    {"fn_index": 12345}, {"data": None}, {"data": {}}, {"data": [1] * 1000}, {"session_hash": None},
    {"session_hash": ""}, {"session_hash": "x" * 1000}, {"session_hash": {}}, {"session_hash": "../../etc"},
    {"trigger_id": "x"}, {"trigger_id": 10**40}, {"event_data": "\ud800"},
]  # fmt: skip


@pytest.mark.parametrize("body", ODD)
def test_bodies_that_are_no_call_are_refused(client: TestClient, body: bytes) -> None:
    for address in (CALL, "/gradio_api/queue/join", "/gradio_api/call/x", "/gradio_api/call/v2/x", "/login", "/config"):
        answer = client.post(address, content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, (address, answer.status_code)
        assert sentence_of(answer)


@pytest.mark.parametrize("more", WRONG, ids=lambda more: repr(more)[:30])
def test_calls_of_odd_parts_are_refused(client: TestClient, more: dict) -> None:
    answer = client.post(CALL, content=json.dumps(call(**more)), headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert sentence_of(answer)


VALUES = [
    None, [], {}, "x", -1, 1e308, True, [[]], "\x00", "x" * 10_000, {"path": "/etc/passwd"},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, {"__type__": "update"}, {"do": {}, "id": []},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_no_value_makes_a_handler_break_or_hand_out_a_file(client: TestClient, value: object) -> None:
    for number, handler in handlers(client).items():
        body = call(fn_index=number, data=[value] * len(handler.inputs), event_data=value)
        answer = client.post(CALL, json=body)
        assert answer.status_code < 500, (handler.name, answer.text)
        assert "root:x:" not in answer.text
        if answer.status_code >= 400:
            assert sentence_of(answer)


@pytest.mark.parametrize(
    "address",
    [
        "/assets/", "/assets/x/../y", "/assets/%2e%2e/%2e%2e/routes.py", "/static/%00", "/static//etc/passwd",
        "/assets/" + "x" * 5000, "/?deep_link=../../x&job=1", "/?page=x", "/?__theme=%ff%00", "/theme.css?v=%zz",
        "/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://localhost:1/", "/%2e%2e/etc/passwd", "//etc/passwd",
        "/nothing",
    ],
)  # fmt: skip
def test_odd_addresses_are_refused_or_harmless(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code in (200, 404), answer.text
    assert "root:x:" not in answer.text
    assert answer.status_code == (200 if address.startswith(("/?", "/theme")) else 404)


def test_the_page_says_what_it_may_load_and_no_answer_says_nothing(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe-inline" not in scripts
    assert "http" not in policy
    packed = client.get("/", headers={"accept-encoding": "br"})  # which browsers say by https
    assert packed.headers["content-security-policy"] == policy
    for address in ("/", "/theme.css", "/api/health", "/nothing", "/api/jobs/nothing"):
        headers = client.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers.get_list("content-security-policy")[0].endswith("frame-ancestors 'none'"), address
        assert len(headers.get_list("content-security-policy")) == 1


def test_invented_tabs_take_no_more_memory_than_some_hundred_real_ones(client: TestClient) -> None:
    holder = gradio_of(client).state_holder
    assert holder.capacity == TABS
    number = next(number for number, handler in handlers(client).items() if handler.name == "mode_update")
    for tab in range(TABS + 20):
        answer = client.post(CALL, json=call(fn_index=number, data=["custom", "mini"], session_hash=f"tab{tab}"))
        assert answer.status_code == 200
    assert len(holder.session_data) == len(holder.time_last_used) == TABS
