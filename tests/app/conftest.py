"""A service without workers, a client of its API, waiting; tests that need workers have a `service` of their own."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.service.job_service import Service, folders_at
from framepack.jobs.job import ENDED, Job
from framepack.jobs.pool import PoolConfig

PATIENCE = 240
"""Seconds a job may take on a machine that is busy with other things."""


@pytest.fixture
def service(tmp_path):
    with Service(folders_at(tmp_path / "outputs", reserve=0), PoolConfig(target="none:none", workers=[])) as service:
        yield service


@pytest.fixture
def client(service):
    with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def ended() -> Callable[[TestClient, str], dict]:
    """Call it to wait for a job's end through the API; it gives the job's last view."""

    def wait(client: TestClient, job: str) -> dict:
        until = time.monotonic() + PATIENCE
        while (view := client.get(f"/api/jobs/{job}").json())["status"] not in ENDED:
            assert time.monotonic() < until, view
            time.sleep(0.05)
        return view

    return wait


@pytest.fixture
def wait() -> Callable[..., Job]:
    """Call it with a service, a job and what to wait for, which is its end where nothing is said."""

    def wait(service: Service, job: Job, until: Callable[[Job], object] = lambda now: now.status in ENDED) -> Job:
        end = time.monotonic() + PATIENCE
        while not until(now := service.get(job.id)):
            assert time.monotonic() < end, (now.status, now.reason, now.progress)
            time.sleep(0.02)
        return now

    return wait


@pytest.fixture
def certified(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Call it with a name for a certificate of 127.0.0.1 and its key; more arguments are openssl's."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl here to make a certificate with")

    def made(name: str, *more: str) -> tuple[Path, Path]:
        certificate, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
        command = [openssl, *kind, *names, "-out", str(certificate), *(more or ["-nodes"])]
        subprocess.run(command, check=True, capture_output=True)
        return certificate, key

    return made
