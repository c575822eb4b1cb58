"""200 clients follow a service's events, 100 read its status, 1,000 jobs wait and some are made: how long it takes.

    python benchmarks/service_load.py [--watchers 200] [--clients 100] [--queued 1000] [--seconds 30] [--save FOLDER]

Starts a server of its own on a free port. Watchers and clients are a second process on the same machine. The worker is
`tests/jobs/fake_generator.py`, which makes numbers of no weight: what is measured is the service. Claims, on 2 cores:
95 of 100 status requests are answered within 150 ms, each event reaches each watcher within 1 s, no error.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from PIL import Image

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.server import Address, listening
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.pool import PoolConfig
from framepack.spec.events import SectionDone
from framepack.spec.request import GenerationRequest

FAKE = Path(__file__).resolve().parents[1] / "tests" / "jobs"
LIMIT_MS, LIMIT_S = 150.0, 1.0
STATUS = ("list", "show", "health")
SECTION = re.compile(rb'data: {"job": "(\w+)", "event": {"type": "section", "section": (\d+)')
CALM = 2.0
"""Seconds from the last watcher's coming to what is measured as calm."""


class Crowd:
    """The clients' process: raw sockets, so that they cost the machine as little as they can."""

    def __init__(self, address: str, job: str, seconds: float) -> None:
        self.host, port = address.removeprefix("http://").split(":")
        self.port, self.job = int(port), job
        self.until = time.monotonic() + seconds
        self.times: dict[str, list[tuple[float, float]]] = {}
        self.errors: list[str] = []
        self.seen: list[dict[str, float]] = []
        self.begun: list[float] = []

    async def ask(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send one request."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=2**24)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return reader, writer

    async def client(self, chance: random.Random) -> None:
        """Look at the service about once a second."""
        paths = {"list": "/api/jobs?limit=20", "health": "/api/health", "show": f"/api/jobs/{self.job}"}
        await asyncio.sleep(chance.uniform(0, 1))
        while time.monotonic() < self.until:
            kind = chance.choices(STATUS, [5, 10, 2])[0]
            began = time.monotonic()
            try:
                reader, writer = await self.ask(paths[kind])
                answer = await asyncio.wait_for(reader.read(-1), 60)
                writer.close()
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.errors.append(f"{kind}: {answer[:60]!r}")
            except (OSError, TimeoutError) as error:
                self.errors.append(f"{kind}: {error!r}")
            self.times.setdefault(kind, []).append((began, time.monotonic() - began))
            await asyncio.sleep(chance.uniform(0.5, 1.5))

    async def watcher(self) -> None:
        """Follow all events; note when each section was first heard of."""
        seen: dict[str, float] = {}
        self.seen.append(seen)
        began = time.monotonic()
        try:
            reader, writer = await self.ask("/api/events")
            while data := await self.some(reader):
                if not seen:
                    self.begun.append(time.monotonic() - began)
                    seen[""] = began
                for found in SECTION.finditer(data):
                    seen.setdefault(f"{found[1].decode()} {found[2].decode()}", time.monotonic())
            writer.close()
        except OSError as error:
            self.errors.append(f"watch: {error!r}")

    async def some(self, reader: asyncio.StreamReader) -> bytes:
        """What has arrived, in whole lines; nothing when the time is over."""
        try:
            async with asyncio.timeout(max(self.until - time.monotonic(), 0)):
                data = await reader.read(2**20)
                while data and not data.endswith(b"\n"):
                    data += await reader.read(2**20)
        except TimeoutError:
            return b""
        if not data:
            self.errors.append("watch: the stream ended")
        return data

    async def run(self, watchers: int, clients: int) -> None:
        """All of them at once."""
        chance = random.Random(1)
        each = [self.client(random.Random(chance.random())) for _ in range(clients)]
        await asyncio.gather(*each, *(self.watcher() for _ in range(watchers)))


def crowd(address: str, job: str, options: argparse.Namespace) -> None:
    """What the clients' own process does: print what they met as JSON."""
    met = Crowd(address, job, options.seconds)
    asyncio.run(met.run(options.watchers, options.clients))
    print(
        json.dumps(
            {
                "times": met.times,
                "errors": met.errors,
                "seen": met.seen,
                "begun": met.begun,
                "crowd": time.process_time(),
            }
        )
    )


def follow(service: Service, heard: dict[str, float], stop: threading.Event) -> None:
    """Note when each section is told inside the service."""
    with service.feed.listen() as listener:
        while not stop.is_set():
            news = listener.get(0.2)
            if news and isinstance(news.event, SectionDone):
                heard[f"{news.job.id} {news.event.section}"] = time.monotonic()


def measure(service: Service, folder: Path, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, float]]:
    """Queue the jobs, let the crowd in; what it met, and when the service told each section."""
    picture = folder / "picture.png"
    Image.new("RGB", (128, 128), (90, 120, 160)).save(picture)
    script = json.dumps({"pause": 0.1})
    asked = GenerationRequest(image=picture, prompt=script, seconds=2.4, steps=5)
    jobs = service.submit([asked] * options.queued)
    listener = listening(Address(port=0))
    server = uvicorn.Server(uvicorn.Config(make_app(service, Access()), log_level="warning"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    while httpx2.get(f"{address}/api/health", timeout=60).json()["jobs"].get("done", 0) == 0:
        time.sleep(0.2)
    heard, stop = dict[str, float](), threading.Event()
    following = threading.Thread(target=follow, args=(service, heard, stop))
    following.start()
    command = [sys.executable, __file__, "--as-crowd", address, jobs[-1].id]
    command += [f"--{name}={getattr(options, name)}" for name in ("watchers", "clients", "seconds")]
    spent = time.process_time()
    try:
        met = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        spent = time.process_time() - spent
        stop.set()
        following.join()
    began = time.monotonic()
    httpx2.get(f"{address}/api/health", timeout=60)
    met |= {"after": time.monotonic() - began, "service": spent}
    server.should_exit = True
    return met, heard


def report(met: dict[str, Any], heard: dict[str, float], options: argparse.Namespace) -> tuple[bool, list[str]]:
    """Whether the claims hold, and the lines that say so."""
    came = max((seen[""] + first for seen, first in zip(met["seen"], met["begun"], strict=False) if seen), default=0.0)
    lines = [
        f"{options.watchers} watchers, {options.clients} clients, {options.queued} jobs queued, {options.seconds:g} s",
        "",
        "| status | requests | median ms | p95 ms | max ms |",
        "|---|---|---|---|---|",
    ]
    calm, holds = came + CALM, not met["errors"]
    for name, kinds, wanted in (
        *((f"`{kind}`, while the watchers come", (kind,), lambda at: at <= calm) for kind in STATUS),
        *((f"`{kind}`, then", (kind,), lambda at: at > calm) for kind in STATUS),
        ("all", STATUS, lambda at: True),
    ):
        found = [1000 * spent for kind in kinds for at, spent in met["times"].get(kind, []) if wanted(at)]
        if len(found) > 1:
            p95 = statistics.quantiles(found, n=20)[18]
            lines.append(f"| {name} | {len(found)} | {statistics.median(found):.1f} | {p95:.1f} | {max(found):.1f} |")
            holds &= name != "all" or p95 <= LIMIT_MS
    late = list(delays(met["seen"], heard))
    missing = sum(at is None for at in late)
    known = [at for at in late if at is not None]
    holds &= bool(known) and not missing and max(known) <= LIMIT_S
    lines += ["", f"events: {len(late)} expected, {missing} missing"]
    if known:
        p95 = statistics.quantiles(known, n=20)[18]
        lines[-1] += f"; median {statistics.median(known):.3f} s, p95 {p95:.3f} s, latest {max(known):.3f} s"
    lines += [
        f"the state began to arrive after {max(met['begun'], default=0):.2f} s at the last watcher",
        f"health once all had gone: {met['after']:.3f} s",
        f"seconds of processor time: service {met['service']:.1f}, watchers and clients {met['crowd']:.1f}",
        f"errors: {len(met['errors'])} {met['errors'][:3]}",
    ]
    return bool(holds), lines


def delays(seen: list[dict[str, float]], heard: dict[str, float]) -> Iterator[float | None]:
    """Seconds from the telling to the hearing of each section at each watcher; None where it never came."""
    last = max((at for one in seen for at in one.values()), default=0.0)
    for one in seen:
        first = min((at for key, at in one.items() if key), default=last)
        for key, at in heard.items():
            if first <= at <= last - LIMIT_S:
                yield one[key] - at if key in one else None


def main() -> int:
    """Print the table; exit code 1 where the claims do not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--queued", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--save", type=Path, help="folder for a file with the results")
    parser.add_argument("--as-crowd", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_crowd:
        crowd(*options.as_crowd, options)
        return 0
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FAKE), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        config = PoolConfig(target="fake_generator:make")
        with Service(folders_at(Path(folder)), config) as service:
            met, heard = measure(service, Path(folder), options)
    holds, lines = report(met, heard, options)
    head = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    text = "\n".join([f"# service_load: {head}", "", *lines, "", f"claims {'hold' if holds else 'do not hold'}", ""])
    print(text)
    if options.save:
        name = f"service_load-cpu-{time.strftime('%Y-%m-%d')}.md"
        (options.save / name).write_text(text, encoding="utf-8")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
