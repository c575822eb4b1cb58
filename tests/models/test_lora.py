"""LoRA files of every naming give the forward of W + strength * alpha / rank * B A put in by hand."""

import copy
import json
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_hunyuan_video_lora_to_diffusers
from oracle import TINY, case, our_velocity, pair
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor

from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.lora import LoraError, check_lora, fuse_loras

RANK, ALPHA, STRENGTH = 3, 6.0, 0.7
WIDTH = TINY["num_attention_heads"] * TINY["attention_head_dim"]
SCALE = STRENGTH * ALPHA / RANK


@pytest.fixture(scope="module")
def original():
    return pair()[1]


@pytest.fixture
def module(original):
    return copy.deepcopy(original)


def matrix(module, name: str) -> Tensor:
    return module.get_parameter(f"{name}.weight")


def halves(rows: int, columns: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(RANK, columns, generator=g), 0.3 * torch.randn(rows, RANK, generator=g)


OURS = (
    "transformer_blocks.1.attn.to_q",
    "transformer_blocks.0.attn.to_out.0",
    "transformer_blocks.0.attn.add_v_proj",
    "transformer_blocks.1.ff.net.0.proj",
    "transformer_blocks.1.ff_context.net.2",
    "transformer_blocks.1.norm1.linear",
    "single_transformer_blocks.1.attn.to_k",
    "single_transformer_blocks.0.proj_mlp",
    "single_transformer_blocks.0.proj_out",
    "context_embedder.proj_in",
    "norm_out.linear",
    "x_embedder.proj",
)


def lora_by_our_names(module) -> dict[str, tuple[Tensor, Tensor]]:
    weights = {name: matrix(module, name) for name in OURS}
    return {n: halves(len(w), w[0].numel(), seed) for seed, (n, w) in enumerate(weights.items())}


def add_by_hand(module, name: str, down: Tensor, up: Tensor, scale: float = SCALE) -> None:
    weight = matrix(module, name)
    with torch.no_grad():
        weight += scale * (up @ down).view(weight.shape)


def assert_same_forward(fused, expected, original) -> None:
    inputs = case()
    with torch.inference_mode():
        ours, wanted, before = (our_velocity(m, inputs) for m in (fused, expected, original))
    assert torch.allclose(ours, wanted, atol=1e-4, rtol=1e-4)
    assert (wanted - before).abs().max() > 0.05, "the LoRA must change something"


def diffusers_names(lora: dict) -> dict[str, Tensor]:
    return {
        f"transformer.{name}.lora_{'AB'[i]}.weight": half
        for name, halves in lora.items()
        for i, half in enumerate(halves)
    } | {f"transformer.{name}.alpha": torch.tensor(ALPHA) for name in lora}


def kohya_names(lora: dict) -> dict[str, Tensor]:
    tensors = {}
    for name, (down, up) in lora.items():
        flat = f"lora_unet_{name.replace('.', '_')}"
        tensors |= {
            f"{flat}.lora_down.weight": down,
            f"{flat}.lora_up.weight": up,
            f"{flat}.alpha": torch.tensor(ALPHA),
        }
    return tensors


@pytest.mark.parametrize("naming", [diffusers_names, kohya_names])
def test_our_names_fuse_to_the_weights_by_hand(module, original, tmp_path, naming):
    lora = lora_by_our_names(module)
    save_file(naming(lora), tmp_path / "lora.safetensors")
    expected = copy.deepcopy(module)
    for name, (down, up) in lora.items():
        add_by_hand(expected, name, down, up)
    fuse_loras(module, [(tmp_path / "lora.safetensors", STRENGTH)])
    assert_same_forward(module, expected, original)


ORIGINAL = {
    "double_blocks.1.img_attn_qkv": [f"transformer_blocks.1.attn.to_{x}" for x in "qkv"],
    "double_blocks.0.txt_attn_qkv": [f"transformer_blocks.0.attn.add_{x}_proj" for x in "qkv"],
    "double_blocks.0.img_attn_proj": ["transformer_blocks.0.attn.to_out.0"],
    "double_blocks.0.txt_attn_proj": ["transformer_blocks.0.attn.to_add_out"],
    "double_blocks.0.img_mlp.fc1": ["transformer_blocks.0.ff.net.0.proj"],
    "double_blocks.1.txt_mlp.fc2": ["transformer_blocks.1.ff_context.net.2"],
    "double_blocks.1.img_mod.linear": ["transformer_blocks.1.norm1.linear"],
    "single_blocks.1.linear1": [f"single_transformer_blocks.1.attn.to_{x}" for x in "qkv"]
    + ["single_transformer_blocks.1.proj_mlp"],
    "single_blocks.0.linear2": ["single_transformer_blocks.0.proj_out"],
    "single_blocks.0.modulation.linear": ["single_transformer_blocks.0.norm.linear"],
    "txt_in.individual_token_refiner.blocks.1.self_attn_qkv": [
        f"context_embedder.token_refiner.refiner_blocks.1.attn.to_{x}" for x in "qkv"
    ],
    "txt_in.individual_token_refiner.blocks.0.mlp.fc1": [
        "context_embedder.token_refiner.refiner_blocks.0.ff.net.0.proj"
    ],
    "txt_in.t_embedder.mlp.0": ["context_embedder.time_text_embed.timestep_embedder.linear_1"],
    "txt_in.c_embedder.linear_2": ["context_embedder.time_text_embed.text_embedder.linear_2"],
    "time_in.mlp.2": ["time_text_embed.timestep_embedder.linear_2"],
    "guidance_in.mlp.0": ["time_text_embed.guidance_embedder.linear_1"],
    "vector_in.in_layer": ["time_text_embed.text_embedder.linear_1"],
}
COMFY = {
    "double_blocks.1.img_attn.qkv": ORIGINAL["double_blocks.1.img_attn_qkv"],
    "double_blocks.0.img_mlp.0": ORIGINAL["double_blocks.0.img_mlp.fc1"],
    "double_blocks.1.img_mod.lin": ORIGINAL["double_blocks.1.img_mod.linear"],
    "single_blocks.0.modulation.lin": ORIGINAL["single_blocks.0.modulation.linear"],
    "txt_in.individual_token_refiner.blocks.0.mlp.0": ORIGINAL["txt_in.individual_token_refiner.blocks.0.mlp.fc1"],
    "txt_in.t_embedder.in_layer": ORIGINAL["txt_in.t_embedder.mlp.0"],
    "txt_in.c_embedder.out_layer": ORIGINAL["txt_in.c_embedder.linear_2"],
    "time_in.out_layer": ORIGINAL["time_in.mlp.2"],
    "guidance_in.in_layer": ORIGINAL["guidance_in.mlp.0"],
}


@pytest.mark.parametrize("spelling", ["diffusion_model.{}.lora_A.weight", "lora_unet_{}.lora_down.weight"])
@pytest.mark.parametrize("names", [ORIGINAL, COMFY])
def test_original_names_are_split_into_ours(module, original, tmp_path, names, spelling):
    expected, tensors = copy.deepcopy(module), {}
    for seed, (theirs, parts) in enumerate(names.items()):
        rows = [len(matrix(module, part)) for part in parts]
        down, up = halves(sum(rows), matrix(module, parts[0]).shape[1], seed)
        if "_unet_" in spelling:
            theirs = theirs.replace(".", "_")
        key = spelling.format(theirs)
        up_key = key.replace("lora_A", "lora_B").replace("lora_down", "lora_up")
        tensors |= {key: down, up_key: up, f"{key.split('.lora_')[0]}.alpha": torch.tensor(ALPHA)}
        for part, piece in zip(parts, up.split(rows), strict=True):
            add_by_hand(expected, part, down, piece)
    save_file(tensors, tmp_path / "lora.safetensors")
    fuse_loras(module, [(tmp_path / "lora.safetensors", STRENGTH)])
    assert_same_forward(module, expected, original)


def test_original_names_mean_what_diffusers_takes_them_for(module, original, tmp_path):
    tensors = {}
    for seed, (theirs, parts) in enumerate(ORIGINAL.items()):
        # diffusers splits linear1 at the 13 B model's width only, and the refiner's qkv in its lora_A as well.
        if "linear1" in theirs or "self_attn_qkv" in theirs:
            continue
        rows = sum(len(matrix(module, part)) for part in parts)
        down, up = halves(rows, matrix(module, parts[0]).shape[1], seed)
        tensors |= {f"{theirs}.lora_A.weight": down, f"{theirs}.lora_B.weight": up}
    save_file(tensors, tmp_path / "theirs.safetensors")
    converted = _convert_hunyuan_video_lora_to_diffusers(dict(tensors))
    save_file({key: value.clone() for key, value in converted.items()}, tmp_path / "converted.safetensors")
    expected = copy.deepcopy(module)
    fuse_loras(module, [(tmp_path / "theirs.safetensors", STRENGTH)])
    fuse_loras(expected, [(tmp_path / "converted.safetensors", STRENGTH)])
    assert_same_forward(module, expected, original)


def test_the_final_norms_halves_change_places(module, tmp_path):
    down, up = halves(2 * WIDTH, WIDTH)
    before = matrix(module, "norm_out.linear").clone()
    name = "final_layer.adaLN_modulation.1"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "l.safetensors")
    fuse_loras(module, [(tmp_path / "l.safetensors", 1.0)])
    change = (up @ down).roll(WIDTH, dims=0)
    assert torch.allclose(matrix(module, "norm_out.linear"), before + change, atol=1e-5)


@pytest.mark.parametrize("stabilised", [False, True])
def test_peft_adapters_saved_as_diffusers_names_give_pefts_own_forward(original, tmp_path, stabilised):
    adapted = copy.deepcopy(original)
    modules = ["to_q", "net.2"]
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=modules, init_lora_weights=False, use_rslora=stabilised
    )
    inject_adapter_in_model(config, adapted)
    tensors = {
        f"transformer.{name.replace('.default', '')}": value.detach().clone()
        for name, value in adapted.named_parameters()
        if "lora_" in name
    }
    metadata = {
        "lora_adapter_metadata": json.dumps({"transformer.lora_alpha": ALPHA, "transformer.use_rslora": stabilised})
    }
    save_file(tensors, tmp_path / "peft.safetensors", metadata=metadata)
    fused = copy.deepcopy(original)
    fuse_loras(fused, [(tmp_path / "peft.safetensors", 1.0)])
    assert_same_forward(fused, adapted, original)


def test_several_files_add_up_and_strength_zero_changes_nothing(module, original, tmp_path):
    name = "transformer_blocks.0.attn.to_q"
    files = [tmp_path / f"{i}.safetensors" for i in range(3)]
    expected = matrix(module, name).clone()
    for seed, (file, strength) in enumerate(zip(files, (1.0, -0.5, 0.0), strict=True)):
        down, up = halves(WIDTH, WIDTH, seed)
        save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, file)
        expected += strength * (up @ down)
    fuse_loras(module, [(files[0], 1.0), (files[1], -0.5), (files[2], 0.0)])
    assert torch.allclose(matrix(module, name), expected, atol=1e-5)
    unchanged = [n for n, p in module.named_parameters() if torch.equal(p, original.get_parameter(n))]
    assert len(unchanged) == len(list(module.parameters())) - 1


def test_weights_keep_their_dtype_and_are_rounded_once(original, tmp_path):
    module = copy.deepcopy(original).bfloat16()
    name = "transformer_blocks.0.attn.to_q"
    down, up = halves(WIDTH, WIDTH)
    before = matrix(module, name).float()
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "l.safetensors")
    fuse_loras(module, [(tmp_path / "l.safetensors", STRENGTH)])
    assert torch.equal(matrix(module, name), (before + STRENGTH * (up @ down)).bfloat16())


def bad(tensors: dict[str, Tensor], tmp_path: Path) -> Path:
    save_file(tensors, tmp_path / "bad.safetensors")
    return tmp_path / "bad.safetensors"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"transformer_blocks.9.attn.to_q.lora_A.weight": (3, WIDTH)}, r"transformer_blocks\.9.* has no place"),
        ({"transformer_blocks.0.attn.to_q.dora_scale": (WIDTH,)}, r"to_q\.dora_scale is not a tensor of a plain LoRA"),
        ({"transformer_blocks.0.attn.to_q.lora_A.weight": (3, WIDTH)}, "lacks its other half"),
        (
            {
                "transformer_blocks.0.attn.to_q.lora_A.weight": (3, 3072),
                "transformer_blocks.0.attn.to_q.lora_B.weight": (3072, 3),
            },
            rf"the model's weight is {WIDTH} x {WIDTH}: it is for another model",
        ),
        (
            {
                "transformer_blocks.0.attn.to_q.lora_A.weight": (3, WIDTH),
                "transformer_blocks.0.attn.to_q.lora_B.weight": (WIDTH, 2),
            },
            "for another model",
        ),
        (
            {
                "transformer_blocks.0.attn.to_q.lora_A.weight": (3, WIDTH),
                "lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight": (3, WIDTH),
            },
            "lacks its other half",
        ),
    ],
)
def test_what_has_no_place_is_named_and_nothing_is_changed(module, original, tmp_path, tensors, words):
    good = {"x_embedder.proj.lora_A.weight": torch.ones(1, 20), "x_embedder.proj.lora_B.weight": torch.ones(WIDTH, 1)}
    file = bad(good | {name: torch.ones(shape) for name, shape in tensors.items()}, tmp_path)
    with pytest.raises(LoraError, match=words):
        fuse_loras(module, [(file, 1.0)])
    assert all(torch.equal(p, original.get_parameter(n)) for n, p in module.named_parameters())


def test_a_file_that_is_none_is_one_sentence(module, tmp_path):
    (tmp_path / "text.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(LoraError, match="not a safetensors file"):
        fuse_loras(module, [(tmp_path / "text.safetensors", 1.0)])
    with pytest.raises(LoraError, match="is not a file"):
        fuse_loras(module, [(tmp_path / "nothing.safetensors", 1.0)])
    with pytest.raises(LoraError, match="holds no LoRA"):
        fuse_loras(module, [(bad({}, tmp_path), 1.0)])


def test_a_dora_that_says_so_in_its_header_is_refused_by_name(module, tmp_path):
    name = "transformer_blocks.0.attn.to_q"
    tensors = {f"{name}.lora_A.weight": torch.ones(1, WIDTH), f"{name}.lora_B.weight": torch.ones(WIDTH, 1)}
    metadata = {"lora_adapter_metadata": json.dumps({"transformer.use_dora": True})}
    save_file(tensors, tmp_path / "dora.safetensors", metadata=metadata)
    with pytest.raises(LoraError, match="use_dora"):
        fuse_loras(module, [(tmp_path / "dora.safetensors", 1.0)])


def test_a_file_is_checked_against_a_model_without_weights(tmp_path):
    with torch.device("meta"):
        empty = HunyuanVideoTransformer3DModelPacked(TransformerConfig())
    name = "lora_unet_single_blocks_39_linear1"
    tensors = {f"{name}.lora_down.weight": torch.zeros(2, 3072), f"{name}.lora_up.weight": torch.zeros(21504, 2)}
    save_file(tensors, tmp_path / "l.safetensors")
    (pair_,) = check_lora(empty, tmp_path / "l.safetensors").pairs.values()
    assert pair_.target.modules[3] == "single_transformer_blocks.39.proj_mlp"
