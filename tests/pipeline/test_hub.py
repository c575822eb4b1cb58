"""Plans and downloads against a hub on this machine."""

import dataclasses
import shutil

import pytest
from fake_hub import serve
from huggingface_hub import constants
from tiny_checkpoints import BASE, VISION

from framepack.spec.variants import VARIANTS, hunyuan
from framepack.weights.hub import HubError, download, plan_download
from framepack.weights.sources import ModelSource, list_models, require
from framepack.weights.sums import SUMS, checksum, known_sum, read_sums
from framepack.weights.verify import verify

FRAMEPACK = VARIANTS["framepack"]


@pytest.fixture
def hub(tiny_models_dir, tmp_path):
    root = shutil.copytree(tiny_models_dir, tmp_path / "hub")
    (root / BASE / "transformer").mkdir()
    (root / BASE / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"not needed")
    (root / BASE / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not needed")
    (root / FRAMEPACK.main / "README.md").write_text("not needed")
    with serve(root) as hub:
        yield hub


@pytest.fixture
def source(hub, tmp_path) -> ModelSource:
    return ModelSource(cache_dir=tmp_path / "cache", endpoint=hub.url)


def transformer_problems(source: ModelSource) -> list[str]:
    """What `models verify` says of it; all else is right."""
    verdicts = {verdict.part: verdict.problems for verdict in verify(FRAMEPACK, source)}
    problems = verdicts.pop("transformer")
    assert not any(verdicts.values())
    return problems


def test_a_plan_names_all_that_is_needed_and_nothing_else(hub, source, tiny_models_dir):
    plan = plan_download(FRAMEPACK, source)
    names = {f"{p.repository.repo}/{file.name}" for p in plan.repositories for file in p.files}
    repos = (FRAMEPACK.main, BASE, VISION)
    needed = {
        str(f.relative_to(tiny_models_dir)) for r in repos for f in (tiny_models_dir / r).rglob("*") if f.is_file()
    }
    assert names == needed
    assert plan.total == plan.to_fetch == sum((tiny_models_dir / name).stat().st_size for name in needed)
    assert plan.free > 0
    assert plan.target == source.cache_dir
    assert hub.fetched == []


def test_a_download_into_the_cache_is_found_complete_and_right(source):
    seen = []
    plan = plan_download(FRAMEPACK, source)
    download(plan, source, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (plan.to_fetch, plan.to_fetch)
    verdicts = list(verify(FRAMEPACK, source))
    assert [v.problems for v in verdicts] == [[], [], [], []]
    assert all(v.right > 0 and v.unknown == 0 for v in verdicts)
    assert {row.where for row in list_models(source) if row.variant == "framepack"} == {"cache"}
    assert plan_download(FRAMEPACK, source).to_fetch == 0


def test_a_download_into_models_dir_has_its_layout(source, tmp_path):
    source = dataclasses.replace(source, models_dir=tmp_path / "models")
    download(plan_download(FRAMEPACK, source), source)
    assert require(FRAMEPACK, source)["base"] == tmp_path / "models" / BASE
    assert all(not v.problems and v.right > 0 and v.unknown == 0 for v in verify(FRAMEPACK, source))
    assert plan_download(FRAMEPACK, source).to_fetch == 0


def test_a_revision_is_that_of_the_transformer(source):
    source = dataclasses.replace(source, revision="v2")
    download(plan_download(FRAMEPACK, source), source)
    assert require(FRAMEPACK, source)
    with pytest.raises(ValueError, match="not found"):
        require(FRAMEPACK, dataclasses.replace(source, revision=None))
    with pytest.raises(HubError, match="no revision 'nope'"):
        plan_download(FRAMEPACK, dataclasses.replace(source, revision="nope"))


def test_what_is_there_is_not_fetched_again(hub, source):
    download(plan_download(FRAMEPACK, source), source)
    hub.fetched.clear()
    f1 = VARIANTS["framepack-f1"]
    plan = plan_download(f1, source)
    assert {p.repository.repo for p in plan.repositories if p.to_fetch} == {f1.main}
    download(plan, source)
    assert all(name.startswith(f1.main) for name in hub.fetched)


def test_a_damaged_download_is_found_by_its_checksum(source):
    download(plan_download(FRAMEPACK, source), source)
    file = require(FRAMEPACK, source)["transformer"] / "diffusion_pytorch_model-00002-of-00003.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.resolve().write_bytes(content)
    assert known_sum(file) != checksum(file)
    (problem,) = transformer_problems(source)
    assert "00002-of-00003.safetensors is damaged or was changed: its checksum is not the known one" in problem


def test_where_the_hubs_checksums_leave_no_trace_a_download_keeps_them(hub, source, tmp_path):
    """As with a mirror whose entity tags are its own, and on Windows, where the cache has no links."""
    hub.entity_tags = False
    source = dataclasses.replace(source, models_dir=tmp_path / "models")
    download(plan_download(FRAMEPACK, source), source)
    folder = require(FRAMEPACK, source)["transformer"]
    assert read_sums(folder / SUMS).keys() == {file.name for file in folder.iterdir() if file.is_file()} - {SUMS}
    assert all(not v.problems and v.unknown == 0 for v in verify(FRAMEPACK, source))
    weights = folder / "diffusion_pytorch_model-00001-of-00003.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert "00001-of-00003.safetensors is damaged" in transformer_problems(source)[0]


def test_a_broken_connection_goes_on_where_it_stopped(hub, source, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.break_after = 50_000
    download(plan_download(FRAMEPACK, source), source)
    assert any("@" in name for name in hub.fetched)
    assert not any(v.problems for v in verify(FRAMEPACK, source))


def test_a_full_disk_is_reported_before_anything_is_fetched(hub, source):
    plan = dataclasses.replace(plan_download(FRAMEPACK, source), free=1000)
    with pytest.raises(HubError, match=r"has 0.0 GB free, the download needs"):
        download(plan, source)
    assert hub.fetched == []


def test_a_repository_that_is_not_there_is_named(source):
    variant = dataclasses.replace(FRAMEPACK, repositories=hunyuan("nobody/nothing"))
    with pytest.raises(HubError, match="nobody/nothing is not on"):
        plan_download(variant, source)


def test_no_connection_is_one_sentence_with_a_way_out(source):
    with pytest.raises(HubError, match=r"could not be fetched.*--models-dir"):
        plan_download(FRAMEPACK, dataclasses.replace(source, endpoint="http://127.0.0.1:9"))


def test_offline_mode_asks_nobody(hub, source):
    with pytest.raises(HubError, match="offline mode is on"):
        plan_download(FRAMEPACK, dataclasses.replace(source, offline=True))


def test_a_bundled_model_needs_no_download(source):
    with pytest.raises(HubError, match="ships inside the package"):
        plan_download(VARIANTS["mini"], source)
