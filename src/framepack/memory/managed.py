"""A module in the memory manager's charge: how it is loaded, which of it streams, and where its blocks are.

Boundary: keeps; the manager decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from framepack.memory.block_group import BlockGroup
from framepack.memory.mapped import FileSlice

Load = Callable[[], nn.Module]
Parts = Sequence[nn.Module] | nn.ModuleList | Callable[[Any], Sequence[nn.Module]]
Files = Mapping[str, FileSlice]


@dataclass(eq=False)
class Managed:
    """A module in the manager's charge."""

    load: Load
    reloads: bool
    """Whether `load` would make it anew, so that it may be forgotten in between."""
    blocks: Parts
    once: Parts
    files: Files
    pin: bool
    module: nn.Module | None = None
    nbytes: int = 0
    """Of all its weights, known after the first load."""
    groups: dict[str, BlockGroup] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Loaded, and nobody uses it."""
        return self.module is not None and not any(group.in_use for group in self.groups.values())


def parts_of(parts: Parts, module: nn.Module) -> Sequence[nn.Module]:
    if isinstance(parts, Sequence | nn.ModuleList):
        return list(parts)
    return list(parts(module))
