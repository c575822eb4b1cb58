"""Checksums that are known without the network, and when they are looked at."""

import hashlib
import os
import shutil

import pytest

from framepack.files.assets import BUNDLED
from framepack.models.checkpoint import CheckpointError
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.sources import ModelSource
from framepack.weights.sums import (
    KINDS,
    SUMS,
    Stamp,
    Stamps,
    check_when_loaded,
    checksum,
    known_sum,
    read_sums,
    write_sums,
)

MINI = BUNDLED / "mini"
BASE = "hunyuanvideo-community/HunyuanVideo"


@pytest.fixture
def mini(tmp_path):
    return shutil.copytree(MINI, tmp_path / "models")


def loader_of(folder) -> Loader:
    source = ModelSource(models_dir=folder, cache_dir=folder.parent / "cache")
    return Loader(VARIANTS["mini"], source, choose_precision("cpu", "float32"))


def test_the_packages_list_names_every_file_of_the_model_with_its_checksum():
    files = {file.relative_to(MINI).as_posix(): file for file in MINI.rglob("*") if file.suffix in KINDS}
    assert read_sums(MINI / SUMS) == {name: checksum(file) for name, file in files.items()}


def test_no_git_setting_may_change_the_line_endings_of_what_is_summed():
    attributes = BUNDLED.parents[2] / ".gitattributes"
    assert "src/framepack/assets/** -text" in attributes.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("part", ["transformer", "text", "image", "vae"])
@pytest.mark.parametrize("keep_time", [False, True])
def test_a_flipped_bit_is_told_when_the_part_is_loaded(mini, part, keep_time):
    file = (
        mini
        / {
            "transformer": "framepack/mini/diffusion_pytorch_model.safetensors",
            "text": f"{BASE}/words.json",
            "image": "lllyasviel/flux_redux_bfl/image_encoder/model.safetensors",
            "vae": f"{BASE}/vae/preview.json",
        }[part]
    )
    content, times = bytearray(file.read_bytes()), file.stat()
    content[-3] ^= 1
    file.write_bytes(content)
    if keep_time:
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    loader = loader_of(mini)
    with pytest.raises(CheckpointError, match=f"{file.name} is damaged or was changed") as told:
        loader.load(part)
    assert len(str(told.value)) < 300 + len(str(file))
    for other in {"transformer", "text", "image", "vae"} - {part}:
        loader.load(other)


@pytest.mark.parametrize(("part", "name"), [("vae", "vae/preview.json"), ("text", "words.json")])
def test_a_listed_file_that_is_gone_is_reported(mini, part, name):
    (mini / BASE / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} is missing, though SHA256SUMS lists it"):
        loader_of(mini).load(part)


def test_a_model_without_a_list_loads_and_one_of_the_package_needs_it(mini, tmp_path):
    (mini / SUMS).unlink()
    loader_of(mini).load("vae")
    with pytest.raises(CheckpointError, match="does not belong to the model"):
        check_when_loaded([mini / BASE / "vae"], all_known=True)


def test_a_list_made_anew_fits_what_was_changed_on_purpose(mini):
    config = mini / BASE / "vae" / "config.json"
    config.write_text(config.read_text() + " ")
    write_sums(mini)
    loader_of(mini).load("vae")


def test_large_files_are_not_read_when_they_are_loaded(mini, monkeypatch):
    weights = mini / BASE / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    monkeypatch.setattr("framepack.weights.sums.HASHED_WHEN_LOADED", 100_000)
    check_when_loaded([weights.parent], all_known=True)


def test_the_hubs_checksum_is_the_name_of_the_caches_blob(tmp_path):
    content = b'{"a": 1}'
    git = hashlib.sha1(b"blob 8\0" + content).hexdigest()
    for name, known in (("model.safetensors", hashlib.sha256(content).hexdigest()), ("config.json", git)):
        blob = tmp_path / "blobs" / known
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(content)
        link = tmp_path / "snapshots" / "c0ffee" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
        assert known_sum(link) == known == checksum(link, known)
        blob.write_bytes(content + b" ")
        assert checksum(link, known) != known


def test_other_peoples_lists_above_a_model_say_nothing_of_it(tmp_path):
    (tmp_path / SUMS).write_text("not a list\n" + "0" * 64 + "  other.iso\n")
    file = tmp_path / "models" / "config.json"
    file.parent.mkdir()
    file.write_text("{}")
    assert known_sum(file) is None


def test_stamps_are_kept_and_a_damaged_file_of_them_is_none(tmp_path):
    stamps, file = Stamps(tmp_path / "cache" / "verified.json"), tmp_path / "a"
    file.write_bytes(b"weights")
    now = file.stat()
    stamp = Stamp(size=now.st_size, mtime_ns=now.st_mtime_ns, sha256=checksum(file), when=1.5)
    stamps.add({file: stamp})
    stamps.add({tmp_path / "b": stamp})
    assert stamps.of(file) == stamp
    assert stamp.fits(file)
    os.utime(file, ns=(0, now.st_mtime_ns + 1))
    assert not stamp.fits(file)
    for wrong in ("{", "[]", '{"a": 1}', '{"a": {"size": 1}}'):
        stamps.file.write_text(wrong)
        assert stamps.of(file) is None
