"""Units of one module that are needed together, brought to one placement and away from it again.

Boundary: does what it is told; how many bytes there are is the manager's to know.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from torch import nn

from framepack.memory.disk import DiskReader
from framepack.memory.dynamic_swap import DynamicSwapInstaller
from framepack.memory.lanes import Lane
from framepack.memory.placement import Offloaded, Placement, Resident, Streamed
from framepack.memory.units import Unit


class Group:
    """All blocks of a module, or all its once-a-job modules, or its rest (one unit that no call marks)."""

    def __init__(
        self, units: Sequence[Unit], modules: Sequence[nn.Module], lane: Lane, reader: DiskReader, pin: bool = False
    ) -> None:
        """modules: whose calls use the units, one each, or none. pin: its units are worth a pinned host buffer."""
        self.units = tuple(units)
        self.modules = tuple(modules)
        self.lane, self.reader, self.pin = lane, reader, pin
        self.placement: Placement = Offloaded()
        self.swap: DynamicSwapInstaller | None = None
        self.in_use = 0
        self.last_use = 0
        self._copied = 0

    @property
    def sizes(self) -> list[int]:
        return [unit.nbytes for unit in self.units]

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def held(self) -> int:
        """Bytes on the device now."""
        slots = self.swap.device_bytes if self.swap else 0
        return slots + sum(unit.nbytes for unit in self.units if unit.device is not None)

    @property
    def host_bytes(self) -> int:
        """Bytes in pinned buffers."""
        return sum(unit.nbytes for unit in self.units if unit.host is not None)

    @property
    def bytes_copied(self) -> int:
        """Bytes brought to the device so far."""
        return self._copied + (self.swap.bytes_copied if self.swap else 0)

    def settle(self, placement: Resident | Streamed, may_pin: Callable[[Unit], bool]) -> None:
        """Bring it to `placement`; may_pin says which units that stream may have pinned buffers.

        An error on the way leaves it usable: somewhere between, to be settled again or shrunk.
        """
        if placement == self.placement:
            return
        self._unstream()
        stays = range(len(self.units)) if isinstance(placement, Resident) else placement.resident
        streamed = [index for index in range(len(self.units)) if index not in set(stays)]
        for index in streamed:
            self.units[index].drop()
        self._fetch([self.units[index] for index in stays])
        if isinstance(placement, Streamed):
            self._stream(streamed, placement.slots, may_pin)
        self.placement = placement

    def shrink(self, nbytes: int) -> int:
        """Free at least `nbytes` of the device if it holds as many: the slots, then blocks from the last on."""
        before = self.held
        if nbytes > 0 and before:
            self._unstream()
            for unit in reversed(self.units):
                if before - self.held >= nbytes:
                    break
                unit.drop()
        return before - self.held

    def leave(self) -> None:
        """Leave the device."""
        self._unstream()
        for unit in self.units:
            unit.drop()

    def unpin(self) -> int:
        """Leave the host too, where files hold the same; the host bytes freed."""
        self._unstream()
        return sum(unit.unpin(self.lane) for unit in self.units)

    def forget(self) -> None:
        """Leave the device and give pinned buffers back; the module keeps valid weights on the host."""
        self.leave()
        for unit in self.units:
            if unit.host is not None:
                self.lane.free_host(unit.host)

    def _fetch(self, units: Sequence[Unit]) -> None:
        """Begin all, then let the computation wait for all, even where one fails: none may arrive after its memory
        was lent again. Then none of them stays, for nobody could tell which ones are whole."""
        absent = [unit for unit in units if unit.device is None]
        try:
            with ExitStack() as arrivals:
                for unit in absent:
                    arrivals.callback(unit.fetch(self.lane, self.reader))
                    self._copied += unit.nbytes
        except BaseException:
            for unit in absent:
                unit.drop()
            raise

    def _stream(self, streamed: Sequence[int], slots: int, may_pin: Callable[[Unit], bool]) -> None:
        units = [self.units[index] for index in streamed]
        for unit in units if self.pin else ():
            if unit.host is None and may_pin(unit):
                unit.pin(self.lane, self.reader)
        modules = [self.modules[index] for index in streamed]
        self.swap = DynamicSwapInstaller(modules, self.lane, units=units, slots=slots, reader=self.reader)
        self.swap.install()

    def _unstream(self) -> None:
        self.placement = Offloaded()
        if self.swap is not None:
            self._copied += self.swap.bytes_copied
            self.swap.uninstall()
            self.swap = None
