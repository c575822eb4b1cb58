"""Who may talk to the service: known hosts, its own pages, and where asked for, those with the password.

A page of another site can make a browser call a service on this machine. Its requests carry a foreign Origin or
Sec-Fetch-Site, or, after rebinding a name to 127.0.0.1, a foreign Host. All of these are refused before anything else
happens. Plain ASGI, so that streams pass untouched. Source: the Fetch standard and MDN on Sec-Fetch-Site.
"""

import base64
import binascii
import hmac
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from framepack.app.api.attempts import Attempts

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_MOST = 2**22
"""Bytes of a body that is no form with files: the page's own, with its presets, have some 100 kB."""
FOR_FILES = ("/api/uploads", "/api/loras", "/api/jobs", "/api/storyboards", "/api/finishings")
"""Where forms with files go, which are written to disk as they come."""
OWN_LIMIT = ("/api/timelines",)
"""Whose bodies are no JSON and counted where they are read, to a limit of their own."""
SHOWN = re.compile("/api/files/[^/]+|/api/jobs/[^/]+/video")
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""For answers that say none of their own: they are data, which a browser need not load anything for."""
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


@dataclass(frozen=True, kw_only=True)
class Access:
    """What is let in. `hosts` are names without a port; `login` is USER:PASSWORD or None."""

    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    login: str | None = None
    addresses: bool = False
    """Let in whoever names the service by an IP address: no name that could be rebound is involved."""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


class Refusal(NamedTuple):
    """A status and a sentence; `wait`: seconds after which asking again makes sense."""

    status: int
    sentence: str
    wait: int = 0


class Guard:
    """Wraps an application."""

    def __init__(self, app: App, access: Access, attempts: Attempts | None = None) -> None:
        self._app, self._access = app, access
        self._attempts = attempts or Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through or answer with a refusal."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, form = scope.get("path", ""), headers.get("content-type", "").lower().startswith("multipart/")
        counted = path in OWN_LIMIT or (form and path in FOR_FILES)
        refusal = self._refusal(scope, headers) or (None if counted else too_large(headers))
        if refusal is None:
            return await self._app(scope, receive if counted else counting(receive), with_headers(send))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence})
        return await answer(send, *refusal)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        host = headers.get("host", "")
        if not self._knows_host(host_name(host)):
            return Refusal(
                403, f"this service does not answer to the name {host[:100]!r}; start it with --allow-host to let it"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return Refusal(403, "requests from other sites are refused")
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if elsewhere and not looking(scope, headers):
            return Refusal(403, "requests from other sites are refused")
        return (
            self._stranger(scope, headers.get("authorization", ""), self._access.login) if self._access.login else None
        )

    def _stranger(self, scope: Scope, given: str, login: str) -> Refusal | None:
        """A refusal of who does not have the login, or has to wait after wrong ones."""
        address = str((scope.get("client") or ("unknown",))[0])
        if wait := self._attempts.wait(address):
            return Refusal(429, f"too many wrong passwords from your address: try again in {wait} s", wait)
        if knows(given, login):
            self._attempts.right(address)
            return None
        if given:
            self._attempts.wrong(address, given)
        return Refusal(401, "a name and password are needed")

    def _knows_host(self, name: str) -> bool:
        return name in self._access.hosts or (self._access.addresses and is_address(name))


def looking(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether someone follows a link to what can be looked at as it is: the page, a video that is there.

    A link from another site must not begin any work, such as a video in another format or a decoded frame.
    """
    navigates = scope.get("method") == "GET" and headers.get("sec-fetch-mode") == "navigate"
    path = scope.get("path", "")
    return navigates and (path == "/" or (bool(SHOWN.fullmatch(path)) and not scope.get("query_string")))


def is_address(host: str) -> bool:
    """Whether a host is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_name(host: str) -> str:
    """A Host header's name without its port, `""` for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def knows(authorization: str, login: str) -> bool:
    """Whether a Basic Authorization header has the login, compared in constant time."""
    kind, _, credentials = authorization.partition(" ")
    try:
        given = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return False
    return kind.lower() == "basic" and hmac.compare_digest(given, login.encode())


def too_large(headers: dict[str, str]) -> Refusal | None:
    """A refusal of a body that announces more than any of ours has that is no form with files."""
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length[:20]) <= BODY_MOST:
        return None
    return Refusal(413, f"a request without files may have {BODY_MOST // 2**20} MB; send less")


def counting(receive: Receive) -> Receive:
    """A `receive` that raises ValueError where a body that announced no length has more than any of ours.

    It would else be held in memory and read as JSON on the event loop, where all others wait.
    """
    size = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_MOST:
            raise ValueError(f"a request without files may have {BODY_MOST // 2**20} MB; send less")
        return message

    return counted


def with_headers(send: Send) -> Send:
    """A `send` that adds the headers every answer has."""

    async def adding(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", [])}
            added = [pair for pair in (POLICY, *HEADERS) if pair[0] not in own]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return adding


async def answer(send: Send, status: int, sentence: str, wait: int = 0) -> None:
    """A refusal as JSON, see `Refusal`."""
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), POLICY, *HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="FramePack"'))
    if wait:
        headers.append((b"retry-after", str(wait).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
