"""HunyuanVideo's components in the layout of the public repositories."""

from pathlib import Path

import torch
from torch import nn

from framepack.files.assets import BUNDLED
from framepack.files.words import FILE as FILE_OF_WORDS
from framepack.models.checkpoint import FIX, PLAIN, CheckpointError, check_weights, on_meta, read_config
from framepack.models.config import TransformerConfig
from framepack.models.family import TOKENIZER, Component, Fill, ModelFamily
from framepack.models.hunyuan.encoders import (
    ImageEncoder,
    TextEncoder,
    check_image_encoder,
    check_text_encoder,
    empty_clip,
    empty_llama,
    empty_siglip,
    load_image_encoder,
    load_text_encoder,
)
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.hunyuan.vae import VideoVAE, check_vae, empty_vae, load_vae

CLASSES = ("HunyuanVideoTransformer3DModelPacked", "HunyuanVideoFramepackTransformer3DModel")
"""What config.json may call the transformer; the second is diffusers' name for the same weights."""


def empty_transformer(folder: Path) -> HunyuanVideoTransformer3DModelPacked:
    """The transformer that a folder's config.json describes, on the meta device."""
    config = read_config(folder)
    name = config.get("_class_name")
    if name not in CLASSES:
        raise CheckpointError(
            f"{folder / 'config.json'} names the class {name!r}, known are {', '.join(CLASSES)}; {FIX}"
        )
    return on_meta(lambda: HunyuanVideoTransformer3DModelPacked(TransformerConfig.from_dict(config)), folder)


def load_transformer(folder: Path, dtype: torch.dtype, fill: Fill) -> nn.Module:
    """The transformer with its weights."""
    module = empty_transformer(folder)
    fill(module, folder, dtype, PLAIN, None)
    return module


def empty_text(base: Path) -> TextEncoder:
    """Llama and CLIP, without tokenizers."""
    return TextEncoder(empty_llama(base / "text_encoder")[0], empty_clip(base / "text_encoder_2")[0]).eval()


HUNYUAN_VIDEO = ModelFamily(
    name="hunyuan",
    shapes=BUNDLED / "shapes",
    components=(
        Component(
            name="text",
            title="text encoders",
            place="base",
            weights=("text_encoder", "text_encoder_2"),
            small={"tokenizer": TOKENIZER, "tokenizer_2": TOKENIZER},
            beside=(FILE_OF_WORDS,),
            precision="encoders",
            empty=empty_text,
            load=load_text_encoder,
            check=check_text_encoder,
            blocks=lambda text: text.blocks,
            pin=False,  # passed through once a prompt: the transformer needs pinned memory more
            mappable=True,
        ),
        Component(
            name="image",
            title="image encoder",
            place="vision",
            weights=("image_encoder",),
            small={"feature_extractor": ("preprocessor_config.json",)},
            precision="encoders",
            empty=lambda vision: ImageEncoder(empty_siglip(vision / "image_encoder")[0]).eval(),
            load=load_image_encoder,
            check=check_image_encoder,
        ),
        Component(
            name="vae",
            title="VAE",
            place="base",
            weights=("vae",),
            precision="vae",
            empty=lambda base: VideoVAE(empty_vae(base / "vae")).eval(),
            load=lambda base, dtype, fill: load_vae(base / "vae", dtype, fill),
            check=lambda base: check_vae(base / "vae"),
        ),
        Component(
            name="transformer",
            title="transformer",
            place="transformer",
            weights=("",),
            precision="transformer",
            empty=empty_transformer,
            load=load_transformer,
            check=lambda folder: check_weights(empty_transformer(folder), folder),
            blocks=lambda transformer: transformer.blocks,
            once=lambda transformer: transformer.once_per_job,
            mappable=True,
            loras=True,
        ),
    ),
)
