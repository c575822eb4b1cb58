"""Lends modules, on the device, for as long as a `with` lasts.

    memory = MemoryManager("cuda", vram_limit=6_000_000_000)
    memory.add("vae", load_vae)
    with memory.lease("vae") as vae: ...

A module stays on the device after its lease until another needs the room. One that does not fit streams its blocks.
Boundary: decides where weights are and is the only one to move them; knows `nn.Module`, names no model.
"""

import gc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from framepack.memory.block_group import BlockGroup
from framepack.memory.budget import HIGH_VRAM, Budget
from framepack.memory.copy_streams import CopyStream, copy_stream_for
from framepack.memory.disk import DiskReader
from framepack.memory.fallbacks import FALLBACKS, FallbackLevel, Fallbacks
from framepack.memory.managed import Files, Load, Managed, Parts, parts_of
from framepack.memory.placement import Resident, better
from framepack.memory.probe import resident_ram
from framepack.memory.report import MemoryReport, ModuleReport
from framepack.memory.weight_blocks import WeightBlock, split

T = TypeVar("T")


class MemoryManager:
    """One per process. On a CPU what is in RAM stays where it is, and its lease is free."""

    def __init__(
        self,
        device: torch.device | str,
        *,
        vram_limit: int | None = None,
        ram_limit: int | None = None,
        preserve: int | None = None,
        high_vram: bool | None = None,
        copy_stream: CopyStream | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Limits in bytes, or as a whole; see `Budget`.

        high_vram: a job's end leaves weights on the device; None where much is free. On a CPU, vram_limit makes a
        pretended device of that size, for tests and estimates.
        """
        self.device = torch.device(device)
        limits = Budget(device=self.device, vram_limit=vram_limit, ram_limit=ram_limit, preserve=preserve)
        self.budget = budget or limits
        self.copy_stream = copy_stream or copy_stream_for(self.device)
        self.reader = DiskReader(self.copy_stream)
        roomy = not self.budget.in_ram and self.budget.capacity() > HIGH_VRAM
        self.high_vram = roomy if high_vram is None else high_vram
        self.fallbacks = Fallbacks(self._give_back)
        self._managed: dict[str, Managed] = {}
        self._clock = 0

    def add(
        self,
        name: str,
        module: nn.Module | Load,
        *,
        blocks: Parts = (),
        once: Parts = (),
        files: Files | None = None,
        pin: bool = True,
    ) -> None:
        """Take charge of a module, or of the function that will load it, on the CPU, at its first lease.

        blocks: its blocks in the order they run, so that they can be streamed. once: the modules, in or beside the
        blocks, that only a `lease(name, once=True)` uses. Each must be used by calling it; both may be functions of the
        loaded module. files: where weights lie on disk (`map_weights`); it is read after the module was loaded.
        pin: streamed blocks come again and again, and are worth pinned host buffers; those of a module that is passed
        through once are not.
        """
        if name in self._managed:
            raise ValueError(f"memory already has a module named {name!r}: remove it first, or choose another name")
        load, reloads = (lambda: module, False) if isinstance(module, nn.Module) else (module, True)
        self._managed[name] = Managed(load, reloads, blocks, once, {} if files is None else files, pin)

    @contextmanager
    def lease(self, name: str, *, once: bool = False, activations: int = 0, last: bool = False) -> Iterator[Any]:
        """The module, ready to compute on the device until the `with` ends. Its weights are read-only.

        once: with its once-a-job modules instead of its blocks. activations: bytes the work itself will need, where
        that is known; without it, the preserved amount is left free. last: other modules are next, so no block is
        fetched for another pass over them.
        """
        managed = self._open(name)
        part = managed.groups["once" if once else "blocks"]
        groups = [managed.groups["rest"], part]
        self._clock += 1
        settled = part.in_use > 0
        for group in groups:
            group.in_use += 1
            group.last_use = self._clock
        try:
            if not settled and any(group.weight_blocks for group in self._groups()):
                self._bring(groups, activations)
            if part.swap is not None:
                part.swap.last_pass = last
            yield managed.module
        finally:
            for group in groups:
                group.in_use -= 1
            if once and not part.in_use:
                part.offload()

    def retry_with_less_memory(
        self,
        phase: str,
        work: Callable[[FallbackLevel], T],
        *,
        supported: Collection[str] = FALLBACKS,
        allow_tiles: bool = False,
        advice: str = "",
    ) -> T:
        """Do `work`, and do it again with less memory whenever it runs out; see `Ladder.climb`.

        Take leases inside the work: placements follow its level.
        """
        return self.fallbacks.retry_with_less_memory(
            phase, work, supported=supported, allow_tiles=allow_tiles, advice=advice
        )

    def notices(self) -> list[str]:
        """What was given up since the last call so that work could go on, a sentence each."""
        return self.fallbacks.notices()

    def end_job(self) -> None:
        """Leave the device to others, unless everything may stay, and begin the next job with full level."""
        if not self.high_vram:
            self._clear_device()
        self.fallbacks.reset()

    def remove(self, name: str) -> None:
        """Forget a module; whoever still holds it finds its weights on the host. Unknown names are fine."""
        managed = self._managed.pop(name, None)
        for group in managed.groups.values() if managed else ():
            group.unload()

    def free(self) -> None:
        """Take everything that is not on loan off the device, and begin the next job with full level."""
        self._clear_device()
        self.fallbacks.reset()

    def close(self) -> None:
        """Forget all modules and let go of files and buffers."""
        for name in list(self._managed):
            self.remove(name)
        self.reader.close()
        self.copy_stream.trim()

    def report(self) -> MemoryReport:
        """Where everything is now."""
        modules = {name: ModuleReport.of(managed.groups) for name, managed in self._managed.items()}
        return MemoryReport(
            device=str(self.device),
            capacity=self.budget.capacity(),
            held=sum(group.held for group in self._groups()),
            host=sum(group.host_bytes for group in self._groups()),
            bytes_copied=sum(group.bytes_copied for group in self._groups()),
            bytes_read=self.reader.bytes_read,
            modules=modules,
        )

    def _open(self, name: str) -> Managed:
        """The managed module, loaded."""
        if name not in self._managed:
            raise ValueError(f"memory has no module {name!r}; it has {', '.join(sorted(self._managed)) or 'none'}")
        managed = self._managed[name]
        if managed.module is None:
            self._free_host_memory(managed)
            with torch.inference_mode(False):  # else its weights could never again be written to
                module = managed.load()
            blocks, once = parts_of(managed.blocks, module), parts_of(managed.once, module)
            weight_blocks = split(module, blocks, once, managed.files)
            managed.groups = {
                "rest": self._group([weight_blocks.rest], [module]),
                "blocks": self._group(weight_blocks.blocks, blocks, managed.pin),
                "once": self._group(weight_blocks.once, once),
            }
            managed.module = module
            managed.nbytes = sum(
                weight_block.nbytes for weight_block in (weight_blocks.rest, *weight_blocks.blocks, *weight_blocks.once)
            )
        return managed

    def _group(
        self, weight_blocks: Sequence[WeightBlock], modules: Sequence[nn.Module], pin: bool = False
    ) -> BlockGroup:
        """Units that move. Where the device is the host, what no file holds is there already.

        Mapped weights move even there: they may have to be cast, and computing from a map would put them at addresses
        without alignment, which changes speed and, in the last place, results.
        """
        pairs = [
            (weight_block, module)
            for weight_block, module in zip(weight_blocks, modules, strict=True)
            if weight_block.nbytes and (weight_block.in_files or not self.budget.in_ram)
        ]
        return BlockGroup(
            [weight_block for weight_block, _ in pairs],
            [module for _, module in pairs],
            self.copy_stream,
            self.reader,
            pin,
        )

    def _bring(self, groups: Sequence[BlockGroup], activations: int) -> None:
        """Bring a rest and its blocks to where the room allows, at the cost of those not in use."""
        rest, blocks = groups
        level = self.fallbacks.current
        idle = [group for group in self._groups() if not group.in_use]
        free = self._free_for(groups, activations)
        if self.high_vram and level.resident == 1 and rest.size + blocks.size <= free:
            placement = Resident(device_bytes=blocks.size)
        else:
            for_blocks = int((free - rest.size) * level.resident)
            placement = better(blocks.placement, blocks.sizes, for_blocks, self.budget.slack())
        spare = (
            0 if rest.weight_blocks or blocks.weight_blocks else self.budget.slack()
        )  # only other modules' weights can be offloaded here
        self._evict(idle, rest.size + placement.device_bytes + sum(group.held for group in idle) - free + spare)
        rest.place(Resident(device_bytes=rest.size), self._may_pin)
        blocks.place(placement, self._may_pin)

    def _free_for(self, groups: Sequence[BlockGroup], activations: int) -> int:
        """Bytes that `groups` may hold if all that is not in use leaves."""
        every = self._groups()
        weights = sum(group.held for group in every)
        lent = sum(group.held for group in every if group.in_use and group not in groups)
        return self.budget.capacity() - self.budget.others(weights) - self.budget.reserve(activations) - lent

    def _may_pin(self, weight_block: WeightBlock) -> bool:
        """What is in RAM already takes no more of it, but no more than some may be page-locked."""
        locked = sum(group.host_bytes for group in self._groups())
        if locked + weight_block.nbytes > self.budget.lockable():
            return False
        return not weight_block.on_disk or (
            not self.fallbacks.current.disk and weight_block.nbytes <= self.budget.host_free()
        )

    def _evict(self, idle: Sequence[BlockGroup], nbytes: int) -> None:
        """Free bytes on the device, from the group that was used longest ago on."""
        freed = 0
        for group in sorted(idle, key=lambda group: group.last_use):
            freed += group.shrink(nbytes - freed)
        if freed:
            self.copy_stream.trim()

    def _give_back(self, level: FallbackLevel) -> None:
        """Free what an interrupted phase left, before it is tried again."""
        gc.collect(1)  # the young generations, where its cycles are
        self._clear_device()
        for group in self._groups() if level.disk else ():
            if not group.in_use:
                group.unpin()

    def _clear_device(self) -> None:
        for group in self._groups():
            if not group.in_use:
                group.offload()
        self.copy_stream.trim()

    def _free_host_memory(self, wanted: Managed) -> None:
        """Where RAM is limited, modules that can be loaded again and are not in use are unloaded for the next."""
        limit = self.budget.ram_limit
        if limit is None:
            return
        need = wanted.nbytes or max(managed.nbytes for managed in self._managed.values())
        idle = [managed for managed in self._managed.values() if managed.reloads and managed.idle]
        for managed in sorted(idle, key=lambda managed: managed.groups["rest"].last_use):
            if resident_ram() + need <= limit:
                return
            for group in managed.groups.values():
                group.unload()
            managed.module, managed.groups = None, {}

    def _groups(self) -> list[BlockGroup]:
        return [group for managed in self._managed.values() for group in managed.groups.values()]
