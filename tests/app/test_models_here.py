"""What a service knows of the models on its disk."""

import shutil
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from framepack.app.cli import main as cli
from framepack.app.cli.batch import is_served
from framepack.app.service import models_here
from framepack.app.service.job_service import Service, folders_at
from framepack.app.service.models_here import ModelsHere, not_here
from framepack.jobs.pool import PoolConfig
from framepack.spec.variants import HUNYUAN_REPO, VARIANTS, VISION_REPO

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
    monkeypatch.setattr(models_here, "RECHECK_AFTER", 0.0)
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


def test_what_is_known_is_not_checked_again_at_once(models, monkeypatch):
    checks = []
    monkeypatch.setattr(models, "_run", lambda command: checks.append(command) or '{"framepack": 7}')
    models.lack("framepack")
    until = time.monotonic() + BUSY
    while models.lack("framepack") is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert [models.lack("framepack") for _ in range(5)] == [7] * 5
    assert len(checks) == 1


def test_where_nothing_can_be_found_out_nothing_is_claimed(models, monkeypatch):
    monkeypatch.setattr(models, "_run", lambda command: "")
    models.lack("framepack")
    until = time.monotonic() + BUSY
    while models._checking.locked():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert models.lack("framepack") is None


def test_a_check_that_the_services_end_cuts_short_is_no_error(models, monkeypatch, caplog):
    monkeypatch.setattr(models, "_run", lambda command: "")
    for expected in (1, 1):
        models._checking.acquire()
        models._check()
        assert len(caplog.messages) == expected
        models.close()


@pytest.fixture
def nothing_here(tmp_path, monkeypatch) -> Path:
    """An empty cache; the command line runs in an empty folder with a picture."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("FRAMEPACK_MODELS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    return tmp_path


GET = "model framepack is not here: run `framepack models download framepack` (about 42.9 GB)"


def test_what_is_nowhere_is_said_with_its_size_and_the_way_out(nothing_here):
    assert not_here("mini", None) is None
    assert str(not_here("framepack", None)).startswith(GET)
    (nothing_here / "models" / HUNYUAN_REPO).mkdir(parents=True)
    assert "(about 26.6 GB)" in str(not_here("framepack", nothing_here / "models"))
    for repo in (VARIANTS["framepack"].main, VISION_REPO):
        (nothing_here / "models" / repo).mkdir(parents=True)
    assert not_here("framepack", nothing_here / "models") is None, "what is not complete is found where it is used"


def test_commands_tell_of_a_missing_model_before_torch_is_loaded_or_anything_queued(nothing_here, monkeypatch, capsys):
    def ask(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["framepack", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    Path("prompts.txt").write_text("a wave breaks", encoding="utf-8")
    batch = ["batch", "prompts.txt", "--set", "image=a.png", "--set", "model=framepack"]
    assert ask("generate", "a.png", "--model", "framepack") == 2
    assert capsys.readouterr().err.startswith(f"framepack: {GET}")
    assert ask(*batch) == 2
    assert capsys.readouterr().err.startswith(f"framepack: {GET}")
    assert not list(nothing_here.glob("outputs/.framepack/queue.sqlite"))
    assert ask(*batch, "--dry-run") == 0
    assert capsys.readouterr().err.startswith(f"note: {GET}")
    assert ask(*batch, "--detach") == 0
    assert capsys.readouterr().err.startswith(f"note: {GET}")
    with Service(
        folders_at(nothing_here / "outputs", reserve=0), PoolConfig(target="nothing:at_all", workers=[])
    ) as service:
        assert is_served(service.folders)
    assert not is_served(service.folders)


def test_http_answers_a_request_with_notes(nothing_here, service, client):
    asked = {"image": "a.png", "model": "framepack", "negative_prompt": "rain", "width": 640, "height": 320}
    shutil.copyfile("a.png", service.folders.uploads / "a.png")
    job = client.post("/api/jobs", json=asked).json()
    missing, unused, cut = job["doubts"]
    assert missing.startswith(GET)
    assert unused.startswith("negative_prompt rain has no effect")
    assert cut.startswith("50% of the picture 'start' is cut off")
    assert client.put(f"/api/jobs/{job['id']}", json=asked).json()["doubts"] == job["doubts"]
    (other,) = client.post("/api/batches", json={"requests": [asked]}).json()
    assert other["doubts"] == job["doubts"]
    assert client.get(f"/api/jobs/{job['id']}").json()["doubts"] == []
