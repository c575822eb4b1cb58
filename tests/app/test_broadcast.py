"""Events for many: written once, off the event loop, in pages; a client that has gone or stalls ends its stream."""

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial

import pytest
from fake_generator import ask

from framepack.app.api import broadcast, events
from framepack.app.api.broadcast import PAGE, Broadcast, Full
from framepack.app.api.events import EventStream
from framepack.app.api.views import job_view
from framepack.jobs.feed import JobUpdate
from framepack.spec.events import Notice

PATIENCE = 60


def on_the_loop() -> bool:
    with suppress(RuntimeError):
        return bool(asyncio.get_running_loop())
    return False


@pytest.fixture
def writings(monkeypatch) -> list[tuple[str, bool]]:
    """What was written: of which job, and whether an event; nothing is on the event loop."""
    made, write = [], broadcast.update_view

    def writing(update, folders):
        assert not on_the_loop()
        made.append((update.job.id, update.event is not None))
        return write(update, folders)

    monkeypatch.setattr(broadcast, "update_view", writing)
    return made


def told(pages: list[bytes]) -> list[tuple[str, dict]]:
    blocks = [block.splitlines() for block in b"".join(pages).decode().split("\n\n") if block.startswith("event")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


async def heard(stream, enough) -> list[tuple[str, dict]]:
    """What a stream tells until it is enough."""
    said: list[tuple[str, dict]] = []
    async with asyncio.timeout(PATIENCE), aclosing(stream):
        async for page in stream:
            said += told([page])
            if enough(said):
                break
    return said


def test_jobs_and_events_are_written_once_however_many_listen(service, writings):
    jobs = service.store.submit([ask()] * 80)

    def enough(said):
        if len(said) == len(jobs):
            ready.release()
        return said[-1][0] == "notice"

    async def all_of_them():
        shared = Broadcast(service)
        listeners = [asyncio.create_task(heard(shared.stream(None), enough)) for _ in range(30)]
        for _ in listeners:
            await ready.acquire()
        service.feed.publish(JobUpdate(job=jobs[7], event=Notice(message="cut")))
        return await asyncio.gather(*listeners)

    ready = asyncio.Semaphore(0)
    for said in asyncio.run(all_of_them()):
        assert {data["id"] for name, data in said if name == "job"} == {job.id for job in jobs}
        assert [data["event"]["message"] for name, data in said if name == "notice"] == ["cut"]
    assert writings.count((jobs[7].id, True)) == 1
    assert len(writings) <= 6 * len(jobs), "the state anew every two seconds, and what the queue's watch tells"


def test_the_state_is_a_page_with_the_address_of_the_next(service, client, writings):
    jobs = service.store.submit([ask()] * 250)
    said = asyncio.run(heard(Broadcast(service).stream(None), lambda said: said[-1][0] == "more"))
    rest = said[-1][1]
    assert (rest["waiting"], rest["told"], len(said)) == (250, 100, 101)
    seen = [data["id"] for name, data in said if name == "job"]
    for _ in range(2):
        seen += [view["id"] for view in client.get(rest["next"]).json()]
        rest["next"] = rest["next"].replace("offset=100", "offset=200")
    assert seen == [job.id for job in jobs]


def test_news_of_many_jobs_come_in_pages(service):
    async def visit():
        shared = Broadcast(service)
        async with asyncio.timeout(PATIENCE), aclosing(shared.stream(None)) as stream:
            service.store.submit([ask()])
            await anext(stream)
            jobs = service.store.submit([ask()] * 300)
            pages, seen = [], set()
            while not {job.id for job in jobs} <= seen:
                pages.append(await anext(stream))
                seen |= {data["id"] for _, data in told(pages[-1:])}
            return pages

    pages = asyncio.run(visit())
    assert len(pages) > 5
    assert all(len(page) < PAGE + 4096 for page in pages)


def test_what_happens_while_the_state_is_written_is_reported_after_it(service, monkeypatch):
    (job,) = service.store.submit([ask()])
    shared = Broadcast(service)
    write = shared._state_now

    def slow():
        pages = write()
        service.pause(job.id)
        return pages

    monkeypatch.setattr(shared, "_state_now", slow)
    said = asyncio.run(heard(shared.stream(None), lambda said: said and said[-1][1].get("status") == "paused"))
    assert [data["status"] for _, data in said] == ["queued", "paused"]


def test_a_file_that_goes_while_a_job_is_shown_is_left_out(service, monkeypatch):
    (job,) = service.store.submit([ask()])
    folder = service.folders.outputs
    (folder / "there.mp4").write_bytes(b"1234")
    shown = job_view(replace(job, outputs=(folder / "gone.part.mp4", folder / "there.mp4")), service.folders)
    assert [(file.name, file.bytes) for file in shown.outputs] == [("there.mp4", 4)]
    monkeypatch.setattr("pathlib.Path.is_file", lambda file: True)  # as it was a moment ago
    assert job_view(replace(job, outputs=(folder / "gone.part.mp4",)), service.folders).video is None


def test_there_is_a_cap_that_is_reported_and_a_place_becomes_free(service, client, monkeypatch):
    monkeypatch.setattr(broadcast, "MOST", 1)

    async def crowd():
        shared = Broadcast(service)
        async with aclosing(shared.stream(None)) as one:
            (job,) = service.store.submit([ask()])
            assert b"event: job" in await anext(one)
            with pytest.raises(Full, match="1 clients listen to this service already"):
                await anext(shared.stream(job.id))
        await anext(shared.stream(job.id))

    asyncio.run(crowd())
    monkeypatch.setattr(broadcast, "MOST", 0)
    answer = client.get("/api/events")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"])
    assert "clients listen to this service already" in answer.json()["error"]
    assert broadcast.MOST == 0


async def sending(stream, *, gone: asyncio.Event, takes) -> list[dict]:
    """Run a stream as a server does, to a client that goes when told and takes what `takes` lets through."""
    sent: list[dict] = []

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        await takes(message)

    async with asyncio.timeout(PATIENCE):
        await EventStream(stream)({"type": "http"}, receive, send)
    return sent


def test_a_client_that_has_gone_ends_its_stream_at_once(service):
    service.store.submit([ask()] * 300)

    async def visit():
        shared, gone = Broadcast(service), asyncio.Event()

        async def takes(message):
            if message["type"] == "http.response.body":
                gone.set()

        sent = await sending(shared.stream(None), gone=gone, takes=takes)
        return sent, shared._outboxes

    sent, left = asyncio.run(visit())
    assert len(sent) <= 3, "not all of the state"
    assert not left


def test_a_client_that_takes_nothing_is_given_up(service, monkeypatch):
    monkeypatch.setattr(events, "STALLED", 0.05)
    service.store.submit([ask()] * 3)

    async def visit():
        shared = Broadcast(service)

        async def takes(message):
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        await sending(shared.stream(None), gone=asyncio.Event(), takes=takes)
        return shared._outboxes

    assert not asyncio.run(visit())


def test_a_client_too_far_behind_is_ended_and_holds_nothing(service, monkeypatch):
    monkeypatch.setattr(broadcast, "BEHIND", 20_000)
    jobs = service.store.submit([ask()] * 3)

    async def visit():
        shared = Broadcast(service)
        async with (
            asyncio.timeout(PATIENCE),
            aclosing(shared.stream(None)) as slow,
            aclosing(shared.stream(None)) as quick,
        ):
            await anext(slow), await anext(quick)
            (behind,) = [outbox for outbox in shared._outboxes if outbox is not None][:1]
            while not behind.ended:
                service.feed.publish(JobUpdate(job=jobs[0], event=Notice(message="x" * 5000)))
                await asyncio.sleep(0.01)
            assert not behind._pages

    asyncio.run(visit())


def test_a_broken_writing_ends_the_streams_and_the_next_one_begins_anew(service, monkeypatch):
    jobs = service.store.submit([ask()] * 3)
    write = broadcast.update_view

    def broken(update, folders):
        if update.event:
            raise KeyError("no such thing")
        return write(update, folders)

    monkeypatch.setattr(broadcast, "update_view", broken)

    async def visit():
        shared = Broadcast(service)
        async with asyncio.timeout(PATIENCE), aclosing(shared.stream(None)) as stream:
            await anext(stream)
            service.feed.publish(JobUpdate(job=jobs[0], event=Notice(message="cut")))
            assert not [page async for page in stream if b"cut" in page]  # it ends
        assert len(await heard(shared.stream(None), partial(len))) == 3

    asyncio.run(visit())
