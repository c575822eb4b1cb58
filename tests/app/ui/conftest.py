"""A real server with the page on it, a worker that paints, and a Chromium to look with. Skips where one is missing."""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.pool import PoolConfig
from framepack.media.video import VideoWriter

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WRONG = re.compile("js_on_load|Content Security Policy")
"""Of what the console says: a script of ours that failed, something that the page's own policy forbids."""
SLOW = 180_000
"""Milliseconds a page may take for anything; the machine may be busy."""


def open_service(folder: Path, pause: float = 0.02) -> Service:
    from fake_worker import TARGET

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    folders = folders_at(folder / "outputs", folder / "home", reserve=0)
    return Service(folders, PoolConfig(target=TARGET, workers=[{"pause": pause}]))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with open_service(tmp_path) as service:
        yield service


@pytest.fixture(scope="session")
def sun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fake_worker import paint

    file = tmp_path_factory.mktemp("pictures") / "sun.png"
    Image.fromarray(paint(0.3, (384, 256))).save(file)
    return file


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine frames of a sunset."""
    from fake_worker import paint

    file = tmp_path_factory.mktemp("videos") / "walk.mkv"
    with VideoWriter(file, size=(64, 64)) as writer:
        writer.write(np.stack([paint(at / 9, (64, 64)) for at in range(9)]))
    return file


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    folder = tmp_path_factory.mktemp("site")
    with open_service(folder, pause=0.08) as service, served(folder, service) as address:
        yield address, service


@pytest.fixture(scope="session")
def real_site(tmp_path_factory: pytest.TempPathFactory, tiny_models_dir: Path) -> Iterator[tuple[str, Service]]:
    """The same with the real pipeline on tiny random checkpoints."""
    folder = tmp_path_factory.mktemp("real-site")
    settings = {"models_dir": str(tiny_models_dir), "device": "cpu", "threads": 1, "offline": True}
    config = PoolConfig(target="framepack.app.service.worker_target:make_generator", workers=[settings])
    with Service(folders_at(folder / "outputs", reserve=0), config) as service, served(folder, service) as address:
        yield address, service


@contextmanager
def served(folder: Path, service: Service) -> Iterator[str]:
    """The page and the API of a service, at an address."""
    pytest.importorskip("gradio")
    import uvicorn

    from framepack.app.api import make_app
    from framepack.app.api.guard import Access
    from framepack.app.ui import mount_page

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        app = mount_page(make_app(service, Access()), service, service.folders.home / "presets")
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def refused(answer) -> bool:
    """Whether the page asked for something at an address that the API does not understand."""
    return answer.status == 422 and answer.request.method == "GET"


@pytest.fixture
def tab(browser, site) -> Iterator[Callable]:
    """Call it for a new tab on the page. Errors in any tab's scripts fail the test."""
    with tabs(browser, site[0]) as open_tab:
        yield open_tab


@pytest.fixture
def real_tab(browser, real_site) -> Iterator[Callable]:
    """The same on `real_site`."""
    with tabs(browser, real_site[0]) as open_tab:
        yield open_tab


@contextmanager
def tabs(browser, site: str) -> Iterator[Callable]:
    """Opens tabs; see `tab`."""
    errors: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(SLOW)

    def open_tab(address: str = "", **viewport: int):
        page = context.new_page()
        if viewport:
            page.set_viewport_size(viewport)  # type: ignore[arg-type]
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if WRONG.search(line.text) else None)
        page.on("response", lambda answer: errors.append(answer.url) if refused(answer) else None)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(f"{site}/{address}")
        page.wait_for_selector(".fp-drop")
        page.wait_for_selector(".fp-summary:not(:empty)")
        return page

    yield open_tab
    context.close()
    assert not errors, errors
