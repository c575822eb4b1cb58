"""Runs the service behind an HTTP server. Says who may reach it, and refuses to be open by accident."""

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvicorn

from framepack.app.api import make_app
from framepack.app.api.guard import Access, is_loopback
from framepack.app.service.job_service import Service
from framepack.app.ui import mount_page
from framepack.jobs.folders import Folders
from framepack.jobs.pool import PoolConfig

GRACE = 2
"""Seconds open connections, such as downloads, have when the server ends."""
LOOK = 0.5
"""Seconds between looks whether the server has ended by itself."""
LAST = 9.0
"""Seconds after a signal after which the process ends, whatever it is doing."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen, and the options that say who may come in."""

    host: str = "127.0.0.1"
    port: int = 7860
    login: str | None = None
    """USER:PASSWORD."""
    i_know: bool = False
    allow_host: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies; only these are believed when they say who asks through them."""

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def access_of(address: Address) -> Access:
    """Who is let in; ValueError where that would be everyone and nobody said they know."""
    local = address.local
    if not address.host.strip():
        raise ValueError(
            "--host is not an address: use 127.0.0.1 for this machine alone, or 0.0.0.0 for all others too"
        )
    if not local and address.login is None and not address.i_know:
        raise ValueError(
            f"{address.host} can be reached from other machines; "
            "add --password-file FILE (- asks for it), or --i-know to let everyone in"
        )
    names = {address.host.strip("[]"), *address.allow_host, *(() if local else (socket.gethostname(),))}
    return Access(hosts=Access().hosts | {name.lower() for name in names}, login=address.login, addresses=not local)


def run_server(
    folders: Folders, workers: PoolConfig, address: Address, say: Callable[[str], None], *, page: bool = True
) -> None:
    """Serve until Ctrl-C or a signal to end; page: whether there is more than the HTTP API."""
    access = access_of(address)
    with listening(address) as listener, ending_by_signal(), Service(folders, workers) as service:
        app = make_app(service, access)
        if page:
            mount_page(app, service, folders.home / "presets")
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=GRACE,
            proxy_headers=bool(address.proxies),
            forwarded_allow_ips=list(address.proxies),
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
        )
        host = f"[{address.host}]" if ":" in address.host else address.host
        scheme = "https" if address.certificate else "http"
        say(f"FramePack serves {scheme}://{host}:{listener.getsockname()[1]}; Ctrl-C ends it")
        say(f"videos are in {folders.outputs}")
        with suppress(KeyboardInterrupt):
            serve_beside(uvicorn.Server(config), listener)


def serve_beside(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run the server on a thread of its own, so that a signal is heard and the rest can end whatever it is doing."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(LOOK)
        if not server.started:
            sys.exit("the HTTP server could not start; see its output above")
    finally:
        server.should_exit = True
        thread.join(GRACE + LOOK)


def listening(address: Address) -> socket.socket:
    """The socket to serve on; ValueError where the address or port cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host.strip("[]"), address.port), family=family)
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ValueError(
                f"this machine has no address {address.host} ({why}): use 127.0.0.1 for this machine alone, or 0.0.0.0"
            ) from error
        raise ValueError(f"cannot listen on {address.host} port {address.port} ({why}); try another --port") from error


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """Let SIGTERM, with which systems end services, give running jobs back as Ctrl-C does.

    From the first signal on everything has a few seconds to end; further ones change nothing.
    """
    asked, ended = threading.Event(), threading.Event()

    def hear(number: int, _: object) -> None:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(0)

    def insist() -> None:
        asked.wait()
        if not ended.wait(LAST):
            end_by_force()

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    threading.Thread(target=insist, name="insist", daemon=True).start()
    try:
        yield
    finally:
        if not asked.is_set():
            ended.set()
            asked.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def end_by_force() -> None:
    """End this process and all it has started. The next service takes back the jobs of one that was killed."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    sys.stderr.write(f"the service did not stop in {LAST:g} s and is killed; running jobs resume at the next start\n")
    sys.stderr.flush()
    os._exit(0)
