"""Writes a trained mini model as a models folder in the public repositories' layout, bf16 safetensors.

The folder loads like any other model: `hunyuanvideo-community/HunyuanVideo`, `lllyasviel/flux_redux_bfl` and the
transformer.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch import Tensor
from transformers import LlamaModel

from framepack.files.words import FILE
from framepack.models.hunyuan.tokenizers import TEMPLATE_PREFIX, TEMPLATE_SUFFIX
from framepack.models.hunyuan.vae import fit_preview, load_vae
from framepack.spec.variants import VARIANTS
from framepack.training.data.synonyms import table
from framepack.training.data.tokenizers import write_clip, write_llama
from framepack.training.tensors import save_tensors
from framepack.training.transformer.recipe import Recipe
from framepack.training.transformer.towers import Towers, clip_config, exported_layers, llama_config, siglip_config
from framepack.weights.sums import SUMS, write_sums

MODEL = VARIANTS["mini"]
TOWERS = {
    "towers.llama.": MODEL.repositories["base"] + "/text_encoder",
    "towers.clip.": MODEL.repositories["base"] + "/text_encoder_2",
    "towers.siglip.": MODEL.repositories["vision"] + "/image_encoder",
}
"""Which weights of the training are in which folder of a models folder."""
TRAINED = "_trained"
"""Entry of the transformer's config.json: how many steps and samples its training had."""


def tokenizers_in(root: Path) -> Path:
    """The folder below `root` that holds both tokenizers."""
    return root / MODEL.repositories["base"]


def write_tokenizers(root: Path) -> Path:
    """Both tokenizers and the table of words at their place below `root`; returns the folder that holds them."""
    base = tokenizers_in(root)
    template = TEMPLATE_PREFIX + "{}" + TEMPLATE_SUFFIX
    write_llama(base / "tokenizer", template)
    write_clip(base / "tokenizer_2", template)
    text = json.dumps(table(), indent=1, ensure_ascii=False)
    (base / FILE).write_text(f"{text}\n", encoding="utf-8")
    return base


def export_transformer(root: Path, recipe: Recipe, weights: dict[str, Tensor], step: int, samples: int) -> None:
    """weights: names `transformer.*` and `towers.*`, as the trainer has them; config.json says how far it came."""
    (root / SUMS).unlink(missing_ok=True)  # those of the files about to be replaced
    base = write_tokenizers(root)
    trained = {"step": step, "samples": samples}
    config = {"_class_name": "HunyuanVideoTransformer3DModelPacked", TRAINED: trained, **asdict(recipe.model)}
    _write(root / MODEL.repositories["transformer"], "diffusion_pytorch_model", config, _part(weights, "transformer."))
    towers = Towers(recipe.towers, base)
    llama = llama_config(recipe.towers, towers.tokenizer.get_vocab_size(), exported_layers(recipe.towers))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        unread = LlamaModel(llama).state_dict()  # the layers behind the one that is read
    state = unread | _part(weights, "towers.llama.")
    _write(root / TOWERS["towers.llama."], "model", {"architectures": ["LlamaModel"], **llama.to_diff_dict()}, state)
    clip = clip_config(recipe.towers, towers.tokenizer_2.get_vocab_size())
    state = _part(weights, "towers.clip.")
    _write(root / TOWERS["towers.clip."], "model", {"architectures": ["CLIPTextModel"], **clip.to_diff_dict()}, state)
    siglip = {"architectures": ["SiglipVisionModel"], **siglip_config(recipe.towers).to_diff_dict()}
    _write(root / TOWERS["towers.siglip."], "model", siglip, _part(weights, "towers.siglip."))
    _preprocessor(root / MODEL.repositories["vision"] / "feature_extractor", recipe.towers.image_size)
    write_sums(root)


def export_vae(root: Path, vae: AutoencoderKLHunyuanVideo) -> None:
    """The VAE and its preview map."""
    (root / SUMS).unlink(missing_ok=True)
    folder = root / MODEL.repositories["base"] / "vae"
    config = {name: value for name, value in vae.config.items() if not name.startswith("_") or name == "_class_name"}
    _write(folder, "diffusion_pytorch_model", {"_class_name": "AutoencoderKLHunyuanVideo", **config}, vae.state_dict())
    fit_preview(load_vae(folder)).save(folder)
    write_sums(root)


def _part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _write(folder: Path, name: str, config: dict[str, object], state: dict[str, Tensor]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")
    tensors = {
        key: tensor.detach().bfloat16().contiguous() for key, tensor in state.items() if tensor.is_floating_point()
    }
    file = folder / f"{name}.safetensors"
    save_tensors(tensors, file, {"format": "pt"})


def _preprocessor(folder: Path, size: int) -> None:
    content = {
        "image_processor_type": "SiglipImageProcessor",
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
