"""What the manager says of itself: plain numbers, for `framepack doctor`, events and tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from framepack.memory.block_group import BlockGroup
from framepack.memory.placement import Streamed

NOT_LOADED = "not loaded"


@dataclass(frozen=True, kw_only=True)
class ModuleReport:
    """Where one module is. Sizes in bytes."""

    where: str
    """`NOT_LOADED`, `on the host`, `on the device`, or how many of its blocks are and how many stream."""
    device: int
    host: int
    """In pinned buffers."""
    streamed: int = 0
    """What one pass over its blocks copies."""

    @classmethod
    def of(cls, groups: Mapping[str, BlockGroup]) -> Self:
        """Describe a module by its groups; none means it was not loaded yet."""
        held = sum(group.held for group in groups.values())
        host = sum(group.host_bytes for group in groups.values())
        if not groups:
            return cls(where=NOT_LOADED, device=held, host=host)
        placement = groups["blocks"].placement
        if isinstance(placement, Streamed):
            kept, total = len(placement.resident), len(groups["blocks"].weight_blocks)
            where = f"{kept} of {total} blocks on the device, the others streamed through {placement.slots} slots"
            return cls(where=where, device=held, host=host, streamed=placement.streamed_bytes)
        return cls(where="on the device" if held else "on the host", device=held, host=host)


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """Where all modules are. Sizes in bytes."""

    device: str
    capacity: int
    """What the process may use on the device."""
    held: int
    """Weights on the device."""
    host: int
    """Weights in pinned buffers."""
    bytes_copied: int
    """Weights brought to the device so far."""
    bytes_read: int
    """Of these, read from files."""
    modules: dict[str, ModuleReport]
