"""Lets through only what the page needs of Gradio: the page, its files, and calls of the page's own handlers.

Gradio has some sixty more routes (uploads that answer with paths, files, proxies, queues, monitoring). They get a 404
here and never reach Gradio. A call that Gradio fails at had values that our page never sends, so it is refused too.
Plain ASGI middleware between the application and Gradio, behind the guard.
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
FILES = re.compile(r"/(theme\.css|favicon\.ico|gradio_api/app_id|(assets|static)/[\w./-]+)")
"""By `app_id` a page whose server was gone sees that there is another one, and loads itself anew."""
QUERY = {"/": {"job", "__theme"}, "/theme.css": {"v"}}
"""Query parameters that Gradio gets. It never sees others (a `deep_link`, for one, names a file of Gradio's)."""
STALE = "this call is not one of the current page: reload the page"
NOT_FOUND = "there is nothing at this address; the page is at /, the HTTP API is described at /api/docs"
SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; object-src 'none'; frame-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Gradio compiles the page's handlers from text, which needs eval, and writes styles into elements."""


class Call(BaseModel):
    """A call of a handler, as Gradio's page sends it, without the parts that our page does not use."""

    model_config = ConfigDict(strict=True)

    fn_index: int
    data: list[Any]
    session_hash: str = Field(pattern=r"^[A-Za-z0-9]{1,64}$")
    trigger_id: int | None = None
    event_data: Any | None = None


class Allowlist:
    """Wraps Gradio's application.

    inputs: how many values each handler takes, by its number. head: what Gradio's scripts add to the page's head.
    """

    def __init__(self, app: App, inputs: Mapping[int, int], head: str) -> None:
        self._app, self._inputs, self._head = app, inputs, head.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to Gradio, or refuse it."""
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": NOT_FOUND})
        path, method = scope["path"], scope["method"]
        if path == CALL and method == "POST":
            return await self._call(scope, receive, send)
        if (path != "/" and (not FILES.fullmatch(path) or ".." in path)) or method not in ("GET", "HEAD"):
            return await answer(send, 404, NOT_FOUND)
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        allowed = urlencode([pair for pair in query if pair[0] in QUERY.get(path, ())])
        response = await self._gradio_response({**scope, "query_string": allowed.encode()}, receive)
        if response is None:
            return await answer(send, 404, NOT_FOUND)
        start, body = response
        if path == "/":
            start["headers"] = [*start["headers"], (b"content-security-policy", security_policy(body + self._head))]
        return await send_response(send, start, body)

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
            invalid = ".".join(str(part) for part in error.errors()[0]["loc"])
            return await answer(send, 422, f"{invalid or 'the body'} is not valid in the page's calls: reload the page")
        except ValueError:
            return await answer(send, 400, "the body is not JSON in UTF-8: reload the page")
        if len(call.data) != self._inputs.get(call.fn_index, -1):
            return await answer(send, 422, STALE)
        headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"content-type")]
        headers += [(b"content-length", str(len(sent)).encode()), (b"content-type", b"application/json")]
        passed_on = {**scope, "headers": headers, "query_string": b""}
        response = await self._gradio_response(passed_on, replay(sent, receive))
        return await (send_response(send, *response) if response else answer(send, 422, STALE))

    async def _gradio_response(self, scope: Scope, receive: Receive) -> tuple[dict[str, Any], bytes] | None:
        """Gradio's complete response; None where it failed."""
        starts: list[dict[str, Any]] = []
        body = bytearray()

        async def collect(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                starts.append(dict(message))
            body.extend(message.get("body", b""))

        try:
            await self._app(scope, receive, collect)
        except Exception as error:
            logging.getLogger("framepack").warning("%s %s", scope["method"], scope["path"], exc_info=error)
            return None
        return (starts[0], bytes(body)) if starts and starts[0]["status"] < 400 else None


def security_policy(page: bytes) -> bytes:
    """The page's content security policy. It allows the inline scripts of this page, by hash, and no others."""
    sums = {hashlib.sha256(script).digest() for script in SCRIPT.findall(page)}
    scripts = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in sorted(sums))
    return POLICY.format(scripts=scripts).encode()


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns a body that has been read already, and then the real one's messages."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return left.pop() if left else await receive()

    return receive_again


async def send_response(send: Send, start: dict[str, Any], body: bytes) -> None:
    """Send a response in one piece."""
    await send(start)
    await send({"type": "http.response.body", "body": body})
