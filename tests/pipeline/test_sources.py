"""Where models are looked for, and what is said when they are not there."""

import shutil
from pathlib import Path

import pytest
import torch
from published import published
from tiny_checkpoints import BASE, VISION

from framepack.spec.variants import PUBLISHED, VARIANTS
from framepack.weights.loader import Precision
from framepack.weights.sources import (
    MissingModelError,
    ModelSource,
    list_models,
    locate,
    passed_over,
    repositories,
    require,
)

FRAMEPACK, MINI = VARIANTS["framepack"], VARIANTS["mini"]


@pytest.fixture
def source(tmp_path) -> ModelSource:
    """Nothing is anywhere yet."""
    (tmp_path / "models").mkdir()
    return ModelSource(models_dir=tmp_path / "models", cache_dir=tmp_path / "cache")


@pytest.fixture
def filled(source, tiny_models_dir) -> ModelSource:
    assert source.models_dir is not None
    shutil.copytree(tiny_models_dir, source.models_dir, dirs_exist_ok=True)
    return source


@pytest.fixture
def bundled(tiny_models_dir, tmp_path, monkeypatch) -> Path:
    """A package with the tiny models in place of the bundled ones."""
    monkeypatch.setattr("framepack.files.assets.BUNDLED", tmp_path / "assets")
    return shutil.copytree(tiny_models_dir, tmp_path / "assets" / "mini")


def places_in(root: Path) -> dict[str, Path]:
    """Where the bundled model's repositories are below a folder."""
    return {"transformer": root / MINI.main, "base": root / BASE, "vision": root / VISION}


def test_a_models_dir_is_found_whole(filled, tiny_models_dir):
    folders = require(FRAMEPACK, filled)
    root = filled.models_dir
    assert folders == {"transformer": root / FRAMEPACK.main, "base": root / BASE, "vision": root / VISION}
    rows = [row for row in list_models(filled) if row.variant == "framepack"]
    assert all(row.complete and row.where == "models-dir" for row in rows)
    assert rows[2].size == sum(f.stat().st_size for f in (tiny_models_dir / VISION).rglob("*") if f.is_file())


def test_what_is_nowhere_is_listed_and_refused_with_a_way_out(source):
    row = next(row for row in list_models(source) if row.variant == "framepack")
    assert (row.where, row.path, row.size, row.complete) == ("nowhere", None, 0, False)
    way_out = r"FramePackI2V_HY \(not found\).*framepack models download framepack` \(about 42\.9 GB\)"
    with pytest.raises(MissingModelError, match=way_out):
        require(FRAMEPACK, source)


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (f"{BASE}/tokenizer", "tokenizer is missing"),
        (f"{BASE}/vae/config.json", "vae/config.json is missing"),
        (f"{BASE}/text_encoder_2/model.safetensors", "text_encoder_2 holds no"),
        (f"{VISION}/feature_extractor/preprocessor_config.json", "preprocessor_config.json is missing"),
        (f"{FRAMEPACK.main}/diffusion_pytorch_model-00002-of-00003.safetensors", "lacks 1 of 3 files"),
    ],
)
def test_each_missing_part_is_named(filled, gone, told):
    path = filled.models_dir / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MissingModelError, match=told):
        require(FRAMEPACK, filled)


def test_a_bundled_model_comes_from_the_package_with_its_own_encoders(bundled, filled):
    shutil.rmtree(filled.models_dir / MINI.main)
    assert require(MINI, filled) == places_in(bundled)


def test_the_packages_small_encoders_never_serve_a_large_model(bundled, source):
    with pytest.raises(MissingModelError):
        require(FRAMEPACK, source)


def test_a_models_dir_replaces_a_bundled_model_as_a_whole(bundled, filled):
    root = filled.models_dir
    assert require(MINI, filled) == places_in(root)
    shutil.rmtree(root / VISION)
    with pytest.raises(MissingModelError, match="image_encoder is missing"):
        require(MINI, filled)


def test_an_incomplete_place_gives_way_to_a_complete_one(filled, tmp_path):
    """As after `framepack models download`, with a half-copied --models-dir."""
    snapshot = tmp_path / "cache" / f"models--{VISION.replace('/', '--')}" / "snapshots" / "c0ffee"
    shutil.copytree(filled.models_dir / VISION, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c0ffee")
    assert locate(FRAMEPACK, filled)[2].where == "models-dir"
    (filled.models_dir / VISION / "image_encoder" / "model.safetensors").unlink()
    place = locate(FRAMEPACK, filled)[2]
    assert (place.where, place.path) == ("cache", snapshot)


def test_a_models_dir_that_is_no_folder_is_reported(tmp_path):
    with pytest.raises(MissingModelError, match="typo is not a folder: --models-dir"):
        require(FRAMEPACK, ModelSource(models_dir=tmp_path / "typo"))


def test_published_sizes_are_those_of_the_published_shapes():
    dtypes = Precision(transformer=torch.bfloat16, encoders=torch.float16, vae=torch.float32)
    sizes = published(dtypes).sizes()
    transformer, base, vision = (PUBLISHED[repository.repo] for repository in repositories(FRAMEPACK))
    assert transformer == pytest.approx(sizes["transformer"], rel=0.001)
    skipped = 2 * 436.2e6  # Llama's last two layers are published, and never run
    assert base == pytest.approx(sizes["text"] + sizes["vae"] + skipped, rel=0.01)
    assert vision == pytest.approx(sizes["image"], rel=0.05)


def test_a_named_folder_that_is_not_used_is_reported(bundled, filled, tmp_path):
    assert list(passed_over(MINI, filled)) == []
    shutil.rmtree(filled.models_dir / MINI.main)
    (said,) = passed_over(MINI, filled)
    assert said.startswith(f"{filled.models_dir} has no complete {MINI.main}")
    assert said.endswith("the bundled model is used instead")
    assert list(passed_over(MINI, ModelSource(cache_dir=tmp_path))) == []


def test_a_copy_that_is_passed_over_as_it_is_not_complete_is_reported(filled, tmp_path):
    snapshot = tmp_path / "cache" / f"models--{VISION.replace('/', '--')}" / "snapshots" / "c0ffee"
    shutil.copytree(filled.models_dir / VISION, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c0ffee")
    (filled.models_dir / VISION / "image_encoder" / "config.json").unlink()
    (said,) = passed_over(FRAMEPACK, filled)
    assert said == f"{filled.models_dir} has no complete {VISION}: what the Hugging Face cache has is used instead"


@pytest.mark.parametrize("variant", [MINI, FRAMEPACK])
def test_a_revision_of_what_has_none_is_reported(bundled, filled, variant):
    (said,) = passed_over(variant, ModelSource(models_dir=filled.models_dir, revision="v2"))
    assert said.startswith("--revision v2 has no effect")
    if variant is MINI:
        (said,) = passed_over(variant, ModelSource(revision="v2"))
        assert "comes with the package" in said
