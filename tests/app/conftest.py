"""A service without workers, and a client of its API; tests that need workers have a `service` of their own."""

import pytest
from fastapi.testclient import TestClient

from framepack.app.api import make_app
from framepack.app.api.guard import Access
from framepack.app.service import Service, folders_at
from framepack.jobs.pool import Crew


@pytest.fixture
def service(tmp_path):
    with Service(folders_at(tmp_path / "outputs", reserve=0), Crew(target="none:none", workers=[])) as service:
        yield service


@pytest.fixture
def client(service):
    with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
        yield client
