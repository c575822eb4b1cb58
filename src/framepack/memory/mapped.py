"""Weights that stay in their safetensors files, as private memory maps: nothing is read until it is used.

Boundary: knows safetensors' header and byte ranges, no folders and no models.
"""

import json
import math
import mmap
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

if os.name == "nt":  # where maps are to be read only, see `_map`
    warnings.filterwarnings("ignore", "The given buffer is not writable")

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class FileSlice:
    """Bytes of a file, and the state of the tensor mapped from them, by which a changed weight is detected."""

    path: Path
    offset: int
    nbytes: int
    address: int
    version: int
    stored: torch.dtype
    used: torch.dtype
    """What it becomes on its way to where it is used."""

    def holds(self, tensor: Tensor) -> bool:
        """Whether `tensor` is still what the file says (a fused LoRA, a cast or a replaced weight is not)."""
        return tensor.data_ptr() == self.address and tensor._version == self.version


@torch.inference_mode(False)
def map_weights(
    module: nn.Module, names: Mapping[Path, Mapping[str, str]], dtype: torch.dtype | None = None
) -> dict[str, FileSlice]:
    """Fill a module built on the meta device, in place, from {file: {name in the file: name in the module}}.

    Floating-point weights become `dtype` (None: as stored) whenever they are read for use; until then the module has
    them as stored. What the file holds unaligned is copied and cast at once. Returns the slices of what stays in the
    file. Names and shapes are taken on trust: check them first.
    """
    slices: dict[str, FileSlice] = {}
    for path, renamed in names.items():
        header, start = _read_header(path)
        mapped = _map(path)
        for stored, name in renamed.items():
            entry = header[stored]
            first, last = entry["data_offsets"]
            tensor = _tensor(mapped, start + first, DTYPES[entry["dtype"]], entry["shape"])
            used = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
            moved = (start + first) % tensor.element_size() != 0
            tensor = _assign(module, name, tensor.to(used, copy=True) if moved else tensor)
            if not moved:
                state = tensor.data_ptr(), tensor._version
                slices[name] = FileSlice(path, start + first, last - first, *state, tensor.dtype, used)
    return slices


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file and where its data begin."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(size)), 8 + size


def _map(path: Path) -> mmap.mmap:
    """A private map, so that a module's weights may be written to without touching the file.

    On Windows one to be read only: a private one would be charged whole, 42 GB for a 13 B model, to the page file.
    """
    with path.open("rb") as file:
        if os.name == "nt":
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)
        return mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)


def _tensor(mapped: mmap.mmap, offset: int, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    count = math.prod(shape)
    if not count:
        return torch.empty(tuple(shape), dtype=dtype)
    return torch.frombuffer(mapped, dtype=dtype, count=count, offset=offset).reshape(tuple(shape))


def _assign(module: nn.Module, name: str, tensor: Tensor) -> Tensor:
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    if isinstance(getattr(owner, leaf), nn.Parameter):
        tensor = nn.Parameter(tensor, requires_grad=False)
    setattr(owner, leaf, tensor)
    return tensor
