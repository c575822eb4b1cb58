"""LoRA files -> added to the transformer's weights on the host: W + strength * alpha / rank * up @ down.

Boundary: checked files and one module on the CPU; `lora_file` reads files, `lora_names` knows what they call things.
Done once at load, before any quantisation and before a weight leaves the host, so that everything after sees one kind
of weight. Source: LoRA (arXiv 2106.09685).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from framepack.models.lora_file import LoraError, LoraFile, Pair, check_lora, matrices, opened
from framepack.models.lora_names import Target, strip_prefixes


class Source(NamedTuple):
    """One module of a file, and how strongly it is wanted."""

    lora: LoraFile
    name: str
    strength: float

    @property
    def pair(self) -> Pair:
        """Its tensors."""
        return self.lora.pairs[self.name]


def fuse_loras(module: nn.Module, files_with_strength: Sequence[tuple[Path, float]]) -> None:
    """Add LoRA files to the weights of `module`, in place, in float32, then rounded to the weights' dtype once.

    Several files may touch the same weight: their sum is added. Raises LoraError, before anything is changed, for a
    file that cannot be read, a tensor that has no place in the model, one of another shape, or half of a pair; while
    adding, for what leaves numbers that are not finite.
    """
    checked = [(check_lora(module, path), strength) for path, strength in files_with_strength if strength != 0]
    weights, parameters = matrices(module), dict(module.named_parameters())
    touched: dict[str, list[Source]] = defaultdict(list)
    for lora, strength in checked:
        for name, pair in lora.pairs.items():
            for part in pair.target.modules:
                touched[part].append(Source(lora, name, strength))
    with ExitStack() as stack, torch.no_grad():
        files = {lora.path: stack.enter_context(opened(lora.path)) for lora, _ in checked}
        for part, sources in touched.items():
            weight = weights[part]
            change = torch.zeros(len(weight), prod(weight.shape[1:]))
            for source in sources:
                if source.pair.down:
                    change += source.strength * _of_weight(files[source.lora.path], source, part, weights)
            _add(weight, change, f"{part}.weight", sources)
            if any(source.pair.up_bias or source.pair.diff_b for source in sources):
                change = torch.zeros(len(weight))
                for source in sources:
                    change += source.strength * _of_bias(files[source.lora.path], source, part, weights)
                _add(parameters[f"{part}.bias"], change, f"{part}.bias", sources)


def _add(parameter: Tensor, change: Tensor, name: str, sources: Sequence[Source]) -> None:
    """Add in float32, in place; LoraError where the sum is not finite."""
    changed = (parameter.float() + change.view(parameter.shape)).to(parameter.dtype)
    if not torch.stack(changed.aminmax()).isfinite().all():
        files = ", ".join(dict.fromkeys(str(source.lora.path) for source in sources))
        raise LoraError(
            f"{files} leaves numbers in {name} that are not finite: the LoRA is damaged, or its strength is "
            "too high; leave it out, or check the model itself with `framepack models verify`"
        )
    parameter.copy_(changed)


def _of_weight(file: Any, source: Source, part: str, weights: Mapping[str, Tensor]) -> Tensor:
    """What one module of a file adds to the weight of our module `part`, (rows, columns) float32, at strength 1."""
    pair = source.pair
    down, up = _half(file, pair.down, pair.down_scale), _half(file, pair.up, pair.up_scale)
    up = _rows(up.flatten(1), pair.target, part, weights)
    return _factor(file, source, len(down)) * (up @ down.flatten(1))


def _of_bias(file: Any, source: Source, part: str, weights: Mapping[str, Tensor]) -> Tensor:
    """The same for the bias, (rows,)."""
    pair, change = source.pair, torch.zeros(len(weights[part]))
    if pair.up_bias:
        bias = _rows(file.get_tensor(pair.up_bias).float().flatten(), pair.target, part, weights)
        change += _factor(file, source, file.get_slice(pair.down).get_shape()[0]) * bias
    if pair.diff_b:
        change += _rows(file.get_tensor(pair.diff_b).float().flatten(), pair.target, part, weights)
    return change


def _half(file: Any, key: str, scale: str) -> Tensor:
    """A half in float32; one of 8 bits has its scale, one number or one a row, multiplied in."""
    half = file.get_tensor(key).float()
    return half * file.get_tensor(scale).float().view(-1, *[1] * (half.ndim - 1)) if scale else half


def _factor(file: Any, source: Source, rank: int) -> float:
    """alpha / rank"""
    alpha = source.pair.alpha
    return float(file.get_tensor(alpha)) / rank if alpha else source.lora.scale.of(strip_prefixes(source.name), rank)


def _rows(whole: Tensor, target: Target, part: str, weights: Mapping[str, Tensor]) -> Tensor:
    """Those rows of what a file holds that are the rows of our module `part`."""
    if target.swapped:
        whole = torch.cat(whole.chunk(2)[::-1])
    start = sum(len(weights[other]) for other in target.modules[: target.modules.index(part)])
    return whole[start : start + len(weights[part])]


__all__ = ["LoraError", "check_lora", "fuse_loras"]
