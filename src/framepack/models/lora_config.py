"""alpha of LoRA files that keep it in words: in diffusers' header, or in peft's file beside the weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DIFFUSERS_METADATA = "lora_adapter_metadata"
"""Key of a safetensors header under which diffusers keeps rank and alpha, as JSON."""
PEFT_CONFIG = "adapter_config.json"
"""Where peft keeps them: beside its `adapter_model.safetensors`."""


class LoraError(ValueError):
    """A LoRA file that cannot be read or does not fit the model; the message names file and tensor."""


@dataclass(frozen=True, kw_only=True)
class AdapterScale:
    """alpha by module where the file has no alpha tensors but a configuration; rank, and so scale 1, where neither."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    """Alpha of modules whose name ends like this."""
    rank_stabilised: bool = False
    """Divided by the root of the rank (arXiv 2312.03732)."""

    def of(self, name: str, rank: int) -> float:
        """alpha / rank of a module."""
        special = (alpha for end, alpha in self.patterns.items() if name == end or name.endswith(f".{end}"))
        alpha = next(special, self.alpha)
        return 1.0 if alpha is None else alpha / (rank**0.5 if self.rank_stabilised else rank)


def scale_of(path: Path, metadata: Mapping[str, str]) -> AdapterScale:
    """alpha from diffusers' header or peft's file beside the weights."""
    beside = path.parent / PEFT_CONFIG
    if DIFFUSERS_METADATA in metadata:
        text, where = metadata[DIFFUSERS_METADATA], f"{path}'s header"
    elif path.name == "adapter_model.safetensors" and beside.is_file():
        text, where = beside.read_text(encoding="utf-8"), str(beside)
    else:
        return AdapterScale()
    try:
        config = {key.removeprefix("transformer."): value for key, value in json.loads(text).items()}
        patterns = {str(end): float(alpha) for end, alpha in (config.get("alpha_pattern") or {}).items()}
        alpha = config.get("lora_alpha")
        scale = AdapterScale(
            alpha=None if alpha is None else float(alpha),
            patterns=patterns,
            rank_stabilised=bool(config.get("use_rslora")),
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise LoraError(f"{where} does not describe a LoRA ({str(error)[:80]})") from None
    if config.get("use_dora"):
        raise LoraError(f"{where} says use_dora: only plain LoRA can be used")
    return scale
