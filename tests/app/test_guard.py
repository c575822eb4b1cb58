"""Who may talk to the service."""

import base64

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from framepack.app.api.guard import BODY_MOST, Access, Guard, host_name
from framepack.app.server import Address, access_of


def client_of(access: Access, host: str = "localhost:7860") -> TestClient:
    async def page(request):
        await request.body()
        return PlainTextResponse("hello")

    async def talk(socket):
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    routes = [
        Route("/", page, methods=["GET", "POST"]),
        Route("/api/jobs", page, methods=["POST"]),
        Route("/api/storyboards", page, methods=["POST"]),
        WebSocketRoute("/talk", talk),
    ]
    return TestClient(Guard(Starlette(routes=routes), access), base_url=f"http://{host}")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:7860", "[::1]:7860", "LOCALHOST:1"])
def test_its_own_names_are_let_in(host):
    answer = client_of(Access()).get("/", headers={"host": host})
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY", "no page of another site lays itself over ours"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "192.168.1.5:7860",
        "",
        "localhost@evil.example",
        "[::1",
        "evil.example#localhost",
        "localhost evil",
    ],
)
def test_other_names_are_refused_as_a_rebound_one_would_be(host):
    answer = client_of(Access()).get("/", headers={"host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"origin": "http://localhost:7860.evil.example"},
        {"origin": "http://evil.example@localhost:7860"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "http://localhost:7860"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_are_refused(headers, method):
    assert client_of(Access()).request(method, "/", headers=headers).status_code == 403


def test_its_own_page_and_a_link_to_it_are_let_in():
    client = client_of(Access())
    assert client.post("/", headers={"origin": "http://localhost:7860", "sec-fetch-site": "same-origin"}).is_success
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).is_success
    assert client.post("/", headers=link).status_code == 403


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/", 200),
        ("/?job=12", 200),
        ("/api/files/v.mp4", 200),
        ("/api/jobs/12/video", 200),
        ("/api/jobs/12/video?format=webm", 403),
        ("/api/jobs/12/frames/7", 403),
        ("/api/jobs/12/inspect", 403),
        ("/api/uploads/x.png/edited?edits={}", 403),
        ("/api/health", 403),
        ("/api/files/../jobs", 403),
    ],
)
def test_a_link_from_another_site_looks_and_begins_no_work(address, status):
    guarded = Guard(Starlette(routes=[Route("/{rest:path}", lambda _: PlainTextResponse("hello"))]), Access())
    client = TestClient(guarded, base_url="http://localhost")
    link = {"sec-fetch-mode": "navigate"}
    for site in ("cross-site", "same-site"):
        assert client.get(address, headers={**link, "sec-fetch-site": site}).status_code == status
    for site in ("same-origin", "none"):
        assert client.get(address, headers={**link, "sec-fetch-site": site}).status_code == 200
    assert client.get(address).status_code == 200


FORM = {"content-type": "multipart/form-data; boundary=x"}


def test_a_large_body_is_refused_unless_it_is_a_form_where_files_go():
    client, large = client_of(Access()), b"x" * (BODY_MOST + 1)
    assert client.post("/", content=large[1:]).status_code == 200
    for headers in ({}, FORM, {"content-type": "application/json"}):
        answer = client.post("/", content=large, headers=headers)
        assert (answer.status_code, "may have 4 MB" in answer.json()["error"]) == (413, True)
    assert client.post("/api/jobs", content=large).status_code == 413
    for where in ("/api/jobs", "/api/storyboards"):
        assert client.post(where, content=large, headers=FORM).status_code == 200, where
    with pytest.raises(ValueError, match="may have 4 MB"):
        client.post("/", content=iter([large[1:], b"xx"]))


def test_websockets_are_guarded_too():
    client = client_of(Access())
    with client.websocket_connect("/talk", headers={"host": "localhost:7860"}) as socket:
        assert socket.receive_text() == "hello"
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/talk", headers={"origin": "http://evil.example"}),
    ):
        pass


@pytest.mark.parametrize("given", ["", "Basic", "Basic !!", "Bearer x", "me:wrong", "me:secre", "me:secrets", "é:ü"])
def test_a_password_is_asked_for_where_there_is_one(given):
    client = client_of(Access(login="me:secret"))
    header = f"Basic {base64.b64encode(given.encode()).decode()}" if ":" in given else given
    answer = client.get("/", headers={"authorization": header})
    assert answer.status_code == 401
    assert "Basic" in answer.headers["www-authenticate"]
    assert client.get("/", auth=("me", "secret")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_an_open_address_needs_a_password_or_a_word(host):
    with pytest.raises(ValueError, match=r"add --password-file FILE \(- asks for it\), or --i-know"):
        access_of(Address(host=host))
    assert access_of(Address(host=host, login="me:secret")).login == "me:secret"
    assert access_of(Address(host=host, i_know=True)).login is None


def test_an_empty_address_is_refused():
    with pytest.raises(ValueError, match="--host is not an address: use"):
        access_of(Address(host="", i_know=True))


def test_an_open_address_still_knows_no_foreign_names():
    access = access_of(Address(host="0.0.0.0", i_know=True, allow_host=("studio.lan",)))
    client = client_of(access)
    for host, status in (("192.168.1.5:7860", 200), ("studio.lan", 200), ("evil.example", 403)):
        assert client.get("/", headers={"host": host}).status_code == status


def test_host_names_lose_their_port():
    assert [host_name(host) for host in ("a:1", "[::1]:2", "a", "[x")] == ["a", "::1", "a", ""]
