"""LoRA files -> added to the transformer's weights on the host: W + strength * alpha / rank * up @ down.

Boundary: safetensors files and one module on the CPU; `lora_names` knows what the files call things. Done once at load,
before any quantisation and before a weight leaves the host, so that everything after sees one kind of weight.
Everything is checked from the files' headers first; what a file holds that has no place is an error, never skipped.
Source: LoRA (arXiv 2106.09685).
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from framepack.models.lora_names import Target, strip_prefixes, targets

DOWN = (".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight", ".lora.down.weight")
UP = (".lora_B.weight", ".lora_B.default.weight", ".lora_up.weight", ".lora.up.weight")
ALPHA = (".alpha",)
DIFFUSERS_METADATA = "lora_adapter_metadata"
"""Key of a safetensors header under which diffusers keeps rank and alpha, as JSON."""
PEFT_CONFIG = "adapter_config.json"
"""Where peft keeps them: beside its `adapter_model.safetensors`."""


class LoraError(ValueError):
    """A LoRA file that cannot be read or does not fit the model; the message names file and tensor."""


@dataclass(kw_only=True)
class Pair:
    """One module of a file: names of its tensors and where they go."""

    target: Target
    down: str = ""
    up: str = ""
    alpha: str = ""


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A checked file: its modules by their name in the file."""

    path: Path
    pairs: dict[str, Pair]
    scale: "AdapterScale"


@dataclass(frozen=True, kw_only=True)
class AdapterScale:
    """alpha by module where the file has no alpha tensors but a configuration; rank, and so scale 1, where neither."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    """Alpha of modules whose name ends like this."""

    def of(self, name: str, rank: int) -> float:
        """alpha / rank of a module."""
        special = (alpha for end, alpha in self.patterns.items() if name == end or name.endswith(f".{end}"))
        alpha = next(special, self.alpha)
        return 1.0 if alpha is None else alpha / rank


def fuse_loras(module: nn.Module, files_with_strength: Sequence[tuple[Path, float]]) -> None:
    """Add LoRA files to the weights of `module`, in place, in float32, then rounded to the weights' dtype once.

    Several files may touch the same weight: their sum is added. Raises LoraError, before anything is changed, for a
    file that cannot be read, a tensor that has no place in the model, one of another shape, or half of a pair; while
    adding, for what leaves numbers that are not finite.
    """
    checked = [(check_lora(module, path), strength) for path, strength in files_with_strength if strength != 0]
    weights = _matrices(module)
    touched: dict[str, list[tuple[LoraFile, str, float]]] = defaultdict(list)
    for lora, strength in checked:
        for name, pair in lora.pairs.items():
            for part in pair.target.modules:
                touched[part].append((lora, name, strength))
    with ExitStack() as stack, torch.no_grad():
        opened = {lora.path: stack.enter_context(safe_open(lora.path, framework="pt")) for lora, _ in checked}
        for part, sources in touched.items():
            weight = weights[part]
            change = torch.zeros(len(weight), prod(weight.shape[1:]))
            for lora, name, strength in sources:
                change += strength * _change(opened[lora.path], lora, name, part, weights)
            changed = (weight.float() + change.view(weight.shape)).to(weight.dtype)
            if not torch.stack(changed.aminmax()).isfinite().all():
                files = ", ".join(dict.fromkeys(str(lora.path) for lora, _, _ in sources))
                raise LoraError(
                    f"{files} leaves numbers in {part} that are not finite: the LoRA is damaged, or its strength is "
                    "too high; leave it out, or look at the model itself with `framepack models verify`"
                )
            weight.copy_(changed)


def check_lora(module: nn.Module, path: Path) -> LoraFile:
    """Match a file's names and shapes with the module's, which may be on the meta device; reads the header only.

    Raises LoraError.
    """
    shapes, metadata = _header(path)
    weights = _matrices(module)
    known = targets(weights)
    pairs: dict[str, Pair] = {}
    for key in shapes:
        name, kind = _split(key)
        target = known.get(strip_prefixes(name)) if kind else None
        if target is None or not kind:
            raise LoraError(_no_place(path, key, kind))
        pair = pairs.setdefault(name, Pair(target=target))
        if getattr(pair, kind):
            raise LoraError(f"{path} has two tensors for one place: {getattr(pair, kind)} and {key}")
        setattr(pair, kind, key)
    if not pairs:
        raise LoraError(f"{path} holds no LoRA tensors")
    for name, pair in pairs.items():
        _check_pair(path, name, pair, shapes, weights)
    return LoraFile(path=path, pairs=pairs, scale=_scale(path, metadata))


def _matrices(module: nn.Module) -> dict[str, Tensor]:
    """Weights of linears and convolutions by their module's name."""
    return {
        name.removesuffix(".weight"): parameter
        for name, parameter in module.named_parameters()
        if name.endswith(".weight") and parameter.ndim >= 2
    }


def _header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    if not path.is_file():
        raise LoraError(f"{path} is not a file: --lora needs a LoRA's .safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise LoraError(f"{path} is not a safetensors file, or is cut short ({error}); download it again") from None
    for name, part in slices.items():
        if not part.get_dtype().startswith(("F", "BF")) and not name.endswith(ALPHA):
            raise LoraError(f"{path}: {name} is {part.get_dtype()}, where floating-point numbers are due")
    return {name: tuple(part.get_shape()) for name, part in slices.items()}, metadata


def _split(key: str) -> tuple[str, str]:
    """A tensor's name as its module's and "down", "up" or "alpha"; the last is empty where it is none of them."""
    for kind, suffixes in (("down", DOWN), ("up", UP), ("alpha", ALPHA)):
        for suffix in suffixes:
            if key.endswith(suffix):
                return key.removesuffix(suffix), kind
    return key, ""


def _no_place(path: Path, key: str, kind: str) -> str:
    if not kind:
        return f"{path}: {key} is not a tensor of a plain LoRA; known are lora_A/lora_B, lora_down/lora_up and alpha"
    if strip_prefixes(key).startswith(("text_encoder", "lora_te")):
        return f"{path}: {key} belongs to a text encoder; only the transformer can take a LoRA: remove such tensors"
    return f"{path}: {key} has no place in this model; is the LoRA for HunyuanVideo or FramePack, and of this size?"


def _check_pair(
    path: Path, name: str, pair: Pair, shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor]
) -> None:
    """LoraError unless both halves are there and their product has the weight's shape."""
    if not pair.down or not pair.up:
        raise LoraError(f"{path}: {pair.down or pair.up or pair.alpha} lacks its other half ({name})")
    down, up = shapes[pair.down], shapes[pair.up]
    rows = sum(len(weights[part]) for part in pair.target.modules)
    columns = prod(weights[pair.target.modules[0]].shape[1:])
    got_columns, got_rows = prod(down[1:]), prod(up) // max(up[1] if len(up) > 1 else 1, 1)
    if len(down) < 2 or len(up) < 2 or down[0] != up[1] or (got_rows, got_columns) != (rows, columns):
        raise LoraError(
            f"{path}: {name} is {up} times {down}, the model's weight is {rows} x {columns}: it is for another model"
        )
    if pair.alpha and prod(shapes[pair.alpha]) != 1:
        raise LoraError(f"{path}: {pair.alpha} must be one number, got shape {shapes[pair.alpha]}")


def _scale(path: Path, metadata: Mapping[str, str]) -> AdapterScale:
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
        scale = AdapterScale(alpha=None if alpha is None else float(alpha), patterns=patterns)
    except (ValueError, TypeError, AttributeError) as error:
        raise LoraError(f"{where} does not describe a LoRA ({error})") from None
    if unsupported := [name for name in ("use_dora", "use_rslora") if config.get(name)]:
        raise LoraError(f"{where} says {unsupported[0]}: only plain LoRA can be used")
    return scale


def _change(file: Any, lora: LoraFile, name: str, part: str, weights: Mapping[str, Tensor]) -> Tensor:
    """What one module of a file adds to our module `part`, (rows, columns) float32, at strength 1."""
    pair = lora.pairs[name]
    down, up = (file.get_tensor(key).float() for key in (pair.down, pair.up))
    rank = len(down)
    up = up.flatten(1).view(-1, rank)
    if pair.target.swapped:
        up = torch.cat(up.chunk(2)[::-1])
    start = sum(len(weights[other]) for other in pair.target.modules[: pair.target.modules.index(part)])
    up = up[start : start + len(weights[part])]
    scale = float(file.get_tensor(pair.alpha)) / rank if pair.alpha else lora.scale.of(strip_prefixes(name), rank)
    return scale * (up @ down.flatten(1))
