"""What work will take, before any weight is read: it is run on the meta device, where tensors have shapes and no bytes.

Boundary: counts the bytes alive at once and the multiplications of any closure; knows no model. Attention counts as a
fused kernel: it keeps its inputs and its output, never the table of all pairs.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from framepack.memory.budget import Budget
from framepack.memory.manager import MemoryManager

ROUNDING = 512
"""Bytes; CUDA's allocator hands out multiples of it."""


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
    copied: float | None = None
    """Bytes from pinned host memory to the device."""
    read: float | None = None
    """Bytes from disk."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One lease of a job, whose work costs `cost` and is done `passes` times."""

    label: str
    module: str
    cost: Cost
    once: bool = False
    passes: int = 1
    beside: int = 0
    """Bytes on the device that are neither weights nor made by the work: tables, latents, history."""
    from_disk: bool = False
    """What is streamed comes from files."""
    flops: float | None = None
    """What the machine does in a second of this work, where it differs from `Speed.flops`."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a stage will take. Sizes in bytes, time in seconds."""

    label: str
    where: str
    """The module's placement, in words."""
    weights: int
    activations: int
    peak: int
    copied: int
    """Weights brought to the device, all passes together."""
    seconds: float | None
    """None where the speed that it depends on is not known."""
    streamed: int
    """Weights that each pass copies."""
    held: dict[str, int]
    """Weights on the device, by module."""


def measure(work: Callable[[], object], *, fused_gelu: bool = False) -> Cost:
    """Run `work`, whose tensors are all on the meta device, and count.

    fused_gelu: a GELU is part of the linear before it, as in oneDNN on a CPU, and makes no tensor of its own.
    """
    with torch.no_grad(), _Meter() as meter, _FusedKernels(fused_gelu) as attention:
        work()
    return Cost(activations=meter.peak, flops=meter.flops + attention.flops)


def rehearse(memory: MemoryManager, stages: Sequence[Stage], speed: Speed) -> tuple[Forecast, ...]:
    """Go through a job's leases in order with a manager on the meta device (`rehearsal_for`), its modules added."""
    return tuple(rehearse_one(memory, stage, speed) for stage in stages)


def rehearsal_for(budget: Budget, modules: Callable[[MemoryManager], None]) -> MemoryManager:
    """A manager that has as much room as a real one and no weights; `modules` adds them, on the meta device."""
    memory = MemoryManager("meta", vram_limit=budget.capacity() - budget.slack(), preserve=budget.preserve)
    modules(memory)
    return memory


def rehearse_one(memory: MemoryManager, stage: Stage, speed: Speed) -> Forecast:
    """One stage of `rehearse`."""
    before = memory.report().bytes_copied
    with memory.lease(stage.module, once=stage.once, activations=stage.cost.activations + stage.beside):
        report = memory.report()
    streamed = report.modules[stage.module].streamed
    brought = report.bytes_copied - before
    return Forecast(
        label=stage.label,
        where=report.modules[stage.module].where,
        weights=report.held,
        activations=stage.cost.activations,
        peak=report.held + stage.cost.activations + stage.beside,
        copied=brought + stage.passes * streamed,
        seconds=_seconds(stage, brought, streamed, speed),
        streamed=streamed,
        held={name: module.device for name, module in report.modules.items()},
    )


def _seconds(stage: Stage, brought: int, streamed: int, speed: Speed) -> float | None:
    """Computing and copying happen at the same time; bringing weights comes before."""
    flops, copied = stage.flops or speed.flops, speed.read if stage.from_disk else speed.copied
    if flops is None or ((brought or streamed) and copied is None):
        return None
    computing = stage.cost.flops / flops
    if copied is None:
        return stage.passes * computing
    return brought / copied + stage.passes * max(computing, streamed / copied)


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


class _FusedKernels(TorchFunctionMode):
    """Takes attention as one kernel; on the meta device torch would spell out the table of all pairs."""

    def __init__(self, gelu: bool) -> None:
        super().__init__()
        self.flops = 0
        self.gelu = gelu

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.gelu and self.gelu:
            return args[0]
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        self.flops += 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return query.new_empty(*query.shape[:-1], value.shape[-1])
