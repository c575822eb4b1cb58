"""What a service knows of the models on its disk."""

import shutil
import time

import pytest

from framepack.app import models_here
from framepack.app.models_here import ModelsHere

BUSY = 240


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Nothing is anywhere yet."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "models").mkdir()
    models = ModelsHere(tmp_path / "models")
    yield models
    models.close()


def test_a_missing_model_is_known_without_waiting_and_noticed_once_it_has_come(models, tiny_models_dir, monkeypatch):
    monkeypatch.setattr(models_here, "AGAIN", 0.0)
    assert models.lack("framepack") is None, "not known yet, and nobody waits"
    until = time.monotonic() + BUSY
    while models.lack("framepack") is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert models.lack("framepack") == pytest.approx(42.9e9, rel=0.01)
    assert models.lack("mini") is None
    shutil.copytree(tiny_models_dir, models.models_dir, dirs_exist_ok=True)
    while models.lack("framepack") is not None:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_is_known_is_not_looked_for_again_at_once(models, monkeypatch):
    looks = []
    monkeypatch.setattr(models, "_ask", lambda command: looks.append(command) or '{"framepack": 7}')
    models.lack("framepack")
    until = time.monotonic() + BUSY
    while models.lack("framepack") is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert [models.lack("framepack") for _ in range(5)] == [7] * 5
    assert len(looks) == 1


def test_where_nothing_can_be_found_out_nothing_is_claimed(models, monkeypatch):
    monkeypatch.setattr(models, "_ask", lambda command: "")
    models.lack("framepack")
    until = time.monotonic() + BUSY
    while models._looking.locked():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert models.lack("framepack") is None


def test_a_look_that_the_services_end_cuts_short_is_no_trouble(models, monkeypatch, caplog):
    monkeypatch.setattr(models, "_ask", lambda command: "")
    for expected in (1, 1):
        models._looking.acquire()
        models._look()
        assert len(caplog.messages) == expected
        models.close()
