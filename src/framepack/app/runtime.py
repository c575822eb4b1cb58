"""The one file that wires the house: from names and flags to a FramePack whose models are lent by a memory manager."""

import os
from pathlib import Path

import torch

from framepack.memory import Budget, MemoryManager, parse_bytes
from framepack.memory.probe import device_memory
from framepack.pipeline.choices import Tiling
from framepack.pipeline.device import choose_device
from framepack.pipeline.framepack import FramePack
from framepack.spec.variants import VARIANTS, Variant
from framepack.weights.loader import Loader, choose_dtypes
from framepack.weights.sources import ModelSource


def variant_of(model: str) -> Variant:
    """The row of VARIANTS, or a ValueError that lists them."""
    if model not in VARIANTS:
        raise ValueError(f"model must be one of {', '.join(VARIANTS)}, got {model!r}")
    return VARIANTS[model]


def open_framepack(
    model: str,
    *,
    models_dir: Path | None = None,
    dtype: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    offline: bool = False,
    attention: str = "auto",
    vram_limit: str | None = None,
    ram_limit: str | None = None,
    preserve: str | None = None,
    vae_tiling: Tiling = "never",
) -> FramePack:
    """Find `model` and prepare to load its parts on demand. ValueError where something is missing.

    vram_limit, ram_limit, preserve: sizes such as 6GB; see `memory.Budget`. vae_tiling: see `pipeline.choices`.
    """
    where = choose_device(device)
    loader = Loader(
        variant_of(model),
        ModelSource(models_dir=models_dir, revision=revision, offline=offline),
        choose_dtypes(where, None if dtype == "auto" else dtype),
        attention=attention,
        device=where,
    )
    budget = budget_of(where, vram_limit, ram_limit, preserve)
    hold(budget)
    memory = MemoryManager(where, vram_limit=budget.vram_limit, ram_limit=budget.ram_limit, preserve=budget.preserve)
    return FramePack.from_loader(loader, memory, vae_tiling)


def hold(budget: Budget) -> None:
    """Let torch refuse what goes beyond the budget of a CUDA device, so that work is done again with less.

    Windows, where the card is full, silently takes RAM in its place, and everything is many times slower: there what is
    free now, less a tenth, is the limit where none was given.
    """
    if budget.device.type != "cuda":
        return
    total, share = device_memory(budget.device).total, 1.0
    if budget.vram_limit is not None:
        share = budget.vram_limit / total
    elif os.name == "nt":
        share = 0.9 * budget.capacity() / total
    card = budget.device.index  # torch takes no device without one here, but None for the current card
    torch.cuda.set_per_process_memory_fraction(min(max(share, 0.0), 1.0), card)


def budget_of(device: torch.device, vram_limit: str | None, ram_limit: str | None, preserve: str | None) -> Budget:
    """Sizes such as 6GB, or None, as a budget. ValueError for what is no size."""
    vram, ram, free = (parse_bytes(size) if size else None for size in (vram_limit, ram_limit, preserve))
    return Budget(device=device, vram_limit=vram, ram_limit=ram, preserve=free)
