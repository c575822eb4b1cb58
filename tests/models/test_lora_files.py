"""LoRA files as trainers write them: loaded to the bit, with a notice of what is left out, or refused in a sentence."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from tiny_checkpoints import SHAPE
from torch import Tensor

from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.lora import LoraError, check_lora, fuse_loras

DATA = Path(__file__).parents[1] / "data" / "loras"
WIDTH, RANK, ALPHA = 64, 4, 2.0
PLACE = "transformer_blocks.0.attn.to_q"
FLAT = PLACE.replace(".", "_")
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    module = HunyuanVideoTransformer3DModelPacked(TransformerConfig.from_dict(SHAPE)).requires_grad_(False)
    for parameter in module.parameters():
        parameter.copy_(0.05 * torch.randn(parameter.shape))
    return module


@pytest.fixture
def module(original):
    return copy.deepcopy(original)


def halves(rows: int = WIDTH, columns: int = WIDTH, rank: int = RANK) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(rank)
    return torch.randn(rank, columns, generator=g), torch.randn(rows, rank, generator=g)


def written(tensors: Tensors, file: Path) -> Path:
    """A file of these, some of which may be one tensor."""
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, file)
    return file


def changes(module, original) -> Tensors:
    """What differs between the two, by name."""
    return {n: p for n, p in module.named_parameters() if not torch.equal(p, original.get_parameter(n))}


def assert_changed_to(module, original, wanted: Tensors) -> None:
    found = changes(module, original)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def added(original, down: Tensor, up: Tensor, scale: float = 1.0, place: str = PLACE) -> Tensors:
    """`place` with the LoRA in it, by hand."""
    weight = original.get_parameter(f"{place}.weight")
    return {f"{place}.weight": weight + (scale * (up @ down)).view(weight.shape)}


CASES = {
    "lora_onetrainer": None,
    "lora_lycoris": None,
    "lora_with_embedding": "lora_with_embedding.safetensors: left out the tensor bundle_emb.token.clip_l of an",
    "lora_with_text_encoder": "3 tensors (lora_te1_text_model_encoder_layers_0_self_attn_q_proj.alpha ...) of a text",
    "lora_zero_bias": "left out the tensor transformer.transformer_blocks.0.attn.to_q.lora_B.bias, which is all zero",
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_other_trainers_give_the_same_weights(module, original, name):
    reference = copy.deepcopy(original)
    fuse_loras(reference, [(DATA / "lora_reference.safetensors", 1.0)])
    file, words = DATA / f"{name}.safetensors", CASES[name]
    notices = check_lora(module, file).notices
    fuse_loras(module, [(file, 1.0)])
    assert_changed_to(module, original, changes(reference, original))
    assert (len(notices), words is None or words in notices[0]) == (words is not None, True)


def named(down: Tensor, up: Tensor, name: str, ends: str = "peft", alpha: float | None = None) -> Tensors:
    first, second = ("lora_A", "lora_B") if ends == "peft" else ("lora_down", "lora_up")
    tensors = {f"{name}.{first}.weight": down.contiguous(), f"{name}.{second}.weight": up.contiguous()}
    return tensors | ({} if alpha is None else {f"{name}.alpha": torch.tensor(alpha)})


NAMINGS = {
    "kohya": (f"lora_unet_{FLAT}", "kohya", ALPHA),
    "onetrainer": (f"lora_transformer_{FLAT}", "kohya", ALPHA),
    "lycoris": (f"lycoris_{FLAT}", "kohya", ALPHA),
    "diffusers": (f"transformer.{PLACE}", "peft", None),
    "peft of a pipeline": (f"base_model.model.transformer.{PLACE}", "peft", None),
    "comfy": (f"diffusion_model.{PLACE}", "peft", None),
    "alpha of one": (f"transformer.{PLACE}", "peft", 1.0),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_loads_to_the_bit(module, original, tmp_path, naming):
    (down, up), (name, ends, alpha) = halves(), NAMINGS[naming]
    save_file(named(down, up, name, ends, alpha), tmp_path / "l.safetensors")
    fuse_loras(module, [(tmp_path / "l.safetensors", 1.0)])
    scale = 1.0 if alpha is None else alpha / RANK
    assert_changed_to(module, original, added(original, down, up, scale))
    assert not check_lora(module, tmp_path / "l.safetensors").notices


def small(tensor: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """8 bits, and the scale that brings them back."""
    scale = tensor.abs().max() / torch.finfo(dtype).max
    return (tensor / scale).to(dtype), scale.float()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("scaled", ["", "{}.scale_weight", "{}.weight_scale", "{}.weight.scale", "by row"])
def test_eight_bits_load_as_the_numbers_they_stand_for(module, original, tmp_path, dtype, scaled):
    down, up = halves()
    (down8, a), (up8, b) = small(down, dtype), small(up, dtype)
    tensors = named(down8, up8, f"transformer.{PLACE}") | {"scaled_fp8": torch.zeros(2, dtype=dtype)}
    exact_down, exact_up = down8.float(), up8.float()
    if scaled:
        if scaled == "by row":
            a, b, scaled = torch.linspace(1, 2, RANK), torch.linspace(1, 2, WIDTH).view(-1, 1), "{}.scale_weight"
        ends = {f"transformer.{PLACE}.lora_A": a, f"transformer.{PLACE}.lora_B": b}
        tensors |= {scaled.format(name): scale for name, scale in ends.items()}
        exact_down, exact_up = exact_down * a.view(-1, 1), exact_up * b.view(-1, 1)
    save_file(tensors, tmp_path / "small.safetensors")
    save_file(named(exact_down, exact_up, f"transformer.{PLACE}"), tmp_path / "exact.safetensors")
    fuse_loras(module, [(tmp_path / "small.safetensors", 1.0)])
    exact = copy.deepcopy(original)
    fuse_loras(exact, [(tmp_path / "exact.safetensors", 1.0)])
    assert_changed_to(module, original, changes(exact, original))
    assert changes(exact, original)


DOWN, UP = halves()
QKV = [f"transformer_blocks.0.attn.to_{x}" for x in "qkv"]
LOADED: dict[str, tuple[Tensors, Callable]] = {
    "rank 1": (named(*halves(rank=1), PLACE), lambda m: added(m, *halves(rank=1))),
    "rank 256, as few-step LoRAs have": (
        named(*halves(rank=256), PLACE, alpha=256.0),
        lambda m: added(m, *halves(rank=256)),
    ),
    "mixed types": (
        named(DOWN.half(), UP.bfloat16(), PLACE),
        lambda m: added(m, DOWN.half().float(), UP.bfloat16().float()),
    ),
    "float64": (named(DOWN.double(), UP.double(), PLACE), lambda m: added(m, DOWN, UP)),
    "alpha as a whole number": (
        named(DOWN, UP, PLACE) | {f"{PLACE}.alpha": torch.tensor(2)},
        lambda m: added(m, DOWN, UP, 2 / RANK),
    ),
    "alpha as a list of one": (
        named(DOWN, UP, PLACE) | {f"{PLACE}.alpha": torch.tensor([2.0])},
        lambda m: added(m, DOWN, UP, 2 / RANK),
    ),
    "kernels of 1 x 1": (
        named(DOWN[..., None, None], UP[..., None, None], f"lora_unet_{FLAT}", "kohya", ALPHA),
        lambda m: added(m, DOWN, UP, ALPHA / RANK),
    ),
    "another adapter's name": (
        {f"{PLACE}.lora_A.style.weight": DOWN, f"{PLACE}.lora_B.style.weight": UP},
        lambda m: added(m, DOWN, UP),
    ),
    "fused queries, keys and values": (
        named(*halves(rows=3 * WIDTH), "diffusion_model.double_blocks.0.img_attn_qkv"),
        lambda m: {
            name: value
            for part, up in zip(QKV, halves(rows=3 * WIDTH)[1].chunk(3), strict=True)
            for name, value in added(m, halves(rows=3 * WIDTH)[0], up, place=part).items()
        },
    ),
    "a bias, scaled as its weight is": (
        named(DOWN, UP, PLACE, alpha=ALPHA) | {f"{PLACE}.lora_B.bias": UP[:, 0].contiguous()},
        lambda m: (
            added(m, DOWN, UP, ALPHA / RANK)
            | {f"{PLACE}.bias": m.get_parameter(f"{PLACE}.bias") + ALPHA / RANK * UP[:, 0]}
        ),
    ),
    "a bias alone": (
        {f"diffusion_model.{PLACE}.diff_b": UP[:, 0].contiguous()},
        lambda m: {f"{PLACE}.bias": m.get_parameter(f"{PLACE}.bias") + UP[:, 0]},
    ),
}


@pytest.mark.parametrize("what", LOADED)
def test_odd_files_load_to_the_bit_without_a_notice(module, original, tmp_path, what):
    tensors, wanted = LOADED[what]
    save_file(tensors, tmp_path / "l.safetensors", metadata={"ss_tag": "été 東京 🎬"})
    fuse_loras(module, [(tmp_path / "l.safetensors", 1.0)])
    assert_changed_to(module, original, wanted(original))
    assert check_lora(module, tmp_path / "l.safetensors").notices == ()


NOTICED = {
    "text encoders and embeddings": (
        named(DOWN, UP, "text_encoder.layers.0.q") | {"bundle_emb.a.t5": DOWN, "lora_te2_x.dora_scale": UP},
        ["left out 3 tensors (lora_te2_x.dora_scale ...) of a text encoder", "bundle_emb.a.t5 of an embedding"],
    ),
    "biases of zero": (
        {f"{PLACE}.diff_b": torch.zeros(WIDTH), f"{PLACE}.bias": torch.zeros(WIDTH), "nowhere.diff": torch.zeros(3)},
        ["3 tensors (", "all zero"],
    ),
    "alpha is zero": (
        named(DOWN, UP, QKV[1], alpha=0.0),
        ["1 of its modules have no effect, as their alpha is zero (transformer_blocks.0.attn.to_k.alpha)"],
    ),
}


@pytest.mark.parametrize("what", NOTICED)
def test_what_has_no_effect_is_reported_and_the_rest_loads(module, original, tmp_path, what):
    extra, words = NOTICED[what]
    written(named(DOWN, UP, PLACE) | extra, tmp_path / "l.safetensors")
    told = check_lora(module, tmp_path / "l.safetensors").notices
    assert all(any(word in notice for notice in told) for word in words), told
    assert all(len(notice) <= 300 for notice in told)
    fuse_loras(module, [(tmp_path / "l.safetensors", 1.0)])
    assert_changed_to(module, original, added(original, DOWN, UP))


GOOD = named(DOWN, UP, PLACE)
ONES = torch.ones(WIDTH)
REFUSED: dict[str, tuple[Tensors | bytes, str]] = {
    "DoRA": (
        named(DOWN, UP, f"lora_transformer_{FLAT}", "kohya") | {f"lora_transformer_{FLAT}.dora_scale": ONES},
        r"dora_scale is not a tensor of a plain LoRA but of the kind DoRA",
    ),
    "DoRA of peft": (
        GOOD | {f"{PLACE}.lora_magnitude_vector.weight": ONES},
        "lora_magnitude_vector.* of the kind DoRA",
    ),
    "LoKr": (
        {f"lycoris_{FLAT}.lokr_w1": DOWN, f"lycoris_{FLAT}.lokr_w2": UP},
        "lokr_w1 is not .* but of the kind LoKr",
    ),
    "LoHa": ({f"lycoris_{FLAT}.hada_w1_a": DOWN}, "hada_w1_a is not .* but of the kind LoHa"),
    "a whole difference": (GOOD | {f"{PLACE}.diff": torch.ones(WIDTH, WIDTH)}, "diff is not a tensor of a plain LoRA"),
    "a bias without a place": (GOOD | {f"{PLACE}.bias": ONES}, r"to_q\.bias is not a tensor of a plain LoRA"),
    "a bias in the first half": (GOOD | {f"{PLACE}.lora_A.bias": torch.ones(RANK)}, "lora_A.bias is not a tensor"),
    "a bias too long": (GOOD | {f"{PLACE}.diff_b": torch.ones(65)}, "diff_b must be as many numbers as 64, got shape"),
    "text encoders alone": (named(DOWN, UP, "lora_te1_x", "kohya"), "is for a text encoder alone"),
    "transposed": (
        named(*(half.T for half in halves(rows=2 * WIDTH)), PLACE),
        "is for another model, or its halves are transposed",
    ),
    "a kernel of 2 x 2": (
        named(DOWN[..., None, None], torch.ones(WIDTH // 4, RANK, 2, 2), PLACE),
        "is for another model, or its halves are transposed",
    ),
    "rank 0": (named(torch.ones(0, WIDTH), torch.ones(WIDTH, 0), PLACE, alpha=1.0), "is for another model"),
    "half a pair": ({f"{PLACE}.lora_B.weight": UP}, "lora_B.weight lacks its other half"),
    "a scale alone": ({f"{PLACE}.lora_B.scale_weight": torch.ones(())}, "scale_weight lacks its other half"),
    "a bias of a half alone": ({f"{PLACE}.lora_B.bias": ONES, f"{PLACE}.diff_b": ONES}, "lacks its other half"),
    "two spellings of one tensor": (GOOD | {f"{PLACE}.lora_down.weight": DOWN}, "two tensors for one place"),
    "two names of one place": (GOOD | named(DOWN, UP, f"lora_unet_{FLAT}", "kohya"), "two changes for one place"),
    "fused and split": (
        GOOD | named(*halves(rows=3 * WIDTH), "double_blocks.0.img_attn_qkv"),
        "two changes for one place",
    ),
    "whole numbers": (named(DOWN.to(torch.int8), UP, PLACE), "lora_A.weight is I8, but must be floating-point"),
    "NaN": (named(DOWN * float("nan"), UP, PLACE), "not finite: the LoRA is damaged"),
    "infinity in a bias": ({f"{PLACE}.diff_b": ONES * float("inf")}, r"to_q\.bias that are not finite"),
    "nothing": ({}, "holds no LoRA tensors"),
    "an empty file": (b"", "is not a safetensors file, or is cut short"),
    "cut short": (save(GOOD)[:-9], "is not a safetensors file, or is cut short"),
    "a huge header": ((2**40).to_bytes(8, "little") + b"{}" * 50, "is not a safetensors file, or is cut short"),
    "a pickle": (pickle.dumps({"a": 1}), "is not a safetensors file, or is cut short"),
    "a long name": (GOOD | {"x" * 5000: ONES}, r"x\.\.\.x+ is not a tensor of a plain LoRA"),
    "a deep configuration": (save(GOOD, {"lora_adapter_metadata": "[" * 9999}), "does not describe a LoRA"),
    "endless alpha": (save(GOOD, {"lora_adapter_metadata": json.dumps({"lora_alpha": 1e999})}), "not finite"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_sentence(module, original, tmp_path, monkeypatch, what):
    content, words = REFUSED[what]
    monkeypatch.chdir(tmp_path)
    Path("l.safetensors").write_bytes(content) if isinstance(content, bytes) else written(
        content, Path("l.safetensors")
    )
    with pytest.raises(LoraError, match=words) as refused:
        fuse_loras(module, [(Path("l.safetensors"), 1.0)])
    assert len(str(refused.value)) <= 300
    assert "\n" not in str(refused.value)
    assert not changes(module, original)
