"""A variant's folders -> modules, each on demand, so that one at a time need be in memory; and their checks.

Boundary: loads to the CPU and leaves moving to the memory manager. A new architecture is a row in TRANSFORMERS.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from framepack.files.assets import BUNDLED
from framepack.memory import FileSlice, map_weights
from framepack.models.attention import BACKENDS, UNLOADABLE, Attention, unsuited
from framepack.models.checkpoint import (
    FIX,
    CheckpointError,
    NameRules,
    check_weights,
    count_weights,
    fill_buffers,
    load_weights,
    on_meta,
    read_config,
)
from framepack.models.config import TransformerConfig
from framepack.models.encoders import ImageEncoder, TextEncoder, load_image_encoder, load_text_encoder
from framepack.models.lora import check_lora, fuse_loras
from framepack.models.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.vae import VideoVAE, load_vae
from framepack.spec.attention import PACKAGES, require_attention
from framepack.spec.dtypes import DTYPES as NAMES
from framepack.spec.dtypes import require_dtype
from framepack.spec.request import Lora
from framepack.spec.variants import Variant
from framepack.weights.sources import Folders, ModelSource, passed_over, require
from framepack.weights.sums import HASHED_WHEN_LOADED, check_when_loaded, known_sum, model_files


def _packed(config: dict[str, Any]) -> HunyuanVideoTransformer3DModelPacked:
    return HunyuanVideoTransformer3DModelPacked(TransformerConfig.from_dict(config))


TRANSFORMERS: dict[str, Callable[[dict[str, Any]], HunyuanVideoTransformer3DModelPacked]] = {
    "HunyuanVideoTransformer3DModelPacked": _packed,
    "HunyuanVideoFramepackTransformer3DModel": _packed,
}
"""By the `_class_name` in config.json; the second is diffusers' name for the same weights."""

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, full) for name, full in NAMES.items()}


@dataclass(frozen=True, kw_only=True)
class Dtypes:
    """What each part computes in."""

    transformer: torch.dtype
    encoders: torch.dtype
    vae: torch.dtype


def choose_dtypes(device: torch.device | str, name: str | None = None) -> Dtypes:
    """The public app's dtypes on a GPU; on a CPU float32, transformer and VAE in bfloat16 where the processor has it.

    `name` (a key of DTYPES, None for these defaults) sets the transformer's; float32 sets all three.
    Raises ValueError for another name.
    """
    if name is not None:
        require_dtype(name)
    exact = name in ("float32", "fp32")
    if torch.device(device).type == "cpu":
        fast = torch.bfloat16 if cpu_has_bfloat16() and not exact else torch.float32
        return Dtypes(transformer=DTYPES[name] if name else fast, encoders=torch.float32, vae=fast)
    rest = torch.float32 if exact else torch.float16
    return Dtypes(transformer=DTYPES[name] if name else torch.bfloat16, encoders=rest, vae=rest)


def narrow(dtypes: Dtypes) -> Iterator[str]:
    """A sentence where the transformer may have to hold more than its type can: mini's tokens grow beyond 8 million."""
    if dtypes.transformer == torch.float16:
        yield (
            "the transformer's numbers may grow beyond 65,504, where float16 ends, and the job then stops: bfloat16 "
            "holds them on every card, so leave out --dtype float16"
        )


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX512-BF16, AMX or Arm's BF16): else it is slower."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


TEXT_FOLDERS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
IMAGE_FOLDERS = ("feature_extractor", "image_encoder")


def choose_attention(name: str, device: torch.device | None = None, dtype: torch.dtype = torch.bfloat16) -> Attention:
    """The backend of that name, for a transformer in `dtype` on `device`, where that is known.

    ValueError for an unknown one, one whose package is not installed or does not load, and one that does not fit.
    """
    require_attention(name)
    if package := PACKAGES.get(name):
        if why := unsuited(name, device, dtype) if device else "":
            raise ValueError(f"attention {name} {why}: use auto")
        try:
            import_module(package)
        except UNLOADABLE as error:
            raise ValueError(
                f"attention {name}: the package {package} does not load ({str(error)[:100]}); install the one for "
                f"torch {torch.__version__}, or use auto"
            ) from error
    return BACKENDS[name]


class Loader:
    """The modules of one variant. Each call reads the disk again: who keeps a module is the memory manager's matter.

    loader = Loader(VARIANTS["mini"], ModelSource(), choose_dtypes("cpu"))
    memory.add("vae", loader.vae)
    """

    def __init__(
        self,
        variant: Variant,
        source: ModelSource,
        dtypes: Dtypes,
        attention: str = "auto",
        device: torch.device | None = None,
    ) -> None:
        """`attention` is a key of BACKENDS; `device` is where it will compute. ValueError where it cannot."""
        self.variant = variant
        self.source = source
        self.dtypes = dtypes
        self.attention = choose_attention(attention, device, dtypes.transformer)
        self.attention_name = attention

    @cached_property
    def folders(self) -> Folders:
        """Where the parts are; MissingModelError when one is not there."""
        return require(self.variant, self.source)

    def transformer(
        self, loras: tuple[Lora, ...] = (), files: dict[str, FileSlice] | None = None
    ) -> HunyuanVideoTransformer3DModelPacked:
        """The transformer with LoRA files added to its weights.

        files: leave the weights in their files as far as that goes, and note here where each lies; the memory manager
        then reads what does not fit into RAM whenever it is needed. Not together with LoRAs.
        CheckpointError when its files are damaged or another model's, LoraError when a LoRA does not fit.
        """
        folder, dtype = self.folders.transformer, self.dtypes.transformer
        self.check_sums(folder)
        module = empty_transformer(folder)
        if files is None:
            load_weights(module, folder, dtype)
        else:
            assert not loras
            files.clear()
            files.update(map_weights(module, check_weights(module, folder), dtype))
        fuse_loras(module, [(lora.file, lora.strength) for lora in loras])
        module.execution = replace(module.execution, attention=self.attention)
        return module

    def check_loras(self, loras: tuple[Lora, ...]) -> tuple[str, ...]:
        """What of these files has no effect, in sentences; LoraError when one does not fit the transformer."""
        return look_at_loras(empty_transformer(self.folders.transformer), loras) if loras else ()

    def text(self, files: dict[str, FileSlice] | None = None) -> TextEncoder:
        """Llama and CLIP with their tokenizers. files: as for the transformer."""
        self.check_sums(*(self.folders.base / name for name in TEXT_FOLDERS))
        if files is None:
            return load_text_encoder(self.folders.base, self.dtypes.encoders)
        slices: dict[nn.Module, dict[str, FileSlice]] = {}

        def fill(
            module: nn.Module,
            folder: Path,
            dtype: torch.dtype | None,
            rules: NameRules,
            buffers: Mapping[str, Tensor] | None,
        ) -> None:
            slices[module] = map_weights(module, check_weights(module, folder, rules), dtype)
            fill_buffers(module, buffers or {})

        encoder = load_text_encoder(self.folders.base, self.dtypes.encoders, fill)
        files.clear()
        for tower, module in encoder.named_modules():
            files.update({f"{tower}.{name}": place for name, place in slices.get(module, {}).items()})
        return encoder

    def sizes(self) -> dict[str, int]:
        """Bytes of each part's weights as they are computed with, from its files' headers."""
        base, encoders = self.folders.base, self.dtypes.encoders.itemsize
        texts = (base / "text_encoder", base / "text_encoder_2")
        return {
            "text": sum(map(count_weights, texts)) * encoders,
            "image": count_weights(self.folders.vision / "image_encoder") * encoders,
            "vae": count_weights(base / "vae") * self.dtypes.vae.itemsize,
            "transformer": count_weights(self.folders.transformer) * self.dtypes.transformer.itemsize,
        }

    def image(self) -> ImageEncoder:
        """SigLIP with its preprocessing."""
        self.check_sums(*(self.folders.vision / name for name in IMAGE_FOLDERS))
        return load_image_encoder(self.folders.vision, self.dtypes.encoders)

    def vae(self) -> VideoVAE:
        """The video VAE with its preview map."""
        self.check_sums(self.folders.base / "vae")
        return load_vae(self.folders.base / "vae", self.dtypes.vae)

    def check_sums(self, *folders: Path) -> None:
        """CheckpointError where a file of a moderate size is not what its checksum says."""
        check_when_loaded(folders, all_known=self.folders.transformer.is_relative_to(BUNDLED))

    def notices(self) -> Iterator[str]:
        """What was named and is not used; a type that may be too narrow; large files not verified, or changed since."""
        yield from passed_over(self.variant, self.source)
        yield from narrow(self.dtypes)
        transformer, base, vision = self.folders
        folders = (transformer, *(base / name for name in (*TEXT_FOLDERS, "vae")), *(vision / f for f in IMAGE_FOLDERS))
        stamps, verify, unread = self.source.stamps.read(), f"`framepack models verify {self.variant.name}`", 0
        for file in (file for folder in folders for file in model_files(folder)):
            stamp, size = stamps.get(str(file.resolve())), file.stat().st_size
            if size <= HASHED_WHEN_LOADED and known_sum(file) is not None:
                continue
            if stamp is not None and not stamp.fits(file):
                yield f"{file} has changed since it was verified; {verify} looks at it again"
            if stamp is None and size > HASHED_WHEN_LOADED:
                unread += size
        if unread:
            yield f"{unread / 1e9:.1f} GB of weights were never verified here: {verify} looks for damage, once"


def look_at_loras(module: nn.Module, loras: Sequence[Lora]) -> tuple[str, ...]:
    """What of LoRA files has no effect, in sentences. LoraError when one does not fit `module`, which may be empty."""
    return tuple(dict.fromkeys(notice for lora in loras for notice in check_lora(module, lora.file).notices))


def empty_transformer(folder: Path) -> HunyuanVideoTransformer3DModelPacked:
    """The transformer that a folder's config.json describes, on the meta device."""
    config = read_config(folder)
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in TRANSFORMERS:
        raise CheckpointError(
            f"{folder / 'config.json'} names the class {name!r}, known are {', '.join(TRANSFORMERS)}; {FIX}"
        )
    return on_meta(lambda: TRANSFORMERS[name](config), folder)
