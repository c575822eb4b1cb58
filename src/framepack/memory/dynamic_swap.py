"""Streams blocks through a few slots of device memory, each copied ahead of its use.

The blocks run in a circle (step after step), so the circle is what is fetched ahead, across the borders of steps; in a
last pass nothing is fetched for another, as what comes after it would take the slots away. A block that runs out of
turn (a cache skipped some) is fetched on the spot. Nothing waits on the host unless a disk, or RAM that is not
page-locked, is slower than the computation.
Boundary: knows blocks only as modules that are called; inference only.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from framepack.memory.copy_streams import CopyEvent, CopyStream, copy_stream_for
from framepack.memory.disk import DiskReader, WaitFor
from framepack.memory.placement import SLOTS
from framepack.memory.weight_blocks import WeightBlock, split


def nothing() -> None:
    """The arrival of what is already there."""


@dataclass(eq=False)
class Slot:
    """Device memory for one block at a time."""

    flat: Tensor
    free: CopyEvent
    """Until here the computation reads what the slot held last."""
    holds: int | None = None
    busy: bool = False
    wait_for: WaitFor = nothing

    def wait_for_copy(self) -> None:
        """Let the computation wait for what is on its way; if that failed, the slot is empty."""
        wait_for, self.wait_for = self.wait_for, nothing
        holds, self.holds = self.holds, None
        wait_for()
        self.holds = holds


class DynamicSwapInstaller:
    """Installs streaming on blocks; `uninstall`, or the end of a `with`, leaves them as they were.

    Each block must be used by calling it. Its tensors must be read by nothing else, and not after it returns.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        copy_stream: CopyStream | torch.device | str,
        *,
        weight_blocks: Sequence[WeightBlock] | None = None,
        slots: int = SLOTS,
        reader: DiskReader | None = None,
    ) -> None:
        """weight_blocks: the tensors of each block that are to be streamed; None takes all, and pins them."""
        if slots < 1:
            raise ValueError(f"slots must be at least 1, got {slots}")
        self.blocks = tuple(blocks)
        self.copy_stream: CopyStream = (
            copy_stream_for(copy_stream) if isinstance(copy_stream, torch.device | str) else copy_stream
        )
        self.reader = reader or DiskReader(self.copy_stream)
        self.weight_blocks = tuple(weight_blocks) if weight_blocks is not None else self._own_units()
        self.slots: list[Slot] = []
        self.bytes_copied = 0
        self.last_pass = False
        self._wanted_slots = min(slots, len(self.weight_blocks))
        self._views: dict[tuple[int, int], list[Tensor]] = {}
        self._hooks: list[Any] = []

    def _own_units(self) -> tuple[WeightBlock, ...]:
        weight_blocks = split(nn.ModuleList(self.blocks), self.blocks).blocks
        for weight_block in weight_blocks:
            weight_block.pin(self.copy_stream, self.reader)
        return weight_blocks

    @property
    def device_bytes(self) -> int:
        """What the slots take."""
        return sum(slot.flat.numel() for slot in self.slots)

    def install(self) -> Self:
        """Allocate the slots, begin to fill them and hook the blocks; a second call does nothing."""
        if self._hooks:
            return self
        size = max((weight_block.nbytes for weight_block in self.weight_blocks), default=0)
        self.slots = [Slot(self.copy_stream.buffer(size), self.copy_stream.record()) for _ in range(self._wanted_slots)]
        for index, block in enumerate(self.blocks):
            self._hooks.append(block.register_forward_pre_hook(partial(self._before, index)))
            self._hooks.append(block.register_forward_hook(partial(self._after, index), always_call=True))
        self._prefetch(0, len(self.slots))
        return self

    def uninstall(self) -> None:
        """Unhook the blocks, point them at their homes and free the slots; a second call does nothing."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for slot in self.slots:
            with suppress(OSError, RuntimeError, MemoryError):
                slot.wait_for_copy()  # its memory must not be loaned again under a copy in flight
        for weight_block in self.weight_blocks:
            weight_block.point(weight_block.home)
        self.slots = []
        self._views.clear()

    def __enter__(self) -> Self:
        return self.install()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.uninstall()

    def _before(self, index: int, block: nn.Module, args: tuple[Any, ...]) -> None:
        differentiable = torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args)
        assert not differentiable, "a streamed block's weights are gone before a backward pass would read them"
        slot = self._slot_with(index) or self._fill(index, self._victim(index))
        slot.busy = True
        self._prefetch(index + 1, len(self.slots) - 1)
        slot.wait_for_copy()
        self.weight_blocks[index].point(self._views_in(slot, index))

    def _after(self, index: int, block: nn.Module, args: tuple[Any, ...], output: object) -> None:
        slot = self._slot_with(index)
        if slot is None:
            return
        self.weight_blocks[index].point(self.weight_blocks[index].home)
        slot.free, slot.busy = self.copy_stream.record(), False
        self._prefetch(index + 1, len(self.slots))

    def _prefetch(self, start: int, count: int) -> None:
        """See that the `count` blocks from `start` on, in the circle, are in slots or on their way."""
        end = len(self.weight_blocks) if self.last_pass else start + count
        wanted = [index % len(self.weight_blocks) for index in range(start, min(start + count, end))]
        spare = [slot for slot in self.slots if not slot.busy and slot.holds not in wanted]
        for index in wanted:
            if self._slot_with(index) is None and spare:
                self._fill(index, spare.pop(0))

    def _fill(self, index: int, slot: Slot) -> Slot:
        slot.wait_for_copy()
        slot.holds = index
        slot.wait_for = self.weight_blocks[index].fill(slot.flat, self.copy_stream, self.reader, slot.free)
        self.bytes_copied += self.weight_blocks[index].nbytes
        return slot

    def _victim(self, index: int) -> Slot:
        """The free slot whose block is due last."""

        def due(slot: Slot) -> int:
            return len(self.weight_blocks) if slot.holds is None else (slot.holds - index) % len(self.weight_blocks)

        return max((slot for slot in self.slots if not slot.busy), key=due)

    def _slot_with(self, index: int) -> Slot | None:
        return next((slot for slot in self.slots if slot.holds == index), None)

    def _views_in(self, slot: Slot, index: int) -> list[Tensor]:
        key = (self.slots.index(slot), index)
        if key not in self._views:
            self._views[key] = self.weight_blocks[index].layout.views(slot.flat)
        return self._views[key]
