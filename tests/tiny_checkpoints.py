"""Random checkpoints of every part, in the public repositories' layout: a few hundred kilobytes, for flow tests."""

import json
import shutil
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked

TOKENIZERS = Path(__file__).parent / "data" / "tokenizers"
BASE = "hunyuanvideo-community/HunyuanVideo"
VISION = "lllyasviel/flux_redux_bfl"
TRANSFORMERS = ("lllyasviel/FramePackI2V_HY", "lllyasviel/FramePack_F1_I2V_HY_20250503", "framepack/mini")


def write_tiny_models_dir(root: Path) -> Path:
    """A whole `--models-dir` below `root`."""
    torch.manual_seed(0)
    write_text_encoders(root / BASE)
    write_vae(root / BASE / "vae")
    write_vision(root / VISION)
    for repo in TRANSFORMERS:
        write_transformer(root / repo)
    return root


def write_text_encoders(base: Path) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    llama = LlamaConfig(
        **shape, vocab_size=461, num_hidden_layers=4, num_key_value_heads=1, max_position_embeddings=512
    )
    LlamaModel(llama).save_pretrained(base / "text_encoder", max_shard_size="40KB")
    clip = CLIPTextConfig(**shape, vocab_size=400, num_hidden_layers=2, eos_token_id=0, bos_token_id=1, pad_token_id=0)
    CLIPTextModel(clip).save_pretrained(base / "text_encoder_2")
    for folder, name in (("tokenizer", "llama"), ("tokenizer_2", "clip")):
        (base / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(TOKENIZERS / f"{name}.json", base / folder / "tokenizer.json")


def write_vae(folder: Path) -> None:
    AutoencoderKLHunyuanVideo(block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4).save_pretrained(
        folder
    )


def write_vision(vision: Path) -> None:
    config = SiglipVisionConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    SiglipVisionModel(config).save_pretrained(vision / "image_encoder")
    half = [0.5, 0.5, 0.5]
    preprocessor = {"size": {"height": 56, "width": 56}, "resample": 3, "image_mean": half, "image_std": half}
    write_json(vision / "feature_extractor" / "preprocessor_config.json", preprocessor)


SHAPE = {
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "num_layers": 1,
    "num_single_layers": 2,
    "num_refiner_layers": 1,
    "text_embed_dim": 32,
    "pooled_projection_dim": 32,
    "image_proj_dim": 24,
    "rope_axes_dim": [8, 12, 12],
}
"""Of the tiny transformer."""


def write_transformer(folder: Path) -> None:
    module = HunyuanVideoTransformer3DModelPacked(TransformerConfig.from_dict(SHAPE))
    weights = {name: 0.05 * torch.randn(tensor.shape) for name, tensor in module.state_dict().items()}
    write_json(folder / "config.json", {"_class_name": "HunyuanVideoTransformer3DModelPacked", **SHAPE})
    write_shards(folder, "diffusion_pytorch_model", weights, count=3)


def write_shards(folder: Path, stem: str, weights: dict[str, torch.Tensor], count: int) -> None:
    names = sorted(weights)
    weight_map = {}
    for i in range(count):
        shard = f"{stem}-{i + 1:05d}-of-{count:05d}.safetensors"
        save_file({name: weights[name] for name in names[i::count]}, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names[i::count], shard)
    write_json(folder / f"{stem}.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
