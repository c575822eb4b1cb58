"""Where a group of blocks is, and which of them a number of bytes can hold. Arithmetic only."""

from collections.abc import Sequence
from dataclasses import dataclass

SLOTS = 3
"""One block computes, one is ready, one is on its way; two where bytes are short."""


@dataclass(frozen=True, kw_only=True)
class Offloaded:
    """On the host, between uses."""

    device_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Resident:
    """Whole, on the device."""

    device_bytes: int
    streamed_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """Block by block: some stay on the device, the others pass through its slots."""

    resident: tuple[int, ...]
    """Indices of the blocks that stay."""
    slots: int
    device_bytes: int
    """Of the resident blocks and the slots."""
    streamed_bytes: int
    """What one pass over the blocks copies."""


Placement = Offloaded | Resident | Streamed


def place(sizes: Sequence[int], free: int) -> Resident | Streamed:
    """The fastest placement of blocks of `sizes` bytes in `free` bytes.

    What cannot be streamed, because it is one piece, is resident even where it does not fit; blocks are streamed
    through two slots even where these do not.
    """
    if sum(sizes) <= max(free, 0) or len(sizes) < 2:
        return Resident(device_bytes=sum(sizes))
    largest = max(sizes)
    slots = SLOTS if free >= SLOTS * largest else 2
    resident = spread(sizes, free - slots * largest)
    streamed = [size for index, size in enumerate(sizes) if index not in set(resident)]
    slots = min(slots, len(streamed))
    return Streamed(
        resident=resident,
        slots=slots,
        device_bytes=sum(sizes) - sum(streamed) + slots * max(streamed),
        streamed_bytes=sum(streamed) if slots < len(streamed) else 0,
    )


def better(now: Placement, sizes: Sequence[int], free: int, slack: int) -> Resident | Streamed:
    """The placement to take in `free` bytes, where blocks are in placement `now`.

    What fits stays, unless another streams a tenth less: what is free changes by a little from lease to lease, and
    moving blocks for that would cost more than it saves. A new placement leaves `slack` bytes for such changes.
    """
    new = place(sizes, free - slack)
    if isinstance(now, Offloaded) or now.device_bytes > free or new.streamed_bytes < 0.9 * now.streamed_bytes:
        return new
    return now


def spread(sizes: Sequence[int], free: int) -> tuple[int, ...]:
    """Which blocks to keep in `free` bytes, evenly spaced, so that copies overlap with kept blocks' computation."""
    total, seen, kept = sum(sizes), 0, 0
    chosen = []
    for index, size in enumerate(sizes):
        seen += size
        if (kept + size) * total <= seen * free:
            chosen.append(index)
            kept += size
    return tuple(chosen)
