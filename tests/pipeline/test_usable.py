"""A component whose output nobody can use ends the job in a sentence that names it, not in a wrong picture."""

import shutil

import pytest
import torch
from runs import request_of
from safetensors.torch import load_file, save_file
from tiny_checkpoints import BASE, TRANSFORMERS, VISION

from framepack import FramePack
from framepack.models.checkpoint import CheckpointError
from framepack.models.hunyuan.encoders import load_text_encoder
from framepack.models.lora import LoraError
from framepack.pipeline.usable import UnusableError, require_usable

NAN = float("nan")


@pytest.fixture
def models(tiny_models_dir, tmp_path):
    """Models of which nobody knows a checksum."""
    return shutil.copytree(tiny_models_dir, tmp_path / "models")


def fill(file, ends: str, value: float) -> None:
    """Give all numbers of the tensors with this end of name a value."""
    weights = load_file(file)
    named = [name for name in weights if name.endswith(ends)]
    assert named
    for name in named:
        weights[name].fill_(value)
    save_file(weights, file, metadata={"format": "pt"})


def generate(models, picture, **fields):
    framepack = FramePack.load("mini", models_dir=models, dtype="float32", device="cpu")
    video = models.parent / "v.mkv"
    try:
        list(framepack.generate(request_of(picture, video, **fields)))
    finally:
        assert not video.exists()


DAMAGES = [
    (
        f"{BASE}/text_encoder/model-00001-of-0000?.safetensors",
        "embed_tokens.weight",
        NAN,
        "text encoders",
        "not finite",
    ),
    (
        f"{BASE}/text_encoder_2/model.safetensors",
        "final_layer_norm.weight",
        float("inf"),
        "text encoders",
        "not finite",
    ),
    (f"{VISION}/image_encoder/model.safetensors", "patch_embedding.weight", NAN, "image encoder", "not finite"),
    (
        f"{BASE}/vae/diffusion_pytorch_model.safetensors",
        "encoder.conv_in.conv.bias",
        NAN,
        "VAE's encoder",
        "not finite",
    ),
    (f"{BASE}/vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.conv.bias", NAN, "VAE's ", "not finite"),
    (f"{BASE}/vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.conv.weight", 0.0, "VAE's ", "everywhere"),
    (f"{TRANSFORMERS[2]}/*-00001-of-00003.safetensors", ".weight", NAN, "transformer's", "models verify mini"),
]


@pytest.mark.parametrize(("file", "ends", "value", "component", "said"), DAMAGES)
def test_damaged_weights_without_a_checksum_end_in_a_sentence(models, picture, file, ends, value, component, said):
    for path in models.glob(file):
        if any(name.endswith(ends) for name in load_file(path)):
            fill(path, ends, value)
            break
    if "conv_out" in ends and value == 0:
        fill(path, "decoder.conv_out.conv.bias", 0.25)
    with pytest.raises(UnusableError) as error:
        generate(models, picture)
    assert f"the {component}" in str(error.value)
    assert said in str(error.value)
    assert "framepack models verify mini" in str(error.value)
    assert len(str(error.value)) < 300


def test_what_is_usable_passes_and_what_is_not_is_reported():
    require_usable("VAE", torch.tensor([0.0, 1.0]), "mini")
    for wrong in ([0.0, NAN], [float("inf"), 0.0], [float("-inf"), float("inf")], [0.5, 0.5]):
        with pytest.raises(UnusableError, match="the VAE's output is"):
            require_usable("VAE", torch.tensor(wrong), "mini")


def test_a_tokenizer_of_another_model_is_reported_before_a_row_beyond_the_table_is_read(tiny_models_dir):
    encoder = load_text_encoder(tiny_models_dir / BASE)
    encoder.clip.config.vocab_size = 100
    with pytest.raises(CheckpointError, match=r"tokenizer_2 makes the token \d+, and its encoder knows 100"):
        encoder.encode("a ball")


LORA = "transformer.single_transformer_blocks.0.attn.to_v"


@pytest.mark.parametrize(
    ("down", "words"),
    [
        (torch.full((2, 64), NAN), "not finite"),
        (torch.full((2, 64), 3e38), "not finite"),
        (torch.ones((2, 64), dtype=torch.int8), f"{LORA}.lora_A.weight is I8"),
    ],
)
def test_a_damaged_lora_is_named(tiny_models_dir, picture, tmp_path, down, words):
    file = tmp_path / "style.safetensors"
    save_file({f"{LORA}.lora_A.weight": down, f"{LORA}.lora_B.weight": torch.full((64, 2), 2.0)}, file)
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    with pytest.raises(LoraError, match="style") as error:
        list(framepack.generate(request_of(picture, tmp_path / "v.mp4", loras=[{"file": file}])))
    assert words in str(error.value)
