"""Tensors between RAM and a CUDA device by way of page-locked memory, which torch lends and takes back.

Otherwise the driver copies each piece twice while the host waits. Where the system locks no more, it does.
Boundary: activations; weights have lanes of their own.
"""

import torch
from torch import Tensor

SMALL = 1 << 16
"""Bytes; the driver sends as many at once wherever they are."""


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor.to(device)`."""
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    locked = _locked(tensor)
    return tensor.to(device) if locked is None else locked.copy_(tensor).to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Tensor:
    """`tensor.cpu()`."""
    locked = _locked(tensor) if tensor.device.type == "cuda" else None
    return tensor.cpu() if locked is None else locked.copy_(tensor).clone()


def _locked(like: Tensor) -> Tensor | None:
    """Page-locked memory of a tensor's size; None for a small one, and where the system refuses."""
    if like.nbytes <= SMALL:
        return None
    try:
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)
    except RuntimeError:
        return None
