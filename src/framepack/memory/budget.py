"""How many bytes the weights may take, on the device and on the host.

Boundary: asks the system and does the sums; moves nothing.
"""

import sys
from dataclasses import dataclass
from typing import Self

import torch

from framepack.memory.probe import available_ram, device_memory, resident_ram, spare_ram, total_ram
from framepack.spec.machine import parse_bytes

GB = 1_000_000_000
HIGH_VRAM = 60 * GB
"""Free bytes above which every module stays on the device (the public application's threshold)."""
Size = str | int | None
"""Bytes, or a text such as 6GB; None for what suits the machine."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limits a user set and what follows from them. All sizes in bytes."""

    device: torch.device
    vram_limit: int | None = None
    """Most the process may hold on the device. On a CPU it makes a pretended device of this size in RAM."""
    ram_limit: int | None = None
    """Most the process may hold in RAM: weights that do not fit are read from disk when they are needed."""
    preserve: int | None = None
    """What weights leave free for activations and others; None decides."""

    @classmethod
    def of(cls, device: torch.device, vram_limit: Size, ram_limit: Size, preserve: Size) -> Self:
        """Of sizes as people give them. ValueError for what is no size."""

        def size(given: Size) -> int | None:
            if isinstance(given, str):
                return parse_bytes(given) if given else None
            return given

        return cls(device=device, vram_limit=size(vram_limit), ram_limit=size(ram_limit), preserve=size(preserve))

    def __post_init__(self) -> None:
        for name in ("vram_limit", "ram_limit", "preserve"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name.replace('_', '-')} must be at least 0 bytes, got {value}")

    @property
    def in_ram(self) -> bool:
        """The device is the host: what is in RAM is on the device."""
        return self.device.type == "cpu" and self.vram_limit is None

    def capacity(self) -> int:
        """Bytes the process may use on the device now, weights and all."""
        if self.in_ram:
            all_of_it = max(spare_ram(), available_ram() // 2) + resident_ram()  # half: small jobs run on full machines
            return all_of_it if self.ram_limit is None else min(self.ram_limit, all_of_it)
        if self.device.type in ("cpu", "meta"):
            return self.vram_limit or 0
        memory = device_memory(self.device)
        return memory.usable if self.vram_limit is None else min(self.vram_limit, memory.usable)

    def others(self, weights: int) -> int:
        """Bytes the process holds on the device beside `weights`."""
        if self.in_ram:
            return max(0, resident_ram() - weights)
        if self.device.type in ("cpu", "meta"):
            return 0
        return max(0, device_memory(self.device).allocated - weights)

    def reserve(self, activations: int) -> int:
        """What weights must leave free for work that needs `activations` bytes, 0 if that is not known."""
        if self.preserve is not None:
            return max(self.preserve, activations)
        return activations or default_preserve(self.capacity())

    def slack(self) -> int:
        """What a new placement leaves free, since what others hold changes; nothing where nobody else is."""
        pretended = self.device.type in ("cpu", "meta") and not self.in_ram
        return 0 if pretended else self.capacity() // 50

    def lockable(self) -> int:
        """Bytes of RAM that may be page-locked for a real device: the system can neither move nor swap them.

        Windows allows about half of RAM, all programs together.
        """
        return 2 * total_ram() // 5 if self.device.type == "cuda" else sys.maxsize

    def host_free(self) -> int:
        """Bytes of RAM that weights may still take."""
        if self.in_ram:
            return 0
        if self.ram_limit is None:
            return spare_ram()
        return min(self.ram_limit - resident_ram(), spare_ram())


def default_preserve(capacity: int) -> int:
    """6 GB on cards of 12 to 24 GB, as in the public application; half of smaller ones, a quarter of larger (to 12)."""
    if capacity < 12 * GB:
        return capacity // 2
    return min(max(6 * GB, capacity // 4), 12 * GB)
