"""From a variant to its modules: the right classes, dtypes and numbers, and one clear sentence when files are bad."""

import json
import shutil
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from framepack.memory import MemoryManager
from framepack.models.attention import BACKENDS
from framepack.models.checkpoint import CheckpointError
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, Precision, choose_attention, choose_precision, cpu_has_bfloat16
from framepack.weights.sources import MissingModelError, ModelSource

FRAMEPACK = VARIANTS["framepack"]
FLOAT32 = choose_precision("cpu", "float32")


@pytest.fixture(scope="module")
def loader(tiny_models_dir):
    return Loader(FRAMEPACK, ModelSource(models_dir=tiny_models_dir), FLOAT32)


@pytest.fixture
def damaged(tiny_models_dir, tmp_path):
    return ModelSource(models_dir=shutil.copytree(tiny_models_dir, tmp_path / "models"), cache_dir=tmp_path)


def test_every_part_loads_and_fits_the_others(loader):
    text, image = loader.load("text").encode("a ball"), loader.load("image").encode(np.zeros((32, 48, 3), np.uint8))
    latent = loader.load("vae").encode(np.zeros((1, 32, 48, 3), np.uint8))
    table = loader.load("transformer").condition(
        torch.tensor([1000.0]), torch.tensor([10000.0]), text.pooled, text.text, None, image
    )
    assert latent.shape == (1, 16, 1, 4, 6)
    assert torch.isfinite(table.final).all()


def test_transformer_weights_are_the_files(loader, tiny_models_dir):
    from safetensors.torch import load_file

    state = loader.load("transformer").state_dict()
    for file in (tiny_models_dir / FRAMEPACK.main).glob("*.safetensors"):
        assert all(torch.equal(state.pop(name), tensor) for name, tensor in load_file(file).items())
    assert not state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_text_encoders_in_their_files_hear_the_same(tiny_models_dir, dtype):
    dtypes = Precision(transformer=torch.float32, encoders=dtype, vae=torch.float32)
    loader = Loader(FRAMEPACK, ModelSource(models_dir=tiny_models_dir), dtypes)
    truth, files, memory = loader.load("text").encode("a ball"), {}, MemoryManager("cpu", ram_limit=1 << 40)
    memory.add("text", lambda: loader.load("text", files=files), files=files, blocks=lambda text: text.blocks)
    with memory.lease("text") as text:
        assert {p.dtype for p in text.parameters()} == {dtype}
        heard = text.encode("a ball")
    stored = {name for name, _ in text.named_parameters()}
    assert files.keys() >= stored
    assert torch.equal(heard.text, truth.text)
    assert torch.equal(heard.pooled, truth.pooled)
    memory.close()


def test_sizes_are_known_before_anything_is_read(loader):
    text, sizes = loader.load("text"), loader.sizes()
    for part in ("transformer", "vae"):
        assert sizes[part] == sum(p.nbytes for p in loader.load(part).parameters()), part
    assert sizes["image"] >= sum(p.nbytes for p in loader.load("image").parameters())
    unread = sizes["text"] - sum(p.nbytes for p in text.parameters())
    layer = sum(p.nbytes for p in text.llama.layers[0].parameters())
    assert 2 * layer <= unread < 3 * layer  # Llama's last layers and its norm


def test_each_part_gets_its_own_dtype(tiny_models_dir):
    dtypes = Precision(transformer=torch.bfloat16, encoders=torch.float16, vae=torch.float32)
    loader = Loader(FRAMEPACK, ModelSource(models_dir=tiny_models_dir), dtypes)
    for part, dtype in {"transformer": torch.bfloat16, "text": torch.float16, "image": torch.float16}.items():
        assert {p.dtype for p in loader.load(part).parameters()} == {dtype}, part
    assert {p.dtype for p in loader.load("vae").parameters()} == {torch.float32}


def test_a_gpu_gets_the_public_applications_dtypes():
    assert choose_precision("cuda") == Precision(transformer=torch.bfloat16, encoders=torch.float16, vae=torch.float16)


def test_a_cpu_gets_bfloat16_only_where_it_has_it(monkeypatch):
    assert isinstance(cpu_has_bfloat16(), bool)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert choose_precision("cpu") == Precision(transformer=torch.bfloat16, encoders=torch.float32, vae=torch.bfloat16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert choose_precision("cpu") == Precision(transformer=torch.float32, encoders=torch.float32, vae=torch.float32)


def test_float32_is_for_everything_and_another_dtype_for_the_transformer():
    assert choose_precision("cuda", "float32") == FLOAT32
    assert choose_precision("cuda", "fp16") == Precision(
        transformer=torch.float16, encoders=torch.float16, vae=torch.float16
    )
    with pytest.raises(ValueError, match=r"dtype must be one of float32, .*got 'int8'"):
        choose_precision("cuda", "int8")


def test_nothing_is_looked_for_before_it_is_needed(tmp_path):
    loader = Loader(FRAMEPACK, ModelSource(models_dir=tmp_path, cache_dir=tmp_path), FLOAT32)
    with pytest.raises(MissingModelError, match="not complete"):
        loader.load("vae")


def test_another_architecture_is_refused_by_name(damaged):
    config = damaged.models_dir / FRAMEPACK.main / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "WanTransformer3DModel"}))
    with pytest.raises(CheckpointError, match=r"names the class 'WanTransformer3DModel', known are"):
        Loader(FRAMEPACK, damaged, FLOAT32).load("transformer")


@pytest.mark.parametrize("change", [{"num_layers": 2}, {"num_layers": "two"}, {"colour": 1}, {"qk_norm": None}])
def test_a_config_that_does_not_fit_the_weights_is_a_checkpoint_error(damaged, change):
    config = damaged.models_dir / FRAMEPACK.main / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(CheckpointError, match="FramePackI2V_HY"):
        Loader(FRAMEPACK, damaged, FLOAT32).load("transformer")


WRONG_CONFIGS = [
    ("text", f"{FRAMEPACK.repositories['base']}/text_encoder/config.json", {"num_hidden_layers": "x"}),
    ("text", f"{FRAMEPACK.repositories['base']}/text_encoder/config.json", {"num_attention_heads": 0}),
    ("text", f"{FRAMEPACK.repositories['base']}/text_encoder/config.json", {"vocab_size": -1}),
    ("text", f"{FRAMEPACK.repositories['base']}/text_encoder_2/config.json", {"hidden_act": None}),
    ("text", f"{FRAMEPACK.repositories['base']}/text_encoder_2/config.json", {"dtype": "x"}),
    ("vae", f"{FRAMEPACK.repositories['base']}/vae/config.json", {"block_out_channels": []}),
    ("vae", f"{FRAMEPACK.repositories['base']}/vae/config.json", {"scaling_factor": None}),
    ("image", f"{FRAMEPACK.repositories['vision']}/image_encoder/config.json", {"image_size": 10**6}),
    ("image", f"{FRAMEPACK.repositories['vision']}/feature_extractor/preprocessor_config.json", {"size": 384}),
    (
        "image",
        f"{FRAMEPACK.repositories['vision']}/feature_extractor/preprocessor_config.json",
        {"image_std": [0, 0, 0]},
    ),
    (
        "image",
        f"{FRAMEPACK.repositories['vision']}/feature_extractor/preprocessor_config.json",
        {"size": {"height": 9**9, "width": 1}},
    ),
]


@pytest.mark.parametrize(("part", "name", "change"), WRONG_CONFIGS, ids=[str(row[2])[:40] for row in WRONG_CONFIGS])
def test_a_value_that_no_model_has_is_one_sentence_that_names_the_file(damaged, part, name, change):
    file = damaged.models_dir / name
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=file.name) as told:
        Loader(FRAMEPACK, damaged, FLOAT32).load(part)
    assert "\n" not in str(told.value)


def test_an_attention_whose_package_does_not_load_or_fit_is_refused_before_the_model(monkeypatch):
    with pytest.raises(ValueError, match="needs the package flash_attn, which is not installed; use auto"):
        choose_attention("flash-attn")
    monkeypatch.setitem(sys.modules, "sageattention", None)  # importing it fails
    with pytest.raises(ValueError, match=r"the package sageattention does not load \(.*\); install the one for torch"):
        choose_attention("sage")
    monkeypatch.setitem(sys.modules, "sageattention", ModuleType("sageattention"))
    assert choose_attention("sage") is BACKENDS["sage"]
    with pytest.raises(ValueError, match="attention sage needs a CUDA device, got cpu: use auto"):
        choose_attention("sage", torch.device("cpu"))
