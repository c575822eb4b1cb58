"""Many tensors in one flat run of bytes, so that a block travels in one copy.

Boundary: offsets and views; allocates nothing, knows no module.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ALIGN = 256
"""Bytes; what CUDA's own allocator promises, so kernels choose the same code for a streamed weight as for any other."""


@dataclass(frozen=True)
class Piece:
    """Where one tensor lies in the flat bytes."""

    offset: int
    nbytes: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, flat: Tensor) -> Tensor:
        """The tensor, without a copy."""
        run = flat[self.offset : self.offset + self.nbytes]
        return run.view(self.dtype).as_strided(self.shape, self.stride)

    def bytes_of(self, tensor: Tensor) -> Tensor:
        """The bytes of a tensor that is to lie here, (nbytes,) uint8; no copy, unless it repeats elements."""
        dense = tensor if tensor.stride() == self.stride else tensor.contiguous()
        start = dense.storage_offset() * dense.element_size()
        with torch.inference_mode(False):
            return torch.empty(0, dtype=torch.uint8).set_(dense.untyped_storage(), start, (self.nbytes,), (1,))


@dataclass(frozen=True)
class Layout:
    """The order of some tensors in flat bytes; tensors that share memory share it there too."""

    pieces: tuple[Piece, ...]
    """One for each tensor, in the order given."""
    nbytes: int

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Layout":
        """Lay tensors out in the order of their addresses, each aligned unless it overlaps the one before."""
        pieces: dict[int, Piece] = {}
        end = 0
        region, region_start, region_end = 0, 0, 0
        for index in sorted(range(len(tensors)), key=lambda i: _address(tensors[i])):
            tensor = tensors[index]
            address, nbytes = _address(tensor), _extent(tensor)
            if not (nbytes and address and address < region_end):
                region = math.ceil(end / ALIGN) * ALIGN
                region_start = address
            offset = region + address - region_start
            region_end = max(region_end, address + nbytes)
            end = max(end, offset + nbytes)
            pieces[index] = Piece(offset, nbytes, tensor.dtype, tuple(tensor.shape), _stride(tensor))
        return cls(tuple(pieces[index] for index in range(len(tensors))), math.ceil(end / ALIGN) * ALIGN)

    def views(self, flat: Tensor) -> list[Tensor]:
        """The tensors, in the order they were given, as views of `flat` (uint8, at least `nbytes`)."""
        with torch.inference_mode(False):
            return [piece.view(flat) for piece in self.pieces]


def _address(tensor: Tensor) -> int:
    return 0 if tensor.is_meta else tensor.data_ptr()


def _stride(tensor: Tensor) -> tuple[int, ...]:
    """Its own; that of a dense copy where it repeats elements (an expanded tensor)."""
    repeats = any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return torch.empty(tensor.shape, device="meta").stride() if repeats else tensor.stride()


def _extent(tensor: Tensor) -> int:
    """Bytes from the first element to the end of the last."""
    if not tensor.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, _stride(tensor), strict=True))
    return (last + 1) * tensor.element_size()
