"""Updates as text for any number of streams. Each is written once, on a thread, and shared by all who get it.

Everything else here happens on the event loop, and takes a moment for each stream. Knows nothing of HTTP.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread

from framepack.app.api.views import update_view
from framepack.app.service.job_service import Service
from framepack.jobs.feed import JobUpdate, Listener
from framepack.jobs.job import ENDED, UnknownJob
from framepack.jobs.store import WAITING

MOST = 512
"""Streams there may be at a time."""
STATE_MOST, STATE_ENDED = 100, 20
"""Jobs of a kind that a stream of all begins with, and ended ones."""
IDLE = 1.0
"""Seconds between looks whether anyone listens still, while there are no updates."""
QUIET = 15.0
"""Seconds of silence after which a comment shows that the connection still lives."""
PAUSE = 0.2
"""Seconds in which updates are gathered, once some were sent."""
FRESH = 2.0
"""Seconds for which the state of all jobs is shared by those who come, with the updates since then."""
PAGE = 2**15
"""Bytes about which a page has; between two pages of a stream others have their turn."""
BEHIND = 2**25
"""Bytes a stream may be behind before it is ended; who asks again begins with the state."""
WRITING = CapacityLimiter(2)
"""Threads of their own: updates do not wait for those that wait for something."""
STILL_HERE = b": still here\n\n"


class Full(Exception):  # noqa: N818 - reads as the sentence it is
    """There are as many streams as there may be."""


class Text(NamedTuple):
    """An update as the standard writes it."""

    job: str
    data: bytes
    deleted: bool


class Outbox:
    """Pages that wait for one client. `ended`: nothing comes after them."""

    def __init__(self, job: str | None) -> None:
        self.job, self.ended = job, False
        self._pages: deque[bytes] = deque()
        self._size = 0
        self._arrived = asyncio.Event()

    def put(self, pages: Iterable[bytes]) -> None:
        """Add what happened; a client that is too far behind is given up."""
        if self.ended:
            return
        for page in pages:
            self._pages.append(page)
            self._size += len(page)
        if self._size > BEHIND:
            self._pages.clear()
            self.end()
        self._arrived.set()

    def begin_with(self, pages: Sequence[bytes]) -> None:
        """Put the state before what arrived meanwhile."""
        self.restart([*pages, *self._pages])

    def restart(self, pages: Iterable[bytes]) -> None:
        """Put these in the place of what waits."""
        self._pages, self._size = deque(), 0
        self.put(pages)

    def end(self) -> None:
        """Let it end after what waits."""
        self.ended = True
        self._arrived.set()

    async def get(self) -> bytes | None:
        """The next page, a comment after a long silence, None at the end."""
        while not self._pages:
            if self.ended:
                return None
            self._arrived.clear()
            try:
                async with asyncio.timeout(QUIET):
                    await self._arrived.wait()
            except TimeoutError:
                return STILL_HERE
        page = self._pages.popleft()
        self._size -= len(page)
        return page


class Broadcast:
    """Of one service, on one event loop. It listens to the service while someone listens to it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._outboxes: set[Outbox] = set()
        self._telling: asyncio.Task[None] | None = None
        self._state: tuple[float, list[bytes]] | None = None
        """When it was written, and the pages."""
        self._since: list[bytes] = []
        """What happened after the state began to be written."""
        self._writing: asyncio.Task[None] | None = None

    async def stream(self, job: str | None) -> AsyncGenerator[bytes]:
        """The state now, then what happens, until the job is deleted; of one job or of all. Full beyond the cap."""
        with self._outbox(job) as outbox:
            if job is None:
                await self._begin_with_all(outbox)
            else:
                await self._begin_with_one(outbox, job)
            while (page := await outbox.get()) is not None:
                yield page

    @contextmanager
    def _outbox(self, job: str | None) -> Iterator[Outbox]:
        if len(self._outboxes) >= MOST:
            raise Full(f"{MOST} clients listen to this service already, which is the limit: close one, or poll instead")
        outbox = Outbox(job)
        self._outboxes.add(outbox)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())
        try:
            yield outbox
        finally:
            self._outboxes.discard(outbox)

    # The state

    async def _begin_with_one(self, outbox: Outbox, job: str) -> None:
        try:
            now = await to_thread.run_sync(self._service.get, job, limiter=WRITING)
        except UnknownJob:  # deleted since it was asked for
            outbox.begin_with([written("deleted", {"job": job})])
            outbox.end()
            return
        outbox.begin_with([self._text(JobUpdate(job=now)).data])

    async def _begin_with_all(self, outbox: Outbox) -> None:
        """With the state that others who came lately began with, and what happened since then."""
        while self._state is None or asyncio.get_running_loop().time() - self._state[0] > FRESH:
            if self._writing is None:
                self._writing = asyncio.create_task(self._write_state())
            await asyncio.shield(self._writing)
        outbox.restart([*self._state[1], *self._since])

    async def _write_state(self) -> None:
        self._since = []
        try:
            pages = await to_thread.run_sync(self._state_now, limiter=WRITING)
            self._state = asyncio.get_running_loop().time(), pages
        finally:
            self._writing = None

    def _state_now(self) -> list[bytes]:
        """The first jobs of each kind and, where more wait, the address of the next page.

        A long queue is not sent to every new client: that would keep 200 clients and the service busy.
        """
        service, texts = self._service, list[bytes]()
        running = service.jobs(status=["running"], limit=STATE_MOST)
        waiting = service.jobs(status=WAITING, limit=STATE_MOST)
        ended = service.jobs(status=ENDED, limit=STATE_ENDED)
        texts += [self._text(JobUpdate(job=job)).data for job in (*running, *waiting, *ended)]
        counts = service.store.counts()
        total = sum(counts.get(status, 0) for status in WAITING)
        if total > len(waiting):
            rest = f"/api/jobs?{urlencode([('status', status) for status in WAITING])}&offset={len(waiting)}"
            texts.append(written("more", {"waiting": total, "told": len(waiting), "next": rest}))
        return paged(texts)

    # What happens

    async def _tell(self) -> None:
        """Hand out the updates while someone listens. An error ends all streams; a new one begins with the state."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            if not arrived.is_set():
                with suppress(RuntimeError):  # the server has closed
                    loop.call_soon_threadsafe(arrived.set)

        try:
            with self._service.feed.listen(wake=wake, limit=None) as listener:
                while self._outboxes:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(IDLE):
                            await arrived.wait()
                    if arrived.is_set():
                        arrived.clear()
                        self._hand_out(await to_thread.run_sync(self._texts, listener, limiter=WRITING))
                        await asyncio.sleep(PAUSE)
        finally:
            self._telling = self._state = None
            for outbox in self._outboxes:
                outbox.end()

    def _hand_out(self, texts: Sequence[Text]) -> None:
        pages = paged(text.data for text in texts)
        of_jobs: dict[str, list[Text]] = defaultdict(list)
        for text in texts:
            of_jobs[text.job].append(text)
        for outbox in self._outboxes:
            if outbox.job is None:
                outbox.put(pages)
            elif own := of_jobs.get(outbox.job):
                outbox.put(text.data for text in own)
                if own[-1].deleted:
                    outbox.end()
        if self._writing or (self._state and asyncio.get_running_loop().time() - self._state[0] <= FRESH):
            self._since += pages
        else:
            self._state, self._since = None, []

    def _texts(self, listener: Listener) -> list[Text]:
        texts = []
        while (update := listener.get(0)) is not None:
            texts.append(self._text(update))
        return texts

    def _text(self, update: JobUpdate) -> Text:
        return Text(update.job.id, written(*update_view(update, self._service.folders)), update.deleted)


def written(name: str, data: dict[str, Any]) -> bytes:
    """An event as the standard has it."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def paged(texts: Iterable[bytes]) -> list[bytes]:
    """The same, a page's worth in each piece."""
    pages, page, size = list[bytes](), list[bytes](), 0
    for text in texts:
        page.append(text)
        size += len(text)
        if size >= PAGE:
            pages.append(b"".join(page))
            page, size = [], 0
    return [*pages, b"".join(page)] if page else pages
