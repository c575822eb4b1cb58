"""Blocks of one module that are needed together, brought to one placement and away from it again.

Boundary: follows orders; how many bytes there are is the manager's to know.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from torch import nn

from framepack.memory.copy_streams import CopyStream
from framepack.memory.disk import DiskReader
from framepack.memory.dynamic_swap import DynamicSwapInstaller
from framepack.memory.placement import Offloaded, Placement, Resident, Streamed
from framepack.memory.weight_blocks import WeightBlock


class BlockGroup:
    """All blocks of a module, or all its once-a-job modules, or its rest (one block that no call marks)."""

    def __init__(
        self,
        weight_blocks: Sequence[WeightBlock],
        modules: Sequence[nn.Module],
        copy_stream: CopyStream,
        reader: DiskReader,
        pin: bool = False,
    ) -> None:
        """modules: whose calls use the blocks, one each, or none. pin: its blocks are worth a pinned host buffer."""
        self.weight_blocks = tuple(weight_blocks)
        self.modules = tuple(modules)
        self.copy_stream, self.reader, self.pin = copy_stream, reader, pin
        self.placement: Placement = Offloaded()
        self.swap: DynamicSwapInstaller | None = None
        self.in_use = 0
        self.last_use = 0
        self._copied = 0

    @property
    def sizes(self) -> list[int]:
        return [weight_block.nbytes for weight_block in self.weight_blocks]

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def held(self) -> int:
        """Bytes on the device now."""
        slots = self.swap.device_bytes if self.swap else 0
        return slots + sum(
            weight_block.nbytes for weight_block in self.weight_blocks if weight_block.device is not None
        )

    @property
    def host_bytes(self) -> int:
        """Bytes in pinned buffers."""
        return sum(weight_block.nbytes for weight_block in self.weight_blocks if weight_block.host is not None)

    @property
    def bytes_copied(self) -> int:
        """Bytes brought to the device so far."""
        return self._copied + (self.swap.bytes_copied if self.swap else 0)

    def place(self, placement: Resident | Streamed, may_pin: Callable[[WeightBlock], bool]) -> None:
        """Bring it to `placement`; may_pin says which blocks that stream may have pinned buffers.

        An error on the way leaves it usable: somewhere between, to be settled again or shrunk.
        """
        if placement == self.placement:
            return
        self._unstream()
        stays = range(len(self.weight_blocks)) if isinstance(placement, Resident) else placement.resident
        streamed = [index for index in range(len(self.weight_blocks)) if index not in set(stays)]
        for index in streamed:
            self.weight_blocks[index].drop()
        self._fetch([self.weight_blocks[index] for index in stays])
        if isinstance(placement, Streamed):
            self._stream(streamed, placement.slots, may_pin)
        self.placement = placement

    def shrink(self, nbytes: int) -> int:
        """Free at least `nbytes` of the device if it holds as many: the slots, then blocks from the last on."""
        before = self.held
        if nbytes > 0 and before:
            self._unstream()
            for weight_block in reversed(self.weight_blocks):
                if before - self.held >= nbytes:
                    break
                weight_block.drop()
        return before - self.held

    def offload(self) -> None:
        """Leave the device."""
        self._unstream()
        for weight_block in self.weight_blocks:
            weight_block.drop()

    def unpin(self) -> int:
        """Leave the host too, where files hold the same; the host bytes freed."""
        self._unstream()
        return sum(weight_block.unpin(self.copy_stream) for weight_block in self.weight_blocks)

    def unload(self) -> None:
        """Leave the device and give pinned buffers back; the module keeps valid weights on the host."""
        self.offload()
        for weight_block in self.weight_blocks:
            if weight_block.host is not None:
                self.copy_stream.free_host(weight_block.host)

    def _fetch(self, weight_blocks: Sequence[WeightBlock]) -> None:
        """Begin all, then let the computation wait for all, even where one fails: none may wait_for after its memory
        was loaned again. Then none of them stays, because nobody knows which ones are whole."""
        absent = [weight_block for weight_block in weight_blocks if weight_block.device is None]
        try:
            with ExitStack() as waits:
                for weight_block in absent:
                    waits.callback(weight_block.fetch(self.copy_stream, self.reader))
                    self._copied += weight_block.nbytes
        except BaseException:
            for weight_block in absent:
                weight_block.drop()
            raise

    def _stream(self, streamed: Sequence[int], slots: int, may_pin: Callable[[WeightBlock], bool]) -> None:
        weight_blocks = [self.weight_blocks[index] for index in streamed]
        for weight_block in weight_blocks if self.pin else ():
            if weight_block.host is None and may_pin(weight_block):
                weight_block.pin(self.copy_stream, self.reader)
        modules = [self.modules[index] for index in streamed]
        self.swap = DynamicSwapInstaller(
            modules, self.copy_stream, weight_blocks=weight_blocks, slots=slots, reader=self.reader
        )
        self.swap.install()

    def _unstream(self) -> None:
        self.placement = Offloaded()
        if self.swap is not None:
            self._copied += self.swap.bytes_copied
            self.swap.uninstall()
            self.swap = None
