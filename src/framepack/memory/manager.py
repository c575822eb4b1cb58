"""Lends modules, on the device, for as long as a `with` lasts.

    memory = MemoryManager("cuda", vram_limit=6_000_000_000)
    memory.add("vae", load_vae)
    with memory.lease("vae") as vae: ...

Boundary: decides where weights are and is the only one to move them; knows `nn.Module`, names no model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

Load = Callable[[], nn.Module]
Parts = Sequence[nn.Module] | Callable[[Any], Sequence[nn.Module]]


class MemoryManager:
    """One per process. On a CPU every module simply stays where it was loaded and a lease is free."""

    def __init__(
        self,
        device: torch.device | str,
        *,
        vram_limit: int | None = None,
        ram_limit: int | None = None,
        preserve: int | None = None,
        high_vram: bool | None = None,
    ) -> None:
        """Limits in bytes. `preserve` is what weights leave free for activations."""
        self.device = torch.device(device)
        self._loads: dict[str, Load] = {}
        self._modules: dict[str, nn.Module] = {}

    def add(self, name: str, module: nn.Module | Load, *, blocks: Parts = (), once: Parts = ()) -> None:
        """Take charge of a module, or of the function that will load it at its first lease.

        blocks: its blocks in the order they run, so that they can be streamed. once: the modules, in or beside the
        blocks, that only a `lease(name, once=True)` needs. Both may be functions of the loaded module.
        """
        if name in self._loads:
            raise ValueError(f"memory already has a module named {name!r}: remove it first, or choose another name")
        self._loads[name] = (lambda: module) if isinstance(module, nn.Module) else module

    @contextmanager
    def lease(self, name: str, *, once: bool = False, activations: int = 0) -> Iterator[Any]:
        """The module, ready to compute on the device until the `with` ends.

        once: its once-a-job modules, instead of its blocks. activations: bytes the work itself will need, if known.
        """
        if name not in self._loads:
            raise ValueError(f"memory has no module {name!r}; it has {', '.join(sorted(self._loads)) or 'none'}")
        if name not in self._modules:
            self._modules[name] = self._loads[name]().requires_grad_(False).eval().to(self.device)
        yield self._modules[name]

    def remove(self, name: str) -> None:
        """Forget a module and its weights; unknown names are fine."""
        self._loads.pop(name, None)
        self._modules.pop(name, None)
