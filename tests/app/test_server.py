"""The real server on a real socket: events as they happen, an end by signal, a taken port."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from PIL import Image

from framepack.app.server import Address, listening
from framepack.jobs.store import JobStore

SERVER = """
import sys
from pathlib import Path
from framepack.app.server import Address
from framepack.app.server import run_server
from framepack.app.service.job_service import folders_at
from framepack.jobs.pool import PoolConfig
config, folders = PoolConfig(target="fake_generator:make"), folders_at(Path(sys.argv[1]), reserve=0)
run_server(folders, config, Address(port=0{more}), lambda text: print(text, flush=True), page=False)
"""


@contextmanager
def serving(folder: Path, before: str = "", more: str = ""):
    path = [str(Path(__file__).parents[1] / "jobs"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-c", before + SERVER.replace("{more}", more), str(folder / "outputs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    first = process.stdout.readline()
    process.address = first.split()[2].rstrip(";")
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def server(tmp_path: Path):
    with serving(tmp_path) as process:
        yield process


def submit(http: httpx2.Client, folder: Path, **script) -> str:
    file = folder / "p.png"
    Image.new("RGB", (32, 32)).save(file)
    request = {"prompt": json.dumps(script), "seconds": 1.2 * script.get("sections", 2), "steps": 3}
    with file.open("rb") as data:
        answer = http.post("/api/jobs", data={"request": json.dumps(request)}, files={"image": data})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_events_stream_as_they_happen_to_every_listener(server, tmp_path):
    seen: list[list[tuple[str, dict]]] = [[], [], []]
    hear = threading.Barrier(len(seen) + 1, timeout=120)

    def listen(job: str, into: list) -> None:
        with httpx2.stream("GET", f"{server.address}/api/jobs/{job}/events", timeout=120) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    into.append((name, json.loads(line[6:])))
                    if len(into) == 1:
                        hear.wait()
                    if name == "job" and into[-1][1]["status"] == "done":
                        return

    with httpx2.Client(base_url=server.address, timeout=120) as http:
        before = submit(http, tmp_path, sections=1000, pause=0.05)
        job = submit(http, tmp_path, pause=0.05)
        listeners = [threading.Thread(target=listen, args=(job, into)) for into in seen]
        for listener in listeners:
            listener.start()
        hear.wait()
        http.post(f"/api/jobs/{before}/cancel")
        for listener in listeners:
            listener.join(240)
    for heard in seen:
        names = [name for name, _ in heard]
        assert names[0] == "job", "the state comes first"
        assert names.count("section") == 2
        assert "finished" in names
        assert heard[-1][1]["progress"]["fraction"] == 1.0
        steps = [data for name, data in heard if name == "step"]
        assert "preview" not in steps[0]["event"]
        assert steps[-1]["progress"]["steps"] == 3


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_running_jobs_back_and_ends_the_workers(server, tmp_path, how):
    with httpx2.Client(base_url=server.address, timeout=120) as http:
        job = submit(http, tmp_path, sections=1000, pause=0.05)
        while http.get(f"/api/jobs/{job}").json()["progress"]["step"] == 0:
            time.sleep(0.05)
    server.send_signal(how)
    assert server.wait(120) in (0, -how, 128 + how)
    store = JobStore(tmp_path / "outputs" / ".framepack" / "queue.sqlite")
    assert (store.get(job).status, store.get(job).crash_count) == ("queued", 0)
    store.close()


STUCK = """
import time
from framepack.app.service.job_service import Service
Service.health = lambda self: time.sleep(3600)
Service.close = lambda self, close=Service.close: (close(self), time.sleep({closing}))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("closing", [0, pytest.param(3600, marks=pytest.mark.proof)])
def test_the_server_ends_within_ten_seconds_whatever_it_is_doing(tmp_path, closing):
    """A worker in a step of an hour, listeners, a form half sent, handlers that never return."""
    with serving(tmp_path, STUCK.format(closing=closing)) as server, httpx2.Client(timeout=120) as http:
        http.base_url = server.address
        job = submit(http, tmp_path, steps=1, pause=3600)
        while http.get(f"/api/jobs/{job}").json()["status"] != "running":
            time.sleep(0.05)
        host, port = server.address.removeprefix("http://").split(":")
        gets = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in ("/api/health", "/api/events") * 5]
        half = "POST /api/uploads HTTP/1.1\r\nHost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\n"
        sockets = [socket.create_connection((host, int(port))) for _ in range(len(gets) + 1)]
        for connection, text in zip(sockets, [*gets, f"{half}content-length: 1000\r\n\r\n--x\r\n"], strict=True):
            connection.sendall(text.encode())
        time.sleep(1)
        workers = psutil.Process(server.pid).children(recursive=True)
        began = time.monotonic()
        server.terminate()
        assert server.wait(60) == 0
        assert time.monotonic() - began < 10
        assert workers
        assert psutil.wait_procs(workers, 5)[1] == []
        for connection in sockets:
            connection.close()
    store = JobStore(tmp_path / "outputs" / ".framepack" / "queue.sqlite")
    assert store.claims.recover() == [] or store.get(job).crash_count == 0
    assert (store.get(job).status, store.get(job).crash_count) == ("queued", 0)
    store.close()


def test_a_taken_port_is_reported_in_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen on 127.0.0.1 port {port} .*try another --port"):
            listening(Address(port=port))


def test_a_service_with_a_certificate_is_reached_by_https_and_says_so(certified, tmp_path: Path) -> None:
    certificate, key = certified("mine")
    with serving(tmp_path, more=f", certificate=Path({str(certificate)!r}), key=Path({str(key)!r})") as server:
        assert server.address.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=certificate)
        with httpx2.Client(verify=trusted, timeout=60) as http:
            assert http.get(f"{server.address}/api/health").status_code == 200
        with httpx2.Client(timeout=60) as http, pytest.raises(httpx2.HTTPError):
            http.get(server.address.replace("https", "http") + "/api/health")


def test_a_stranger_cannot_name_another_address_unless_a_proxy_was_named(tmp_path: Path) -> None:
    """X-Forwarded-For is believed of named proxies only: who sets it could else guess without waiting."""
    for more, locked in (("", True), (", proxies=('127.0.0.1',)", False)):
        with serving(tmp_path, more=", login='me:secret'" + more) as server, httpx2.Client(timeout=60) as http:
            for tried in range(8):
                headers = {"x-forwarded-for": f"10.0.0.{tried}"}
                answer = http.get(f"{server.address}/api/health", headers=headers, auth=("me", str(tried)))
            assert answer.status_code == (429 if locked else 401)
