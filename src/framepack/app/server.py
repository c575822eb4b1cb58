"""Runs the service behind an HTTP server. Says who may reach it, and refuses to be open by accident."""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from framepack.app.api import make_app
from framepack.app.api.guard import Access, is_loopback
from framepack.app.service import Service
from framepack.app.ui import mount_page
from framepack.jobs.folders import Folders
from framepack.jobs.pool import Crew

GRACE = 2
"""Seconds open connections, such as event streams, have when the server ends."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen, and the options that say who may come in."""

    host: str = "127.0.0.1"
    port: int = 7860
    auth: str | None = None
    i_know: bool = False
    allow_host: tuple[str, ...] = ()


def access_of(address: Address) -> Access:
    """Who is let in; ValueError where that would be everyone and nobody said they know."""
    login = login_of(address.auth) if address.auth else None
    local = is_loopback(address.host)
    if not local and login is None and not address.i_know:
        raise ValueError(
            f"{address.host} can be reached from other machines; "
            "add --auth USER:PASSWORD, or --i-know to let everyone in"
        )
    names = {address.host.strip("[]"), *address.allow_host, *(() if local else (socket.gethostname(),))}
    return Access(hosts=Access().hosts | {name.lower() for name in names}, login=login, addresses=not local)


def login_of(auth: str) -> str:
    """USER:PASSWORD as given, or from a file."""
    login = Path(auth[1:]).read_text(encoding="utf-8").strip() if auth.startswith("@") else auth
    user, colon, password = login.partition(":")
    if not user or not colon or not password:
        raise ValueError("--auth is USER:PASSWORD, or @FILE with that in it")
    return login


def run_server(
    folders: Folders, crew: Crew, address: Address, say: Callable[[str], None], *, page: bool = True
) -> None:
    """Serve until Ctrl-C or a signal to end; `page` tells whether there is more than the HTTP API."""
    access = access_of(address)
    with listening(address) as listener, ending_by_signal(), Service(folders, crew) as service:
        app = make_app(service, access)
        if page:
            mount_page(app, service, folders.home / "presets")
        config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=GRACE)
        host = f"[{address.host}]" if ":" in address.host else address.host
        say(f"FramePack serves http://{host}:{listener.getsockname()[1]}; Ctrl-C ends it")
        say(f"videos are in {folders.outputs}")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def listening(address: Address) -> socket.socket:
    """The socket to serve on; ValueError where the address or port cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host.strip("[]"), address.port), family=family)
    except OSError as error:
        why = error.strerror or str(error)
        raise ValueError(f"cannot listen on {address.host} port {address.port} ({why}); try another --port") from error


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """Let SIGTERM, with which systems end services, give running jobs back as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
