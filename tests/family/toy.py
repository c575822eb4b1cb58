"""A second family, for tests alone: other strides, rate, section length and latent channels; no image encoder; a causal
VAE whose sections are decoded each alone; one text encoder of its own. Its transformer is ours at another size.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from framepack.models.checkpoint import PLAIN, check_weights, on_meta, read_config
from framepack.models.config import TransformerConfig
from framepack.models.family import Component, Fill, ModelFamily
from framepack.models.hunyuan.encoders import TextFeatures
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.hunyuan.vae import PreviewMap
from framepack.spec.geometry import Geometry, TimeTiles
from framepack.spec.variants import Variant

GEOMETRY = Geometry(
    fps=12, temporal=2, spatial=4, patch=2, window=5, tiles=TimeTiles(length=5, stride=5), overlap=False
)
CHANNELS, WIDTH, LETTERS = 6, 24, 64


class Text(nn.Module):
    """Letters to vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(LETTERS, WIDTH)
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(3)])

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.letters(ids)
        for layer in self.layers:
            x = x + layer(x)
        return x.float(), x.mean(dim=1).float()

    def encode(self, prompt: str, *, still: bool = False) -> TextFeatures:
        ids = torch.tensor([[0, *(ord(letter) % LETTERS for letter in prompt)]])
        text, pooled = self(ids)
        return TextFeatures(text=text, pooled=pooled, text_cut=0, pooled_cut=0)

    def example(self, letters: int, device: Any) -> tuple[Tensor]:
        return (torch.zeros(1, letters + 1, dtype=torch.long, device=device),)


class CausalVAE(nn.Module):
    """Two frames and 4 x 4 pixels a latent; no frame sees a later one."""

    latent_channels, spatial, temporal = CHANNELS, GEOMETRY.spatial, GEOMETRY.temporal
    time_tiles = GEOMETRY.tiles

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv3d(3, CHANNELS, (2, 4, 4), (2, 4, 4))
        self.decoder = nn.Conv3d(CHANNELS, 3 * 2 * 16, (2, 1, 1))

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.weight.dtype

    def encode(self, frames: np.ndarray, *, mode: str = "whole") -> Tensor:
        return self.encode_pixels(torch.tensor(frames).permute(3, 0, 1, 2)[None], mode)

    def encode_pixels(self, pixels: Tensor, mode: str = "whole") -> Tensor:
        x = (pixels.float() / 127.5 - 1).to(self.dtype)
        return self.encoder(torch.cat([x[:, :, :1], x], dim=2)).float()

    def decode_tile(self, z: Tensor, mode: str = "whole") -> Tensor:
        x = self.decoder(F.pad(z, (0, 0, 0, 0, 1, 0)))
        frames, rows, columns = x.shape[2:]
        x = x.unflatten(1, (3, 2, 4, 4)).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.reshape(1, 3, 2 * frames, 4 * rows, 4 * columns)[:, :, 1:]

    def decode_float(self, latents: Tensor, *, mode: str = "whole", memo: object = None) -> Tensor:
        return self.decode_tile(latents.to(self.dtype), mode)[0].permute(1, 2, 3, 0).float().cpu()

    def preview_map(self) -> PreviewMap:
        return PreviewMap(weight=torch.full((3, CHANNELS), 0.1), bias=torch.zeros(3))

    def trial(self, side: int, device: Any) -> Callable[[], Tensor]:
        decoder = copy.deepcopy(self.decoder).to_empty(device=device)
        z = torch.zeros(1, CHANNELS, 2, side, side, dtype=self.dtype, device=device)
        return lambda: decoder(z)


def transformer_of(folder: Path) -> HunyuanVideoTransformer3DModelPacked:
    config = TransformerConfig.from_dict(read_config(folder))
    return HunyuanVideoTransformer3DModelPacked(config)


def component(name: str, make: Callable[[Path], nn.Module], **more: Any) -> Component:
    def empty(place: Path) -> nn.Module:
        return on_meta(lambda: make(place / name), place / name)

    def load(place: Path, dtype: torch.dtype, fill: Fill) -> nn.Module:
        module = empty(place)
        fill(module, place / name, dtype, PLAIN, None)
        return module

    return Component(
        name=name,
        title=f"toy {name}",
        place="main",
        weights=(name,),
        empty=empty,
        load=load,
        check=lambda place: check_weights(empty(place), place / name),
        **more,
    )


TOY = ModelFamily(
    name="toy",
    components=(
        component("text", lambda folder: Text(), precision="encoders", blocks=lambda text: text.layers),
        component("vae", lambda folder: CausalVAE(), precision="vae"),
        component(
            "transformer",
            transformer_of,
            precision="transformer",
            blocks=lambda transformer: transformer.blocks,
            once=lambda transformer: transformer.once_per_job,
            mappable=True,
            loras=True,
        ),
    ),
)
VARIANT = Variant(
    name="toy",
    title="a second family",
    family="toy",
    geometry=GEOMETRY,
    planner="forward",
    repositories={"main": "toy/main"},
    bucket_base=72,
    buckets=((400, 800), (640, 640), (800, 400)),
    seconds=2.0,
    steps=2,
    length="exact",
    keyframes_ahead=False,
)


def write_toy(models_dir: Path) -> None:
    """Its checkpoint, of random numbers, below `models_dir`."""
    torch.manual_seed(7)
    config = {
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "num_layers": 1,
        "num_single_layers": 2,
        "num_refiner_layers": 1,
        "text_embed_dim": WIDTH,
        "pooled_projection_dim": WIDTH,
        "image_proj_dim": 8,
        "rope_axes_dim": [4, 4, 4],
    }
    for name, shape in (("text", {}), ("vae", {}), ("transformer", config)):
        folder = models_dir / "toy" / "main" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(shape))
        weights = {"text": Text, "vae": CausalVAE}.get(name, lambda folder=folder: transformer_of(folder))()
        tensors = {key: 0.2 * torch.randn(value.shape) for key, value in weights.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
