"""Text and image features: the public application's numbers, the tokenizers' traps, and the limits."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_checkpoints import BASE, VISION
from transformers import CLIPTextModel, LlamaModel, SiglipVisionModel

from framepack.models.checkpoint import CheckpointError
from framepack.models.hunyuan.encoders import load_image_encoder, load_text_encoder, preprocess
from framepack.models.hunyuan.tokenizers import (
    TEMPLATE_PREFIX,
    TEMPLATE_SUFFIX,
    load_tokenizer,
    load_tokenizers,
    tokenize,
)

PROMPT = "a red ball rolls to the right, slowly"


@pytest.fixture(scope="module")
def text_encoder(tiny_models_dir):
    return load_text_encoder(tiny_models_dir / BASE)


@pytest.fixture
def base(tiny_models_dir, tmp_path):
    return shutil.copytree(tiny_models_dir / BASE, tmp_path / "base")


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_text_and_pooled_equal_the_public_application(reference):
    run = load_file(reference / "runs" / "i2v_one.safetensors")
    prompt = json.loads((reference / "runs" / "index.json").read_text())["i2v_one"]["params"]["prompt"]
    features = load_text_encoder(reference / "checkpoints" / BASE).encode(prompt)
    assert features.text.shape == run["text"].shape
    assert relative(features.text, run["text"]) < 1e-5
    assert relative(features.pooled, run["pooled"]) < 1e-5


def test_image_features_equal_the_public_application(reference):
    run = load_file(reference / "runs" / "i2v_one.safetensors")
    whole = Image.open(reference / "input.png").convert("RGB").resize((107, 64), Image.Resampling.LANCZOS)
    crop = np.asarray(whole.crop((5.5, 0, 101.5, 64)))  # pyright: ignore[reportArgumentType]
    assert relative(load_image_encoder(reference / "checkpoints" / VISION).encode(crop), run["image"]) < 1e-5


def test_llama_without_its_last_layers_gives_the_third_last_hidden_state(tiny_models_dir, text_encoder):
    whole = LlamaModel.from_pretrained(tiny_models_dir / BASE / "text_encoder").eval()
    ids, _ = tokenize(text_encoder.tokenizer, TEMPLATE_PREFIX + PROMPT + TEMPLATE_SUFFIX, 351)
    with torch.no_grad():
        states = whole(torch.tensor([ids]), output_hidden_states=True).hidden_states
    assert len(text_encoder.blocks) == len(whole.layers) - 2
    torch.testing.assert_close(text_encoder.encode(PROMPT).text, states[-3][:, 95:], rtol=1e-5, atol=1e-6)


def test_skipping_clips_padding_changes_nothing(tiny_models_dir, text_encoder):
    clip = CLIPTextModel.from_pretrained(tiny_models_dir / BASE / "text_encoder_2").eval()
    ids, _ = tokenize(text_encoder.tokenizer_2, PROMPT, 77)
    padded = torch.tensor([ids + [0] * (77 - len(ids))])
    with torch.no_grad():
        expected = clip(padded).pooler_output
    torch.testing.assert_close(text_encoder.encode(PROMPT).pooled, expected, rtol=1e-5, atol=1e-6)


def test_siglip_without_its_head_gives_the_last_hidden_state(tiny_models_dir):
    encoder = load_image_encoder(tiny_models_dir / VISION)
    image = np.random.default_rng(0).integers(0, 256, (40, 72, 3), dtype=np.uint8)
    whole = SiglipVisionModel.from_pretrained(tiny_models_dir / VISION / "image_encoder").eval()
    pixels = torch.from_numpy(preprocess(image, encoder.preprocessor))[None]
    with torch.no_grad():
        expected = whole(pixels).last_hidden_state
    assert encoder.encode(image).shape == (1, 16, 24)
    torch.testing.assert_close(encoder.encode(image), expected, rtol=1e-5, atol=1e-6)


def test_preprocessing_equals_transformers_own(tiny_models_dir):
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    folder = tiny_models_dir / VISION / "feature_extractor"
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    theirs = SiglipImageProcessorPil.from_pretrained(folder)(images=image, return_tensors="np").pixel_values[0]
    ours = preprocess(image, json.loads((folder / "preprocessor_config.json").read_text()))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_an_empty_prompt_is_a_prompt(text_encoder):
    features = text_encoder.encode("")
    assert features.text.shape[1] == 1  # the template's closing token
    assert features.notice() is None


def test_braces_in_a_prompt_are_only_text(text_encoder):
    assert text_encoder.encode("{} {0} {x}").text.shape[1] > 5


def test_a_long_prompt_is_cut_and_the_user_is_reported(text_encoder):
    long = text_encoder.encode("word " * 600)
    assert long.text.shape[1] == 256
    assert long.text_cut > 300
    assert f"{long.text_cut} tokens longer than the 256" in str(long.notice())


def test_a_prompt_too_long_for_clip_only_says_so(text_encoder):
    ids, _ = tokenize(text_encoder.tokenizer_2, PROMPT, 1000)
    features = text_encoder.encode(" ".join([PROMPT] * (77 // len(ids) + 2)))
    assert features.text_cut == 0
    assert features.pooled_cut > 0
    assert "CLIP" in str(features.notice())


def test_a_cut_keeps_the_closing_token_and_counts_exactly(text_encoder):
    whole, none_cut = tokenize(text_encoder.tokenizer_2, PROMPT, 1000)
    short, cut = tokenize(text_encoder.tokenizer_2, PROMPT, 8)
    assert none_cut == 0
    assert short == [*whole[:7], whole[-1]]
    assert cut == len(whole) - 8


def test_the_tokenizer_file_is_taken_as_it_is(base):
    """transformers' LlamaTokenizer would replace the pre-tokenizer, and the spaces would be gone."""
    config = {"tokenizer_class": "LlamaTokenizerFast", "add_prefix_space": False}
    (base / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(base / "tokenizer")
    assert tokenizer.decode(tokenizer.encode("a cat walks").ids) == "a cat walks"


def test_a_clip_tokenizer_without_tokenizer_json_is_built_from_its_vocabulary(tmp_path):
    vocab = {"a": 0, "a</w>": 1, "b": 2, "b</w>": 3, "ab</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    assert tokenize(load_tokenizer(tmp_path), "ab a", 77) == ([5, 4, 1, 6], 0)


def test_another_models_tokenizer_is_refused(base):
    shutil.copy(base / "tokenizer_2" / "tokenizer.json", base / "tokenizer" / "tokenizer.json")
    with pytest.raises(CheckpointError, match="tokens of the prompt template, must be 95"):
        load_tokenizers(base)


@pytest.mark.parametrize("content", ["", "{}", '{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_named(base, content):
    (base / "tokenizer" / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match="holds no readable tokenizer"):
        load_text_encoder(base)


def test_a_missing_tokenizer_is_named(base):
    shutil.rmtree(base / "tokenizer_2")
    with pytest.raises(CheckpointError, match="tokenizer_2 is missing"):
        load_text_encoder(base)


@pytest.mark.parametrize(("folder", "prefix"), [("text_encoder_2", "text_model."), ("text_encoder", "model.")])
def test_files_with_a_wrappers_prefix_give_the_same_features(base, text_encoder, folder, prefix):
    """As older transformers wrote them, with the buffers it used to save."""
    files = sorted((base / folder).glob("*.safetensors"))
    weights = {f"{prefix}{name}": tensor for file in files for name, tensor in load_file(file).items()}
    extra = {f"{prefix}embeddings.position_ids": torch.arange(77)[None]} if "2" in folder else {}
    for file in (base / folder).glob("model*"):
        file.unlink()
    save_file(weights | extra, base / folder / "model.safetensors")
    again, before = load_text_encoder(base).encode(PROMPT), text_encoder.encode(PROMPT)
    assert torch.equal(again.text, before.text)
    assert torch.equal(again.pooled, before.pooled)


def test_a_missing_layer_is_named(base):
    save_file({"embed_tokens.weight": torch.zeros(461, 32)}, base / "text_encoder" / "model.safetensors")
    (base / "text_encoder" / "model.safetensors.index.json").unlink()
    with pytest.raises(CheckpointError, match=r"18 missing \(layers\.0\."):
        load_text_encoder(base)


def test_a_preprocessor_without_a_size_is_named(tiny_models_dir, tmp_path):
    vision = shutil.copytree(tiny_models_dir / VISION, tmp_path / "vision")
    (vision / "feature_extractor" / "preprocessor_config.json").write_text('{"image_mean": [0], "image_std": [1]}')
    with pytest.raises(CheckpointError, match="lacks size"):
        load_image_encoder(vision)


def test_half_precision_weights_still_rotate_in_float32(tiny_models_dir):
    encoder = load_text_encoder(tiny_models_dir / BASE, torch.float16)
    assert encoder.llama.layers[0].self_attn.q_proj.weight.dtype == torch.float16
    assert encoder.llama.rotary_emb.inv_freq.dtype == torch.float32
    assert relative(encoder.encode(PROMPT).text, load_text_encoder(tiny_models_dir / BASE).encode(PROMPT).text) < 1e-2


def test_no_encoder_hands_a_mask_to_attention(tiny_models_dir, text_encoder, monkeypatch):
    """On newer cards PyTorch would give one to cuDNN, whose masks have faults; see `models/attention.py`."""
    attend, masks = torch.nn.functional.scaled_dot_product_attention, []

    def seen(query, key, value, attn_mask=None, **options):
        masks.append(attn_mask)
        return attend(query, key, value, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
    text_encoder.encode("a ball")
    text_encoder.encode("")
    load_image_encoder(tiny_models_dir / VISION).encode(np.zeros((32, 48, 3), np.uint8))
    assert len(masks) > 4
    assert masks == [None] * len(masks)
