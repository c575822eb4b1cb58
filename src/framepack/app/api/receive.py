"""Bodies of requests, read as they arrive: JSON up to a limit, forms with files that go to disk counted.

Blocks are handled as they come, so nothing large is ever held in memory and a limit holds before the disk fills.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Scope

from framepack.app.service.uploads import TooLarge
from framepack.files.text import TwiceSaid, json_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
TEXT_LIMIT = 2**20
"""Bytes of JSON a request may have."""
JSON_REFUSAL = f"a request may have {TEXT_LIMIT} bytes of JSON"
DECODING = CapacityLimiter(4)
"""Threads that may wait for decoders; the others stay free for quick answers."""
PARTS_LIMIT = 128
"""Parts a form may have: a good many keyframes or joined videos, and the request."""


class Arriving(AbstractContextManager[Any], Protocol[T_co]):
    """A file on its way, see `Incoming`."""

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        ...

    def accept(self) -> T_co:
        """Check the whole file."""
        ...


async def text_of(request: Request, most: int = TEXT_LIMIT, refusal: str = JSON_REFUSAL) -> bytes:
    """The whole body; TooLarge beyond so many bytes, which the refusal says."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > most:
            raise TooLarge(refusal)
    return bytes(body)


class Limited(Request):
    """A request of which nobody reads more than the limit as one piece."""

    async def body(self) -> bytes:
        """The whole body; HTTPException, which FastAPI lets pass, beyond the limit."""
        if not hasattr(self, "_body"):
            try:
                self._body = await text_of(self)
            except TooLarge as error:
                raise HTTPException(413, str(error)) from error
        return self._body

    async def json(self) -> Any:
        """The body as JSON; HTTPException where a name is said twice, or it is none."""
        try:
            return json_of((await self.body()).decode("utf-8-sig"))
        except TwiceSaid as error:
            raise HTTPException(400, f"the body is JSON in which {error}") from error
        except UnicodeDecodeError as error:
            raise HTTPException(400, "the body is not text in UTF-8: send it as UTF-8") from error
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON ({str(error)[:100]}); send a JSON object") from error


VERSION = "v"
"""May stand behind any address and is not read: another version of a file has another address, for who keeps copies."""


class LimitedRoute(APIRoute):
    """A route that reads its JSON by `text_of`, as those do that read their bodies themselves."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, on a limited request."""
        handle = super().get_route_handler()
        known = {name for field in self.dependant.query_params for name in names_of(field)} | {VERSION}
        lists = {field.alias for field in self.dependant.query_params if "list" in str(field.field_info.annotation)}

        async def limited(request: Request) -> Response:
            if unknown := sorted(request.query_params.keys() - known):
                there = f"there are {', '.join(sorted(known - {VERSION}))}" if known > {VERSION} else "there are none"
                raise HTTPException(422, f"{unknown[0][:80]!r} in the address is not known; {there}")
            said = [name for name, _ in request.query_params.multi_items() if name not in lists]
            if twice := next((name for name in said if said.count(name) > 1), ""):
                raise HTTPException(422, f"{twice!r} is given twice in the address: keep one")
            return await handle(Limited(without_version(request), request.receive))

        return limited


def without_version(request: Request) -> Scope:
    """The request's scope with an address that says no version: a model of parameters takes no others than its own."""
    if VERSION not in request.query_params:
        return request.scope
    said = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != VERSION])
    return {**request.scope, "query_string": said.encode()}


def names_of(field: Any) -> Iterable[str]:
    """What a parameter is called in an address; one that is a model has its fields there."""
    kind = field.field_info.annotation
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else [field.alias]


@dataclass
class Form(Generic[T]):
    """A form's texts and files by the names of their fields, in the order they came."""

    texts: dict[str, bytes] = field(default_factory=dict)
    files: list[tuple[str, T]] = field(default_factory=list)


async def form_of(request: Request, take: Callable[[str], Arriving[T]]) -> Form[T]:
    """Read a multipart form; `take` begins each file by its name, and it is checked in the end.

    TooLarge, NoRoom, MediaError or ValueError for what cannot be.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise ValueError("send a multipart form with a file in it, or the JSON of a request")
    with ExitStack() as stack:
        reader = FormReader(take, stack)
        await reader.read(request.stream(), options[b"boundary"])
        accepted = [(name, await to_thread.run_sync(file.accept, limiter=DECODING)) for name, file in reader.files]
    return Form(texts=reader.texts, files=accepted)


class FormReader(Generic[T]):
    """Turns the parser's callbacks into texts and incoming files."""

    def __init__(self, take: Callable[[str], Arriving[T]], stack: ExitStack) -> None:
        self._take, self._stack = take, stack
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = b"", b""
        self._name = ""
        self._file: Arriving[T] | None = None
        self._parts, self._ended = 0, False
        self.texts: dict[str, bytes] = {}
        self.files: list[tuple[str, Arriving[T]]] = []

    async def read(self, blocks: AsyncIterator[bytes], boundary: bytes) -> None:
        """Read the whole form."""
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._open,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )
        try:
            async for block in blocks:
                await run_in_threadpool(parser.write, block)
            parser.finalize()
        except FormParserError as error:
            raise ValueError(f"the form cannot be read: {error}") from error
        if not self._ended:
            raise ValueError("the form is cut off: send it again")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_LIMIT:
            raise TooLarge(f"a form may have {PARTS_LIMIT} parts")
        self._headers, self._header, self._value, self._file = {}, b"", b"", None

    def _end(self) -> None:
        self._ended = True

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode(errors="replace")
        if b"filename" in options:
            name = options[b"filename"].decode(errors="replace")
            self._file = file = self._take(name)
            self._stack.enter_context(file)
            self.files.append((self._name, file))
        elif self._name in self.texts:
            raise ValueError(f"the form has {self._name[:80]!r} twice: keep one")
        else:
            self.texts[self._name] = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file:
            self._file.write(data[start:end])
            return
        self.texts[self._name] += data[start:end]
        if sum(map(len, self.texts.values())) > TEXT_LIMIT:
            raise TooLarge(f"a form may have {TEXT_LIMIT} bytes of text")
