"""What attention holds at once beside its result, on each kind of device: for estimates, on the meta device.

Boundary: shapes; `attention` computes. A backend without an entry keeps nothing, as fused kernels do.
"""

import torch
from torch import Tensor

from framepack.models.attention import CACHED_LOGITS, SLOW_FLASH, Attention, chunks, sdpa


def attention_like(device: str, dtype: torch.dtype) -> Attention:
    """What holds as much as "auto" does on that kind of device."""
    if device == "mps":
        return in_chunks
    return by_heads if device == "cpu" and SLOW_FLASH and dtype == torch.bfloat16 else sdpa


def in_chunks(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """`attention.sdpa_chunked`: parts and their sum, a part's logits before and after softmax."""
    mixed, parts = sdpa(query, key, value, bias), chunks(query, key)
    rows = -(-query.shape[1] // parts)
    held = [query.new_empty(query.shape[0], query.shape[2], rows, key.shape[1]) for _ in range(2)]
    held += [torch.empty_like(mixed)] * (parts > 1)
    del held
    return mixed


def by_heads(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """`attention.by_head`: some rows' logits before and after softmax."""
    mixed, keys = sdpa(query, key, value, bias), key.shape[1]
    rows = min(max(CACHED_LOGITS // keys, 64), query.shape[1])
    held = [query.new_empty(rows, keys) for _ in range(2)]
    del held
    return mixed
