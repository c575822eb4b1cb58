"""What of Gradio the page needs, and nothing else: its files, the page itself, and calls of the page's own handlers.

Gradio brings some sixty more routes (uploads that answer with paths, files, proxies, queues, monitoring). All of them
are answered 404 here, before they are asked. What Gradio itself fails at came from values that no page of ours sends,
so that is a refusal too. Plain ASGI; stands between the application and Gradio, behind the guard.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from framepack.app.api.guard import App, Receive, Scope, Send, answer
from framepack.files.text import json_of

CALL = "/gradio_api/run/predict"
FILES = re.compile(r"/(theme\.css|favicon\.ico|(assets|static)/[\w./-]+)")
QUERY = {"/": {"job", "__theme"}, "/theme.css": {"v"}}
"""What may stand behind an address; Gradio never sees the rest (a `deep_link`, for one, names a file of its own)."""
STALE = "this is no call of the page that is served now: load the page again"
NOTHING = "there is nothing at this address; the page is at /, the HTTP API is described at /api/docs"
SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; object-src 'none'; frame-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Gradio compiles the page's handlers from text, which is eval; it writes styles into elements."""


class Call(BaseModel):
    """A call of a handler: what Gradio's page sends, less what ours has no use for."""

    model_config = ConfigDict(strict=True)

    fn_index: int
    data: list[Any]
    session_hash: str = Field(pattern=r"^[A-Za-z0-9]{1,64}$")
    trigger_id: int | None = None
    event_data: Any | None = None


class Gate:
    """Wraps Gradio's application. `inputs` is how many values each handler takes, by its number.

    `head` is what Gradio's scripts put into the page's head once it is there.
    """

    def __init__(self, app: App, inputs: Mapping[int, int], head: str) -> None:
        self._app, self._inputs, self._head = app, inputs, head.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through or answer with a refusal."""
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": NOTHING})
        path, method = scope["path"], scope["method"]
        if path == CALL and method == "POST":
            return await self._call(scope, receive, send)
        if (path != "/" and (not FILES.fullmatch(path) or ".." in path)) or method not in ("GET", "HEAD"):
            return await answer(send, 404, NOTHING)
        asked = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        known = urlencode([pair for pair in asked if pair[0] in QUERY.get(path, ())])
        answered = await self._answered({**scope, "query_string": known.encode()}, receive)
        if answered is None:
            return await answer(send, 404, NOTHING)
        start, body = answered
        if path == "/":
            start["headers"] = [*start["headers"], (b"content-security-policy", policy(body + self._head))]
        return await whole(send, start, body)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            call = Call.model_validate(json_of(body.decode()))
            sent = call.model_dump_json().encode()
        except ValidationError as error:
            wrong = ".".join(str(part) for part in error.errors()[0]["loc"])
            return await answer(send, 422, f"{wrong or 'the body'} is not what a call of the page has: load it again")
        except ValueError:
            return await answer(send, 400, "the body is not JSON in UTF-8; calls are for the page: load it again")
        if len(call.data) != self._inputs.get(call.fn_index, -1):
            return await answer(send, 422, STALE)
        headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"content-type")]
        headers += [(b"content-length", str(len(sent)).encode()), (b"content-type", b"application/json")]
        answered = await self._answered({**scope, "headers": headers, "query_string": b""}, replayed(sent, receive))
        return await (whole(send, *answered) if answered else answer(send, 422, STALE))

    async def _answered(self, scope: Scope, receive: Receive) -> tuple[dict[str, Any], bytes] | None:
        """Gradio's whole answer, None where it has none."""
        starts: list[dict[str, Any]] = []
        body = bytearray()

        async def keep(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                starts.append(dict(message))
            body.extend(message.get("body", b""))

        try:
            await self._app(scope, receive, keep)
        except Exception as error:
            logging.getLogger("framepack").warning("%s %s", scope["method"], scope["path"], exc_info=error)
            return None
        return (starts[0], bytes(body)) if starts and starts[0]["status"] < 400 else None


def policy(page: bytes) -> bytes:
    """The page's content security policy: of scripts inside it, those that are in it now, and no handlers in tags."""
    sums = {hashlib.sha256(script).digest() for script in SCRIPT.findall(page)}
    scripts = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in sorted(sums))
    return POLICY.format(scripts=scripts).encode()


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that has been read, then goes on with the real one."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return left.pop() if left else await receive()

    return again


async def whole(send: Send, start: dict[str, Any], body: bytes) -> None:
    """Send an answer in one piece."""
    await send(start)
    await send({"type": "http.response.body", "body": body})
