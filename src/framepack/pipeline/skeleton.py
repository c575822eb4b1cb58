"""The parts of a variant without their weights: on the meta device, where a module has shapes and no bytes.

From the folders' configs where they are here, else at the published shapes (`assets/shapes`), so that a job can be
planned before anything is downloaded. Boundary: builds; what parts cost and where they go is others' business.
"""

from functools import cached_property
from typing import Any

from torch import nn

from framepack.files.assets import BUNDLED
from framepack.models.encoders import empty_clip, empty_llama, empty_siglip
from framepack.models.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.vae import VideoVAE, empty_vae
from framepack.spec.variants import Variant
from framepack.weights.loader import Dtypes, empty_transformer
from framepack.weights.sources import Folders, MissingModelError, ModelSource, require

SHAPES = Folders(*(BUNDLED / "shapes" / part for part in ("transformer", "base", "vision")))
"""config.json files of the 13 B variants."""


class TextTowers(nn.Module):
    """Llama and CLIP, as the text encoder has them."""

    def __init__(self, llama: nn.Module, clip: nn.Module) -> None:
        super().__init__()
        self.llama: Any = llama
        self.clip: Any = clip

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self.llama.layers)


class Skeleton:
    """One variant's parts, each built when it is first asked for."""

    def __init__(self, folders: Folders, dtypes: Dtypes) -> None:
        self.folders = folders
        self.dtypes = dtypes

    @classmethod
    def of(cls, variant: Variant, source: ModelSource, dtypes: Dtypes) -> "Skeleton":
        """From what is on disk; the published shapes where a variant is not. MissingModelError for a bundled one."""
        try:
            return cls(require(variant, source), dtypes)
        except MissingModelError:
            if variant.bundled:
                raise
            return cls(SHAPES, dtypes)

    @cached_property
    def text(self) -> TextTowers:
        llama, _ = empty_llama(self.folders.base / "text_encoder")
        clip, _ = empty_clip(self.folders.base / "text_encoder_2")
        return TextTowers(llama, clip).to(self.dtypes.encoders).eval()

    @cached_property
    def image(self) -> nn.Module:
        siglip: Any = empty_siglip(self.folders.vision / "image_encoder")[0]
        return siglip.to(self.dtypes.encoders)

    @cached_property
    def vae(self) -> VideoVAE:
        vae = VideoVAE(empty_vae(self.folders.base / "vae")).eval()
        for part in vae.autoencoder.children():
            part.to(self.dtypes.vae)
        return vae

    @cached_property
    def transformer(self) -> HunyuanVideoTransformer3DModelPacked:
        return empty_transformer(self.folders.transformer).to(self.dtypes.transformer)

    def sizes(self) -> dict[str, int]:
        """Bytes of each part's weights."""
        parts = {"text": self.text, "image": self.image, "vae": self.vae, "transformer": self.transformer}
        return {name: sum(tensor.nbytes for tensor in part.state_dict().values()) for name, part in parts.items()}
