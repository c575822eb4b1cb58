"""What work takes, before any weight is read: it runs on the meta device, where tensors have shapes and no bytes.

Boundary: counts the bytes alive at once and the operations of any closure; knows no model. Attention counts as a fused
kernel, which keeps its inputs and its output and never the table of all pairs; a backend that needs more says so by
what it allocates.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from framepack.memory.manager import MemoryManager

ROUNDING = 512
"""Bytes; CUDA's allocator hands out multiples of it."""
RUN = 2
"""Blocks of a kind that run; the others are alike."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one pass of some work takes."""

    activations: int
    """Most bytes alive at once, weights and inputs not counted."""
    flops: int
    """Two for each multiplication and addition."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What the machine does in a second; None where it was not measured."""

    flops: float | None = None
    conv: float | None = None
    """Multiplications and additions in convolutions."""
    copied: float | None = None
    """Bytes from pinned host memory to the device."""
    read: float | None = None
    """Bytes from disk."""


@dataclass(frozen=True, kw_only=True)
class Leased:
    """What a lease does to the device. Sizes in bytes."""

    where: str
    """The module's placement, in words."""
    held: dict[str, int]
    """Weights on the device during the lease, by module."""
    brought: int
    """Weights copied to the device for it, once."""
    streamed: int
    """Weights that each pass copies."""


def estimate(work: Callable[[], object], blocks: Sequence[nn.Module] = (), *, fused_gelu: bool = False) -> Cost:
    """Run `work`, whose tensors are all on the meta device, and count.

    blocks: modules that work calls one after the other; of those of a kind two run. fused_gelu: a GELU is part of the
    linear before it, as in oneDNN on a CPU, and makes no tensor of its own.
    """
    meter = _Meter()
    with torch.no_grad(), meter, _Functions(meter, fused_gelu), _repeating(blocks, meter):
        work()
    return Cost(activations=meter.peak, flops=meter.flops)


def estimate_lease(memory: MemoryManager, module: str, *, once: bool, workspace: int) -> Leased:
    """Lease a module from a manager on the meta device, to which a job's modules were added."""
    before = memory.report().bytes_copied
    with memory.lease(module, once=once, activations=workspace):
        report = memory.report()
    return Leased(
        where=report.modules[module].where,
        held={name: part.device for name, part in report.modules.items()},
        brought=report.bytes_copied - before,
        streamed=report.modules[module].streamed,
    )


class _Meter(TorchDispatchMode):
    """Sums the storages alive that were made while it is on, and the operations."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0
        self.flops = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        given = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _key(leaf) not in given:
                self._count(leaf)
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **kwargs, out_val=result)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage, key = tensor.untyped_storage(), _key(tensor)
        if key in self._seen:
            return
        nbytes = -(-storage.nbytes() // ROUNDING) * ROUNDING
        self._seen.add(key)
        self.alive += nbytes
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, key, nbytes).atexit = False

    def _release(self, key: int, nbytes: int) -> None:
        self._seen.discard(key)
        self.alive -= nbytes


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _Functions(TorchFunctionMode):
    """Takes attention as one kernel, where torch would spell out the table of all pairs on the meta device.

    A question about values, of which there are none, is answered yes: transformers asks whether all positions are of
    one sequence.
    """

    def __init__(self, meter: _Meter, fused_gelu: bool) -> None:
        super().__init__()
        self.meter, self.fused_gelu = meter, fused_gelu

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.gelu and self.fused_gelu:
            return args[0]
        if func is Tensor.__bool__:
            return True
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        self.meter.flops += 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return query.new_empty(*query.shape[:-1], value.shape[-1])


@contextmanager
def _repeating(blocks: Sequence[nn.Module], meter: _Meter) -> Iterator[None]:
    """Of each kind of block the first ones run; each other makes what it takes and counts as the last that ran."""
    seen, flops, changed = Counter[type](), dict[type, int](), []

    def run(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
        before = meter.flops
        result = type(block).forward(block, *args, **kwargs)
        flops[type(block)] = meter.flops - before
        return result

    def stand_in(block: nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        meter.flops += flops[type(block)]
        return torch.empty_like(x)

    for block in blocks:
        seen[type(block)] += 1
        work = run if seen[type(block)] <= RUN else stand_in
        block.forward = lambda *args, work=work, block=block, **kwargs: work(block, *args, **kwargs)
        changed.append(block)
    try:
        yield
    finally:
        for block in changed:
            del block.forward
