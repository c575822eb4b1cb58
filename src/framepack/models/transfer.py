"""Tensors between RAM and a CUDA device by way of page-locked memory, which torch lends and takes back.

Otherwise the driver copies each piece twice while the host waits.
Boundary: activations; weights have lanes of their own.
"""

import torch
from torch import Tensor

SMALL = 1 << 16
"""Bytes; the driver sends as many at once wherever they are."""


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor.to(device)`."""
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu" or tensor.nbytes <= SMALL:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Tensor:
    """`tensor.cpu()`."""
    if tensor.device.type != "cuda" or tensor.nbytes <= SMALL:
        return tensor.cpu()
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor).clone()
