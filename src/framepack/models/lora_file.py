"""One LoRA file, read by its header and matched with a module's names and shapes; other contents are reported.

Boundary: names, shapes, numbers; nothing is added to a weight here. A tensor that belongs to the transformer and cannot
be used is an error, never skipped. What belongs elsewhere (text encoders, embeddings) or changes nothing (biases
that are zero) is left out, with a notice.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from framepack.models.lora_config import AdapterScale, LoraError, scale_of
from framepack.models.lora_names import Target, elsewhere, strip_prefixes, targets

HALF = re.compile(
    r"\.(?:lora_(?P<letter>[AB])(?:\.[^.]+)?|lora[_.](?P<word>down|up))"
    r"\.(?P<what>weight|bias|scale_weight|weight[._]scale|scale)$"
)
"""How a half's tensors end; peft may put the adapter's name between (`.lora_A.default.weight`)."""
REST = re.compile(r"\.(?P<what>alpha|diff_b|diff|bias)$")
HALVES = {"A": "down", "B": "up", "down": "down", "up": "up"}
ADDED = {"up_bias", "diff_b"}
"""Changes of a bias."""
MAY_BE_ZERO = ADDED | {"down_bias", "bias", "diff"}
"""What changes nothing where it is zero; trainers write such tensors. The last three can only be left out."""
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}
WHOLE = {"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"}
"""Types of alpha besides."""
MARKS = {"scaled_fp8"}
"""Says only that there are 8-bit tensors."""
OTHER_KINDS = {
    "DoRA": (".dora_scale", ".lora_magnitude_vector"),
    "LoKr": (".lokr_",),
    "LoHa": (".hada_",),
    "OFT": (".oft_",),
    "LoCon with a core (Tucker)": (".lora_mid",),
}
"""What their tensors' names have in them."""


@dataclass(kw_only=True)
class Pair:
    """One module of a file: names of its tensors, empty where it has none, and where they go."""

    target: Target
    down: str = ""
    up: str = ""
    alpha: str = ""
    down_scale: str = ""
    up_scale: str = ""
    """What an 8-bit half is to be multiplied with."""
    up_bias: str = ""
    """Added to the bias, scaled as the weight's change is."""
    diff_b: str = ""
    """Added to the bias as it is."""


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A checked file: its modules by their name in the file."""

    path: Path
    pairs: dict[str, Pair]
    scale: AdapterScale
    notices: tuple[str, ...] = ()
    """What of it is left out, or changes nothing."""


def check_lora(module: nn.Module, path: Path) -> LoraFile:
    """Match a file's names and shapes with the module's, which may be on the meta device.

    Reads the header, and of the tensors only alphas and those that may be zero. Raises LoraError.
    """
    weights = matrices(module)
    with opened(path) as file:
        shapes, types = _header(file)
        contents = _sorted(path, file, types, module)
        pairs = contents.pairs
        if not pairs and contents.elsewhere:
            what = next(iter(contents.elsewhere.values()))
            raise LoraError(f"{path} is for {what} alone, and only the transformer takes a LoRA: leave it out")
        if not pairs:
            raise LoraError(f"{path} holds no LoRA tensors")
        for name, pair in pairs.items():
            _check_pair(path, name, pair, shapes, weights)
        _check_places(path, pairs)
        still = [pair.alpha for pair in pairs.values() if pair.alpha and float(file.get_tensor(pair.alpha)) == 0]
        scale = scale_of(path, file.metadata() or {})
    return LoraFile(path=path, pairs=pairs, scale=scale, notices=tuple(_notices(path, contents, still)))


def matrices(module: nn.Module) -> dict[str, Tensor]:
    """Weights of linears and convolutions by their module's name."""
    return {
        name.removesuffix(".weight"): parameter
        for name, parameter in module.named_parameters()
        if name.endswith(".weight") and parameter.ndim >= 2
    }


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The safetensors file, open; LoraError where it is none."""
    if not path.is_file():
        raise LoraError(f"{path} is not a file: --lora needs a LoRA's .safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise LoraError(
            f"{path} is not a safetensors file, or is cut short ({str(error)[:80]}); download it again"
        ) from None


def _header(file: Any) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shape and type of each tensor."""
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    return shapes, {name: part.get_dtype() for name, part in slices.items()}


def _split(key: str) -> tuple[str, str]:
    """A tensor's name as its module's and which field of a Pair it is; the last is empty where it is none of them."""
    if half := HALF.search(key):
        which = HALVES[half["letter"] or half["word"]]
        ends = {"weight": "", "bias": "_bias"}
        return key[: half.start()], which + ends.get(half["what"], "_scale")
    if rest := REST.search(key):
        return key[: rest.start()], rest["what"]
    return key, ""


@dataclass(kw_only=True)
class Contents:
    """A file's tensors by what becomes of them."""

    pairs: dict[str, Pair] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    """What each belongs to that is not the transformer's."""
    zeros: list[str] = field(default_factory=list)


def _sorted(path: Path, file: Any, types: Mapping[str, str], module: nn.Module) -> Contents:
    """Each tensor at its place. LoraError for one of the transformer's that has none."""
    known, contents = targets(matrices(module)), Contents()
    biased = {name.removesuffix(".bias") for name, _ in module.named_parameters() if name.endswith(".bias")}
    for key, kept in types.items():
        if key in MARKS:
            continue
        if what := elsewhere(key):
            contents.elsewhere[key] = what
            continue
        name, kind = _split(key)
        if kept not in FLOATS | (WHOLE if kind == "alpha" else set()):
            raise LoraError(f"{path}: {_short(key)} is {kept}, but must be floating-point numbers")
        if kind in MAY_BE_ZERO and not file.get_tensor(key).float().any():
            contents.zeros.append(key)
            continue
        target = known.get(strip_prefixes(name))
        placed = target is not None and (kind not in ADDED or biased.issuperset(target.modules))
        if target is None or not placed or not kind or kind in MAY_BE_ZERO - ADDED:
            raise LoraError(_no_place(path, key, known=target is not None))
        pair = contents.pairs.setdefault(name, Pair(target=target))
        if getattr(pair, kind):
            raise LoraError(f"{path} has two tensors for one place: {getattr(pair, kind)} and {_short(key)}")
        setattr(pair, kind, key)
    return contents


def _no_place(path: Path, key: str, *, known: bool) -> str:
    """Why a tensor cannot be used. known: the model has the module it names."""
    kind = next((kind for kind, marks in OTHER_KINDS.items() if any(mark in key for mark in marks)), "")
    if kind:
        return (
            f"{path}: {_short(key)} is not a tensor of a plain LoRA but of the kind {kind}: use the file's plain LoRA"
        )
    if known or not _split(key)[1]:
        return (
            f"{path}: {_short(key)} is not a tensor of a plain LoRA; known are lora_A/lora_B, lora_down/lora_up, alpha "
            "and changes of biases"
        )
    return f"{path}: {_short(key)} has no place in this model; is the LoRA for HunyuanVideo or FramePack, and its size?"


def _check_pair(path: Path, name: str, pair: Pair, shapes: Mapping[str, tuple[int, ...]], weights: Any) -> None:
    """LoraError unless both halves are there, their product has the weight's shape, and the rest fits them."""
    rows = sum(len(weights[part]) for part in pair.target.modules)
    if pair != Pair(target=pair.target, diff_b=pair.diff_b):
        if not pair.down or not pair.up:
            there = next(filter(None, (pair.down, pair.up, pair.alpha, pair.up_bias, pair.down_scale, pair.up_scale)))
            raise LoraError(f"{path}: {_short(there)} lacks its other half ({_short(name)})")
        down, up, kernel = shapes[pair.down], shapes[pair.up], tuple(weights[pair.target.modules[0]].shape[1:])
        if not _fits(down, up, rows, kernel):
            raise LoraError(
                f"{path}: {_short(name)} is {up} times {down}, the model's weight is {rows} x {prod(kernel)}: it is "
                "for another model, or its halves are transposed"
            )
    due = {pair.alpha: {1}, pair.up_bias: {rows}, pair.diff_b: {rows}}
    due |= {scale: {1, shapes[half][0]} for scale, half in _scales(pair)}
    for key, sizes in due.items():
        if key and prod(shapes[key]) not in sizes:
            wanted = " or ".join(map(str, sorted(sizes)))
            raise LoraError(f"{path}: {_short(key)} must be as many numbers as {wanted}, got shape {shapes[key]}")


def _fits(down: tuple[int, ...], up: tuple[int, ...], rows: int, kernel: tuple[int, ...]) -> bool:
    """Whether up, (rows, rank), times down, (rank, *kernel), is a change of the weight; kernels of 1 may follow."""
    if len(down) < 2 or len(up) < 2 or not down[0] == up[1] > 0:
        return False
    columns = prod(kernel)
    return up[0] == rows and prod(up[2:]) == 1 and prod(down[1:]) == columns and down[1] in (columns, kernel[0])


def _scales(pair: Pair) -> list[tuple[str, str]]:
    """(name of a scale, name of the half it belongs to)."""
    return [(scale, half) for scale, half in ((pair.down_scale, pair.down), (pair.up_scale, pair.up)) if scale]


def _check_places(path: Path, pairs: Mapping[str, Pair]) -> None:
    """LoraError where two modules of a file, under two names, are one of ours: their sum is nobody's LoRA."""
    seen: dict[str, str] = {}
    for name, pair in pairs.items():
        for part in pair.target.modules:
            if part in seen:
                raise LoraError(
                    f"{path} has two changes for one place: {_short(seen[part])} and {_short(name)}; is it two LoRAs "
                    "in one file?"
                )
            seen[part] = name


def _notices(path: Path, contents: Contents, still: list[str]) -> Iterator[str]:
    """Sentences about what does nothing. still: alphas that are zero."""
    for what in dict.fromkeys(contents.elsewhere.values()):
        keys = [key for key, owner in contents.elsewhere.items() if owner == what]
        yield f"{path.name}: left out {_some(keys)} of {what}, as only the transformer takes a LoRA"
    if contents.zeros:
        yield f"{path.name}: left out {_some(contents.zeros)}, which is all zero"
    if still:
        yield f"{path.name}: {len(still)} of its modules have no effect, as their alpha is zero ({_short(still[0])})"


def _some(keys: list[str]) -> str:
    """How many tensors, and the first of them."""
    return f"{len(keys)} tensors ({_short(keys[0])} ...)" if len(keys) > 1 else f"the tensor {_short(keys[0])}"


def _short(name: str) -> str:
    """A name from a file, no longer than a message can take."""
    return name if len(name) <= 80 else f"{name[:38]}...{name[-38:]}"
