"""Attention over the joint sequence: the backends, and how queries, keys and values are made.

Boundary: knows tokens and heads, nothing of video, text or sections. A backend is a function from query, key and value,
(B, L, H, E) each, and a bias to the mixed values, (B, L, H, E); the bias, (B or 1, 1, 1, L), is added to the logits of
each key (float) or says which keys exist (bool). Shapes: B batch, L tokens, H heads, E channels of a head, D = H E.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from framepack.models.layers import chunked
from framepack.models.linear import ONEDNN_DTYPES

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
Place = tuple[int, slice, int]
"""Sample, tokens and head: where rows of (B, L, H, E) lie."""

LOGITS = 1 << 30
"""Bytes of logits at a time where PyTorch writes them, in float32: at 18,000 tokens and 24 heads 31 GB in all."""

HALF = (torch.finfo(torch.float16).min, torch.finfo(torch.float16).max)

UNLOADABLE = (ImportError, OSError, RuntimeError, AttributeError, TypeError)
"""What packages that were built for another torch raise."""

CACHED_LOGITS = 600_000
"""Logits of one head at a time in `by_head`: 1.2 MB in bf16, about a core's second-level cache."""


def sdpa(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """PyTorch's own attention: picks flash, memory-efficient, cuDNN or plain maths by itself.

    On Apple's GPUs it writes all logits, and more than 2**32 of them come out wrong (pytorch#179352): there it is
    chunked.
    """
    if query.device.type == "mps":
        return sdpa_chunked(query, key, value, bias)
    return _in_parts(query, key, value, bias, 1)


def sdpa_chunked(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """`sdpa` over a few query rows at a time, for devices on which PyTorch writes the whole matrix of logits."""
    return _in_parts(query, key, value, bias, chunks(query, key))


def chunks(query: Tensor, key: Tensor) -> int:
    """In how many parts the queries are taken so that a part has at most LOGITS bytes of logits."""
    logits = query.shape[0] * query.shape[2] * query.shape[1] * key.shape[1]
    return min(-(-4 * logits // LOGITS), query.shape[1])


def _in_parts(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, parts: int) -> Tensor:
    """PyTorch's kernels for cards before Ampere know float16 but not bfloat16, in which they would write all logits.

    Those for Apple's GPUs take some tensors that are not contiguous for others (pytorch#181133).
    """
    dtype, straight = query.dtype, query.device.type == "mps"
    beyond: Tensor | None = None
    if dtype == torch.bfloat16 and not fuses_bfloat16(query.device):
        (value, beyond), query, key = _value_in_half(value), _in_half(query), _in_half(key)
    if bias is not None and bias.is_floating_point():
        bias = bias.to(query.dtype)

    def by_heads(x: Tensor) -> Tensor:
        return x.transpose(1, 2).contiguous() if straight else x.transpose(1, 2)

    key, value = by_heads(key), by_heads(value)
    with _kernels(query.device, bias):
        mixed = [
            F.scaled_dot_product_attention(by_heads(rows), key, value, attn_mask=bias).transpose(1, 2)
            for rows in query.tensor_split(parts, dim=1)
        ]
    whole = (mixed[0] if parts == 1 else torch.cat(mixed, dim=1)).to(dtype)
    return whole if beyond is None else whole * beyond


def _in_half(x: Tensor) -> Tensor:
    """Queries or keys in float16, the few beyond its range at its end; the blocks' are normed and far from it."""
    return x.half().clamp(*HALF)


def _value_in_half(value: Tensor) -> tuple[Tensor, Tensor]:
    """Values in float16, and the power of two they were divided by to fit, 1 where they do; nothing norms them.

    The device decides, so that nobody waits for it.
    """
    largest = torch.stack(value.aminmax()).abs().amax().float()
    beyond = (largest / HALF[1]).clamp(min=1).log2().ceil().exp2()
    return (value / beyond).half(), beyond


def _kernels(device: torch.device, bias: Tensor | None) -> AbstractContextManager[None]:
    """What PyTorch may choose from: for a bias on CUDA no cuDNN, which it would take from sm_90 on.

    cuDNN's masks have open faults: other dtypes are misread (pytorch#191612), gradients are NaN (pytorch#196678).
    """
    return _without_cudnn() if device.type == "cuda" and bias is not None else nullcontext()


_CHOOSING = Lock()
"""PyTorch keeps its choice for the whole process, and each GPU may have a thread."""


@contextmanager
def _without_cudnn() -> Iterator[None]:
    with _CHOOSING, sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        yield


def fuses_bfloat16(device: torch.device) -> bool:
    """Whether PyTorch has a kernel there that takes bfloat16 and keeps no logits: on CUDA, from sm_80 on."""
    return device.type != "cuda" or torch.cuda.get_device_properties(device).major >= 8


def by_head(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Plain matrix products, one head and a few rows at a time so that the logits stay in the processor's cache.

    In bf16 on CPUs without matrix units (AMX) PyTorch's flash kernel multiplies in float32; this takes half its time.
    Logits are rounded to bf16, which adds 1% to the error that bf16 weights make anyway (measured at logits up to 20).
    Gradients are those of query, key and value.
    """
    if bias is not None and bias.dtype == torch.bool:
        bias = torch.zeros_like(bias, dtype=query.dtype).masked_fill(~bias, float("-inf"))
    mixed: Tensor = _ByHead.apply(query, key, value, bias)  # pyright: ignore[reportAssignmentType]
    return mixed


def _parts(query: Tensor, key: Tensor) -> Iterator[tuple[Place, Place]]:
    """Some rows of one head's queries, and its keys and values."""
    rows = max(CACHED_LOGITS // key.shape[1], 64)
    for sample, head in itertools.product(range(query.shape[0]), range(query.shape[2])):
        for start in range(0, query.shape[1], rows):
            yield (sample, slice(start, start + rows), head), (sample, slice(None), head)


def _shares(query: Tensor, key: Tensor, bias: Tensor | None, rows: Place, keys: Place) -> Tensor:
    """How much each of the rows takes of each key, (rows, L)."""
    logits = query[rows] * query.shape[-1] ** -0.5 @ key[keys].T
    if bias is not None:
        logits += bias[rows[0] % len(bias), 0]
    return logits.softmax(dim=-1)


class _ByHead(torch.autograd.Function):
    """`by_head` and its gradients; shares of attention are computed again on the way back rather than kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(query, key, value, bias)
        mixed = torch.empty_like(query)
        for rows, keys in _parts(query, key):
            torch.mm(_shares(query, key, bias, rows, keys), value[keys], out=mixed[rows])
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, bias = ctx.saved_tensors
        (gradient,) = gradients
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for rows, keys in _parts(query, key):
            shares = _shares(query, key, bias, rows, keys)
            to_value[keys] += shares.T @ gradient[rows]
            to_logits = torch.ops.aten._softmax_backward_data(gradient[rows] @ value[keys].T, shares, -1, shares.dtype)
            torch.mm(to_logits, key[keys], out=to_query[rows])
            to_key[keys] += to_logits.T @ query[rows]
        scale = query.shape[-1] ** -0.5
        return to_query * scale, to_key * scale, to_value, None


SLOW_FLASH = torch.bfloat16 in ONEDNN_DTYPES and not torch.cpu._is_amx_tile_supported()
"""Whether this CPU multiplies bf16 fast, but not inside PyTorch's flash kernel."""


def automatic(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """`by_head` where it is the faster one: bf16 on a CPU without AMX, no gradients of the bias. Else `sdpa`.

    Or the `flash-attn` package where it is faster than `sdpa`; never `sage`, which is approximate.
    """
    learnt = bias is not None and bias.requires_grad
    if SLOW_FLASH and query.device.type == "cpu" and query.dtype == torch.bfloat16 and not learnt:
        return by_head(query, key, value, bias)
    if query.device.type == "cuda" and bias is None and not query.requires_grad and suits_flash(query):
        return flash_attn(query, key, value)
    return sdpa(query, key, value, bias)


def suits_flash(query: Tensor) -> bool:
    """Whether `flash-attn` takes this card and these numbers, and does more than PyTorch."""
    fits = query.dtype in (torch.float16, torch.bfloat16) and query.shape[-1] <= 256
    return fits and fuses_bfloat16(query.device) and flash_is_missed()


@cache
def flash_is_missed() -> bool:
    """Whether the `flash-attn` package loads and PyTorch was built without FlashAttention, as it is for Windows.

    Elsewhere PyTorch has the same kernels inside, and cuDNN's beside them.
    """
    if torch.backends.cuda.is_flash_attention_available():
        return False
    try:
        import_module("flash_attn")
    except UNLOADABLE:
        return False
    return True


def unsuited(name: str, device: torch.device, dtype: torch.dtype) -> str:
    """Why the package of that name cannot compute in `dtype` on `device`; empty where it can."""
    if device.type != "cuda":
        return f"needs a CUDA device, got {device}"
    if dtype == torch.float32 and name != "xformers":
        return "takes float16 and bfloat16, not float32"
    if not fuses_bfloat16(device) and (name != "xformers" or dtype == torch.bfloat16):
        return f"does not take {str(dtype).removeprefix('torch.')} on this card, which is older than Ampere (sm_80)"
    return ""


def flash_attn(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """FlashAttention 2 or later from the `flash-attn` package; it has no bias, so a biased call goes to `sdpa`."""
    if bias is not None:
        return sdpa(query, key, value, bias)
    from flash_attn import flash_attn_func  # pyright: ignore[reportMissingImports]

    return flash_attn_func(query, key, value)


def sage(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """SageAttention (8-bit logits, approximate); it has no bias, so a biased call goes to `sdpa`."""
    if bias is not None:
        return sdpa(query, key, value, bias)
    from sageattention import sageattn  # pyright: ignore[reportMissingImports]

    return sageattn(query, key, value, tensor_layout="NHD")


def xformers(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Memory-efficient attention from the `xformers` package; biased calls go to `sdpa` (xformers wants it aligned)."""
    if bias is not None:
        return sdpa(query, key, value, bias)
    from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]

    return memory_efficient_attention(query, key, value)


BACKENDS: dict[str, Attention] = {
    "auto": automatic,
    "sdpa": sdpa,
    "sdpa-chunked": sdpa_chunked,
    "flash-attn": flash_attn,
    "sage": sage,
    "xformers": xformers,
}


class RMSNorm(nn.Module):
    """Root-mean-square norm's weight, (E,); `normalise_and_rotate` applies it together with RoPE."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))


def normalise_and_rotate(x: Tensor, weight: Tensor, rope: Tensor) -> Tensor:
    """RMS norm of each head, times its weight, then RoPE as one complex product, in float32: (B, L, H, E).

    `rope` is complex, (1, L, 1, E / 2): cosine + i sine of each pair of neighbouring channels.
    """
    exact = x.float()
    scale = torch.rsqrt(exact.square().mean(dim=-1, keepdim=True) + 1e-6)
    pairs = torch.view_as_complex((exact * scale * weight).unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rope).flatten(-2).to(x.dtype)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, D) to (B, L, H, E)."""
    return x.unflatten(-1, (heads, -1))


def rotary_heads(
    x: Tensor, linear: nn.Module, norm: RMSNorm, rope: Tensor, heads: int, chunk_size: int | None
) -> Tensor:
    """Queries or keys of tokens, (B, L, D) to (B, L, H, E): linear, norm and RoPE, `chunk_size` tokens at a time."""

    def rotated(part: Tensor, rope: Tensor) -> Tensor:
        return normalise_and_rotate(split_heads(linear(part), heads), norm.weight, rope)

    return chunked(rotated, chunk_size, x, rope)
