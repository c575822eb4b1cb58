"""Convolutions in float32 on CPUs with AMX, whose bfloat16 gradients cannot be trusted.

oneDNN 3.12 reads memory that nothing has written when it computes the gradient of some convolutions' weights there: of
32 to 32 channels and an output of 64 x 64, for one, or of patches to 384 channels. The gradient is now and then not
finite, and otherwise wrong without a word. Its results, and the gradients of its inputs, are right.
"""

from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


def use_float32_convolutions(module: M) -> M:
    """The module itself: all its convolutions compute in float32 from now on while their input is on a CPU with AMX.

    What they return has the type it would have had.
    """
    for part in module.modules() if has_amx() else ():
        if isinstance(part, CONVOLUTIONS):
            part._conv_forward = partial(_float_forward, part._conv_forward)  # type: ignore[method-assign]
    return module


def has_amx() -> bool:
    """Whether bfloat16 products on this machine's CPU go through AMX."""
    return torch.cpu._is_amx_tile_supported()


def _float_forward(forward: object, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if x.device.type != "cpu":
        return forward(x, weight, bias)  # type: ignore[operator]
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    with torch.autocast("cpu", enabled=False):
        wide = forward(x.float(), weight.float(), None if bias is None else bias.float())  # type: ignore[operator]
    return wide.to(kind)
