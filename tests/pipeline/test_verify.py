"""`models verify` reads every file: against a known checksum, else for what damaged numbers look like."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import BASE

from framepack.files.assets import BUNDLED
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.sources import ModelSource
from framepack.weights.sums import SUMS
from framepack.weights.verify import bytes_to_read, verify

FRAMEPACK, MINI = VARIANTS["framepack"], VARIANTS["mini"]
NAMES = ["text encoders", "image encoder", "VAE", "transformer"]
SHARD = f"{FRAMEPACK.main}/diffusion_pytorch_model-00001-of-00003.safetensors"
VAE = f"{BASE}/vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def source(tiny_models_dir, tmp_path) -> ModelSource:
    """Models of which nobody knows a checksum."""
    return ModelSource(models_dir=shutil.copytree(tiny_models_dir, tmp_path / "models"), cache_dir=tmp_path / "cache")


def problems(source: ModelSource, variant=FRAMEPACK) -> dict[str, str]:
    return {verdict.part: " ".join(verdict.problems) for verdict in verify(variant, source) if verdict.problems}


def rewrite(file, change) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def test_good_parts_are_good_and_it_is_said_that_no_checksum_is_known(source):
    seen = []
    verdicts = list(verify(FRAMEPACK, source, seen.append))
    assert [(verdict.part, verdict.problems) for verdict in verdicts] == [(name, []) for name in NAMES]
    assert all("no checksum is known of" in verdict.summary for verdict in verdicts)
    assert sum(seen) == pytest.approx(bytes_to_read(FRAMEPACK, source), rel=0.2)


def test_the_bundled_model_is_what_its_checksums_say(tmp_path):
    verdicts = list(verify(MINI, ModelSource(cache_dir=tmp_path)))
    assert [(v.part, v.problems, v.unknown) for v in verdicts] == [(name, [], 0) for name in NAMES]
    assert verdicts[-1].summary == "2 files are what their checksums say"


@pytest.mark.parametrize(
    ("file", "part"),
    [
        (SHARD, "transformer"),
        (VAE, "VAE"),
        (f"{BASE}/text_encoder_2/model.safetensors", "text encoders"),
        (f"{FRAMEPACK.repositories['vision']}/image_encoder/model.safetensors", "image encoder"),
    ],
)
def test_the_file_that_is_cut_short_is_named(source, file, part):
    path = source.models_dir / file
    path.write_bytes(path.read_bytes()[:-100])
    found = problems(source)
    assert found.keys() == {part}
    assert f"{path} is damaged or cut short" in found[part]


def matrix(weights):
    """The largest one."""
    return max((tensor for tensor in weights.values() if tensor.ndim > 1), key=torch.numel)


LOOKS = {
    "NaN or infinite": lambda weights: matrix(weights).view(-1)[7:8].fill_(float("nan")),
    "that are NaN": lambda weights: matrix(weights).view(-1)[-1:].fill_(float("-inf")),
    "numbers up to 1.0e": lambda weights: matrix(weights).view(-1)[7:8].fill_(1e30),
}


@pytest.mark.parametrize("said", LOOKS)
def test_numbers_that_look_damaged_are_reported_where_no_checksum_is_known(source, said):
    rewrite(source.models_dir / SHARD, LOOKS[said])
    found = problems(source)
    assert found.keys() == {"transformer"}
    assert said in found["transformer"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: matrix(weights).view(-1)[100:5000].zero_(), "blocks of 8 kB of one number"),
        (lambda weights: matrix(weights).zero_(), "0 throughout"),
    ],
)
def test_blank_places_are_reported_and_are_no_failure_as_some_models_are_made_so(source, change, said):
    rewrite(source.models_dir / SHARD, change)
    *_, verdict = verify(FRAMEPACK, source)
    assert verdict.problems == []
    assert said in verdict.remarks[0]


def test_the_sound_bundled_model_has_no_problem_where_its_checksums_are_not_known(tmp_path):
    models = shutil.copytree(BUNDLED / "mini", tmp_path / "models")
    (models / SUMS).unlink()
    assert not problems(ModelSource(models_dir=models, cache_dir=tmp_path / "cache"), MINI)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_a_type_that_no_weight_has_is_a_sentence_when_verified_and_when_loaded(source, dtype):
    rewrite(
        source.models_dir / VAE,
        lambda weights: weights.update({"decoder.conv_in.conv.bias": torch.ones(8, dtype=dtype)}),
    )
    loader = Loader(FRAMEPACK, source, choose_precision("cpu", "float32"))
    with pytest.raises(ValueError, match=r"decoder\.conv_in\.conv\.bias in .* is .*: float32, float16 or bfloat16"):
        loader.load("vae")
    assert "in types that cannot be used" in problems(source)["VAE"]


def test_plainly_cast_float8_matrices_load_and_vectors_in_it_do_not(source):
    file = source.models_dir / VAE
    loader = Loader(FRAMEPACK, source, choose_precision("cpu", "float32"))
    name = "decoder.conv_in.conv.weight"
    before = load_file(file)[name]
    rewrite(file, lambda weights: weights.update({name: before.to(torch.float8_e4m3fn)}))
    loaded = loader.load("vae").autoencoder.get_parameter(name)
    assert torch.equal(loaded, before.to(torch.float8_e4m3fn).float())
    rewrite(file, lambda weights: weights.update({"decoder.conv_in.conv.bias": torch.ones(8).to(torch.float8_e4m3fn)}))
    with pytest.raises(ValueError, match=r"conv\.bias in .* is F8_E4M3"):
        loader.load("vae")


def test_two_sets_of_weights_for_one_part_are_reported(source):
    folder = source.models_dir / BASE / "vae"
    shutil.copy(folder / "diffusion_pytorch_model.safetensors", folder / "model.safetensors")
    with pytest.raises(ValueError, match="holds two sets of weights"):
        Loader(FRAMEPACK, source, choose_precision("cpu", "float32")).load("vae")
    assert "holds two sets of weights" in problems(source)["VAE"]


def test_swapped_shards_are_read_right_and_an_index_with_a_missing_shard_is_reported(source):
    folder = source.models_dir / FRAMEPACK.main
    one, two = (folder / f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2))
    loader = Loader(FRAMEPACK, source, choose_precision("cpu", "float32"))
    before = loader.load("transformer").state_dict()
    one.rename(folder / "aside")
    two.rename(one)
    (folder / "aside").rename(two)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loader.load("transformer").state_dict().items())
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": json.loads(index.read_text())["weight_map"] | {"a": "b.safetensors"}}))
    assert "lacks 1 of 4 files: b.safetensors" in problems(source)["transformer"]


def test_a_file_that_changed_though_its_time_is_the_same_is_reported_the_second_time(source):
    file = source.models_dir / VAE
    assert not problems(source)
    second = {verdict.part: verdict.summary for verdict in verify(FRAMEPACK, source)}
    assert "as they were when last verified" in second["VAE"]
    content, times = bytearray(file.read_bytes()), file.stat()
    content[-9] ^= 1  # a small change of a number, which looks like a weight
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "has changed since it was verified" in problems(source)["VAE"]


def test_a_run_tells_of_a_file_that_was_replaced_since_it_was_verified(source):
    loader = Loader(FRAMEPACK, source, choose_precision("cpu", "float32"))
    assert not problems(source)
    assert list(loader.notices()) == []
    file = source.models_dir / VAE
    os.utime(file, ns=(0, 1))
    (notice,) = loader.notices()
    assert (
        notice == f"{file} has changed since it was verified; run `framepack models verify framepack` to check it again"
    )
    assert not problems(source)
    assert list(loader.notices()) == []


def test_a_run_tells_of_large_weights_that_were_never_verified(source, monkeypatch):
    loader = Loader(FRAMEPACK, source, choose_precision("cpu", "float32"))
    monkeypatch.setattr("framepack.weights.loader.HASHED_WHEN_LOADED", 50_000)
    (notice,) = loader.notices()
    assert notice.endswith("never verified here: run `framepack models verify framepack` once to look for damage")
    assert not problems(source)
    assert list(loader.notices()) == []


def test_what_is_nowhere_is_reported(tmp_path):
    *_, verdict = verify(FRAMEPACK, ModelSource(models_dir=tmp_path, cache_dir=tmp_path))
    assert (verdict.part, verdict.problems) == ("transformer", [f"{FRAMEPACK.main} is nowhere"])


@pytest.mark.proof
def test_each_of_a_hundred_damages_of_weights_with_a_known_sum_is_found(tmp_path, monkeypatch):
    import importlib.util

    script = BUNDLED.parents[2] / "benchmarks" / "damaged_weights.py"
    spec = importlib.util.spec_from_file_location("damaged_weights", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = list(module.damages())
    assert len(rows) >= 100
    missed = []
    for seed, (name, file, damage) in enumerate(rows):
        folder = module.damaged(tmp_path / str(seed), file, damage, seed)
        assert (folder / SUMS).is_file()
        if not module.is_found(folder):
            missed.append((name, file))
        shutil.rmtree(folder)
    assert not missed
