"""50 clients read status and submit over HTTP while a job runs: errors, and how long answers take.

    python benchmarks/service_load.py [--clients 50] [--seconds 20]

Starts a server of its own on a free port, with the bundled model in a worker process, and the clients in a third
process. Claim: no error, and 95 of 100
status requests are answered within 150 ms on 2 cores.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx2
import uvicorn
from PIL import Image

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.server import Address, listening
from framepack.app.service import Service, folders_at
from framepack.jobs.pool import Crew

TARGET = "framepack.app.worker_target:make_generator"
LIMIT_MS = 150.0


def client(
    address: str, picture: str, job: str, until: float, times: dict[str, list[float]], errors: list[str]
) -> None:
    """One client: mostly looks, sometimes submits."""
    chance = random.Random(threading.get_ident())
    with httpx2.Client(base_url=address, timeout=30) as http:
        time.sleep(chance.uniform(0, 1))
        while time.monotonic() < until:
            kind = chance.choices(["list", "show", "health", "submit"], [5, 10, 2, 1])[0]
            began = time.perf_counter()
            try:
                if kind == "submit":
                    answer = http.post("/api/jobs", json={"image": picture, "seconds": 1.2, "prompt": "a boat"})
                    job = answer.raise_for_status().json()["id"]
                else:
                    where = {"list": "/api/jobs?limit=20", "health": "/api/health", "show": f"/api/jobs/{job}"}
                    http.get(where[kind]).raise_for_status()
            except (httpx2.HTTPError, KeyError) as error:
                errors.append(f"{kind}: {error}")
            times.setdefault(kind, []).append(1000 * (time.perf_counter() - began))
            time.sleep(chance.uniform(0.5, 1.5))


def all_clients(address: str, picture: str, job: str, clients: int, seconds: float) -> None:
    """What the clients' own process does: print what they met as JSON."""
    times: dict[str, list[float]] = {}
    errors: list[str] = []
    until = time.monotonic() + seconds
    arguments = (address, picture, job, until, times, errors)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"times": times, "errors": errors}))


def main() -> int:
    """Print the table; exit code 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--as-clients", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_clients:
        all_clients(*options.as_clients, options.clients, options.seconds)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        crew = Crew(target=TARGET, workers=[{"device": "cpu", "threads": 1}])
        with Service(folders_at(Path(folder)), crew) as service:
            listener = listening(Address(port=0))
            server = uvicorn.Server(uvicorn.Config(make_app(service, Access()), log_level="warning"))
            threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            holds = measure(address, Path(folder), options.clients, options.seconds)
            server.should_exit = True
            for job in service.jobs(status=["queued"], limit=10_000):
                service.cancel(job.id)
    return 0 if holds else 1


def measure(address: str, folder: Path, clients: int, seconds: float) -> bool:
    """Start a long job, let the clients in, print what they met."""
    file = folder / "picture.png"
    Image.new("RGB", (128, 128), (90, 120, 160)).save(file)
    with file.open("rb") as data:
        picture = httpx2.post(f"{address}/api/uploads", files={"file": data}, timeout=60).json()[0]["id"]
    long = {"image": picture, "seconds": 60, "steps": 50, "prompt": "a long one"}
    job = httpx2.post(f"{address}/api/jobs", json=long, timeout=60).json()["id"]
    while httpx2.get(f"{address}/api/jobs/{job}", timeout=60).json()["progress"]["step"] == 0:
        time.sleep(0.5)
    command = [sys.executable, __file__, "--as-clients", address, picture, job]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    met = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    times, errors = met["times"], met["errors"]
    still = httpx2.get(f"{address}/api/jobs/{job}", timeout=60).json()
    print(f"{clients} clients, {seconds:g} s; the job is {still['status']} at {still['progress']['fraction']:.0%}")
    print(f"{'request':10}{'count':>8}{'median ms':>12}{'p95 ms':>10}{'max ms':>10}")
    for kind, found in sorted(times.items()):
        p95 = statistics.quantiles(found, n=20)[18]
        print(f"{kind:10}{len(found):8}{statistics.median(found):12.1f}{p95:10.1f}{max(found):10.1f}")
    print(f"errors: {len(errors)} {errors[:3]}")
    status = [ms for kind in ("show", "list", "health") for ms in times.get(kind, [])]
    return not errors and statistics.quantiles(status, n=20)[18] <= LIMIT_MS


if __name__ == "__main__":
    sys.exit(main())
