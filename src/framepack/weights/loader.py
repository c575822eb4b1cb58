"""A variant's folders -> modules, each on demand, so that one at a time need be in memory; and their checks.

Boundary: loads to the CPU and leaves moving to the memory manager. Knows no component by name: a family lists them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from framepack.files.assets import BUNDLED
from framepack.memory import FileSlice, map_weights
from framepack.models.attention import BACKENDS, UNLOADABLE, Attention, unsuited
from framepack.models.checkpoint import (
    NameRules,
    check_weights,
    count_weights,
    fill_buffers,
    load_weights,
)
from framepack.models.families import FAMILIES
from framepack.models.family import Component
from framepack.models.lora import check_lora, fuse_loras
from framepack.spec.attention import PACKAGES, require_attention
from framepack.spec.dtypes import DTYPES as NAMES
from framepack.spec.dtypes import require_dtype
from framepack.spec.parts import Lora
from framepack.spec.variants import Variant
from framepack.weights.sources import ModelSource, passed_over, require
from framepack.weights.sums import HASHED_WHEN_LOADED, check_when_loaded, known_sum, model_files

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, full) for name, full in NAMES.items()}


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What each kind of component computes in."""

    transformer: torch.dtype
    encoders: torch.dtype
    vae: torch.dtype


def choose_precision(device: torch.device | str, name: str | None = None) -> Precision:
    """The public app's dtypes on a GPU; on a CPU float32, transformer and VAE in bfloat16 where the processor has it.

    `name` (a key of DTYPES, None for these defaults) sets the transformer's; float32 sets all three.
    Raises ValueError for another name.
    """
    if name is not None:
        require_dtype(name)
    exact = name in ("float32", "fp32")
    if torch.device(device).type == "cpu":
        fast = torch.bfloat16 if cpu_has_bfloat16() and not exact else torch.float32
        return Precision(transformer=DTYPES[name] if name else fast, encoders=torch.float32, vae=fast)
    rest = torch.float32 if exact else torch.float16
    return Precision(transformer=DTYPES[name] if name else torch.bfloat16, encoders=rest, vae=rest)


def narrow(precision: Precision) -> Iterator[str]:
    """A sentence where the transformer may have to hold more than its type can: mini's tokens grow beyond 8 million."""
    if precision.transformer == torch.float16:
        yield (
            "the transformer's numbers may grow beyond 65,504, where float16 ends, and the job then stops: bfloat16 "
            "holds them on every card, so leave out --dtype float16"
        )


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX512-BF16, AMX or Arm's BF16): else it is slower."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))


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
    """The components of one variant. Each call reads the disk again: who keeps a module is the memory manager's matter.

    loader = Loader(VARIANTS["mini"], ModelSource(), choose_precision("cpu"))
    memory.add("vae", lambda: loader.load("vae"))
    """

    def __init__(
        self,
        variant: Variant,
        source: ModelSource,
        precision: Precision,
        attention: str = "auto",
        device: torch.device | None = None,
    ) -> None:
        """`attention` is a key of BACKENDS; `device` is where it will compute. ValueError where it cannot."""
        self.variant = variant
        self.family = FAMILIES[variant.family]
        self.source = source
        self.precision = precision
        self.attention = choose_attention(attention, device, precision.transformer)
        self.attention_name = attention

    @cached_property
    def places(self) -> dict[str, Path]:
        """Where the repositories are, by the family's names; MissingModelError when one is not there."""
        return require(self.variant, self.source)

    def folders(self, component: Component) -> list[Path]:
        """Of a component, on disk."""
        return [self.places[component.place] / folder for folder in component.folders]

    def load(self, name: str, *, loras: Sequence[Lora] = (), files: dict[str, FileSlice] | None = None) -> nn.Module:
        """A component on the CPU, with LoRA files added to its weights.

        files: leave the weights in their files as far as that goes, and note here where each lies; the memory manager
        then reads what does not fit into RAM whenever it is needed. Not together with LoRAs.
        CheckpointError when its files are damaged or another model's, LoraError when a LoRA does not fit.
        """
        component = self.family[name]
        place = self.places[component.place]
        beside = [place / name for name in component.beside]
        check_when_loaded(self.folders(component), beside, all_known=place.is_relative_to(BUNDLED))
        fill = MapWeights() if files is not None else load_weights
        module = component.load(place, self.dtype(component), fill)
        if isinstance(fill, MapWeights) and files is not None:
            assert not loras
            files.clear()
            files.update(fill.slices_of(module))
        fuse_loras(module, [(lora.file, lora.strength) for lora in loras])
        return module

    def check_loras(self, loras: Sequence[Lora]) -> tuple[str, ...]:
        """What of these files has no effect, in sentences; LoraError when one does not fit the model."""
        if not loras:
            return ()
        component = next(component for component in self.family.components if component.loras)
        return look_at_loras(component.empty(self.places[component.place]), loras)

    def dtype(self, component: Component) -> torch.dtype:
        """What a component computes in."""
        return getattr(self.precision, component.precision)

    def sizes(self) -> dict[str, int]:
        """Bytes of each component's weights as they are computed with, from its files' headers."""
        return {
            part.name: sum(count_weights(self.places[part.place] / folder) for folder in part.weights)
            * self.dtype(part).itemsize
            for part in self.family.components
        }

    def notices(self) -> Iterator[str]:
        """What was named and is not used; a type that may be too narrow; large files not verified, or changed since."""
        yield from passed_over(self.variant, self.source)
        yield from narrow(self.precision)
        folders = [folder for component in self.family.components for folder in self.folders(component)]
        stamps, verify, unread = self.source.stamps.read(), f"`framepack models verify {self.variant.name}`", 0
        for file in (file for folder in folders for file in model_files(folder)):
            stamp, size = stamps.get(str(file.resolve())), file.stat().st_size
            if size <= HASHED_WHEN_LOADED and known_sum(file) is not None:
                continue
            if stamp is not None and not stamp.fits(file):
                yield f"{file} has changed since it was verified; run {verify} to check it again"
            if stamp is None and size > HASHED_WHEN_LOADED:
                unread += size
        if unread:
            yield f"{unread / 1e9:.1f} GB of weights were never verified here: run {verify} once to look for damage"


class MapWeights:
    """A `Fill` that leaves weights in their files, and knows afterwards where each lies."""

    def __init__(self) -> None:
        self._slices: dict[nn.Module, dict[str, FileSlice]] = {}

    def __call__(
        self,
        module: nn.Module,
        folder: Path,
        dtype: torch.dtype | None,
        rules: NameRules,
        buffers: Mapping[str, Tensor] | None,
    ) -> None:
        """Fill `module` by memory maps."""
        self._slices[module] = map_weights(module, check_weights(module, folder, rules), dtype)
        fill_buffers(module, buffers or {})

    def slices_of(self, whole: nn.Module) -> dict[str, FileSlice]:
        """Of all modules inside `whole`, by their names in it."""
        found: dict[str, FileSlice] = {}
        for place, module in whole.named_modules():
            start = f"{place}." if place else ""
            found |= {f"{start}{name}": piece for name, piece in self._slices.get(module, {}).items()}
        return found


def look_at_loras(module: nn.Module, loras: Sequence[Lora]) -> tuple[str, ...]:
    """What of LoRA files has no effect, in sentences. LoraError when one does not fit `module`, which may be empty."""
    return tuple(dict.fromkeys(notice for lora in loras for notice in check_lora(module, lora.file).notices))
