"""What the numbers in a weight file show of damage where no checksum is known: NaN, absurd sizes, blocks of one number.

Boundary: one safetensors file at a time, tensor by tensor; knows no model. Flipped or exchanged numbers that still look
like weights pass: only a checksum finds those.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from framepack.models.checkpoint import CheckpointError, open_weights

LARGEST = 1e5
"""Weights are rarely beyond 100; float16 ends at 65504. A flipped bit of the exponent makes 1e19 or more."""
BLOCK = 2048
"""Equal numbers in a row of a matrix, 4 or 8 kB, that are reported. Some models have them, such as mini's VAE."""
TOKEN_TABLES = ("embed_tokens.weight", "token_embedding.weight")
"""Their rows of tokens that no text has may all be equal."""


class Finding(NamedTuple):
    """What looks damaged in a tensor."""

    said: str
    certain: bool
    """No sound model has it. Blank blocks may be meant."""


def findings(path: Path, report: Callable[[int], None] | None = None) -> Iterator[Finding]:
    """Of each tensor of a file that looks damaged. CheckpointError where it cannot be read at all."""
    with open_weights(path) as file:
        for name in file.keys():  # noqa: SIM118  (not a dict)
            try:
                tensor = file.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path} is damaged at {name} ({error})") from None
            if tensor.numel() and tensor.is_floating_point():
                values = tensor.bfloat16() if tensor.itemsize == 1 else tensor
                if wrong := impossible(values):
                    yield Finding(f"{name} {wrong}", certain=True)
                elif tensor.ndim > 1 and not name.endswith(TOKEN_TABLES) and (empty := blank(values)):
                    yield Finding(f"{name} {empty}", certain=False)
            if report is not None:
                report(tensor.nbytes)


def impossible(tensor: Tensor) -> str | None:
    """Numbers that no weight is, None where there are none."""
    ends = torch.stack(tensor.aminmax())  # both NaN where there is one
    if not ends.isfinite().all():
        count = int((~tensor.isfinite()).sum())
        return f"has {count} numbers of {tensor.numel()} that are NaN or infinite"
    largest = ends.abs().max().item()
    return f"has numbers up to {largest:.1e}" if largest > LARGEST else None


def blank(tensor: Tensor) -> str | None:
    """Blocks of one number in a matrix, None where there are none."""
    rows = tensor.flatten()[: tensor.numel() // BLOCK * BLOCK].view(-1, BLOCK)
    count = int((rows == rows[:, :1]).all(dim=1).sum())
    if count and count == len(rows):
        return f"is {rows[0, 0].item():g} throughout"
    return f"has {count} blocks of {BLOCK * tensor.element_size() // 1024} kB of one number" if count else None
