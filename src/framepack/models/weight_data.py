"""What the numbers in a weight file tell of damage where no checksum is known: NaN, absurd sizes, blocks of one number.

Boundary: one safetensors file at a time, tensor by tensor; knows no model. Flipped or exchanged numbers that still look
like weights pass: only a checksum tells those.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from framepack.models.checkpoint import CheckpointError, open_weights

LARGEST = 1e5
"""Weights are rarely beyond 100; float16 ends at 65504. A flipped bit of the exponent makes 1e19 or more."""
BLOCK = 2048
"""Equal numbers in a row of a matrix, 4 or 8 kB, that no training leaves."""
TOKEN_TABLES = ("embed_tokens.weight", "token_embedding.weight")
"""Their rows of tokens that no text has may all be equal."""


def findings(path: Path, told: Callable[[int], None] | None = None) -> Iterator[str]:
    """A phrase for each tensor of a file that looks damaged. CheckpointError where it cannot be read at all."""
    with open_weights(path) as file:
        for name in file.keys():  # noqa: SIM118  (not a dict)
            try:
                tensor = file.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path} is damaged at {name} ({error})") from None
            if tensor.numel() and (found := finding(name, tensor)):
                yield f"{name} {found}"
            if told is not None:
                told(tensor.nbytes)


def finding(name: str, tensor: Tensor) -> str | None:
    """What looks damaged in one tensor, None where nothing does."""
    if not tensor.is_floating_point():
        return None
    if tensor.itemsize == 1:
        tensor = tensor.bfloat16()
    low, high = (value.item() for value in tensor.aminmax())
    largest = max(abs(low), abs(high))
    if not largest < float("inf"):
        count = int((~tensor.isfinite()).sum())
        return f"has {count} numbers of {tensor.numel()} that are NaN or infinite"
    if largest > LARGEST:
        return f"has numbers up to {largest:.1e}"
    if tensor.ndim < 2 or name.endswith(TOKEN_TABLES):
        return None
    if low == high and tensor.numel() >= BLOCK:
        return f"is {low:g} throughout"
    rows = tensor.flatten()[: tensor.numel() // BLOCK * BLOCK].view(-1, BLOCK)
    if torch.any(blocks := (rows == rows[:, :1]).all(dim=1)):
        return f"has {int(blocks.sum())} blocks of {BLOCK * tensor.element_size() // 1024} kB of one number"
    return None
