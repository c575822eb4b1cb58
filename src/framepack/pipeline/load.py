"""`framepack.load`: from a model's name and a machine's options to a FramePack whose weights a memory manager lends.

Python, command line, workers and tests all call it; every option of the machine is here.
"""

import os
from pathlib import Path

import torch

from framepack.memory import Budget, MemoryManager, parse_bytes
from framepack.memory.probe import device_memory
from framepack.pipeline.device import choose_device
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.memory_plan import Tiling
from framepack.spec.variants import variant_of
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.sources import ModelSource

Size = str | int | None
"""Bytes, or a text such as 6GB; None for what suits the machine."""


def load(
    model: str = "mini",
    *,
    device: str | torch.device | None = "auto",
    dtype: str | None = "auto",
    models_dir: Path | str | None = None,
    revision: str | None = None,
    offline: bool = False,
    attention: str = "auto",
    vram_limit: Size = None,
    ram_limit: Size = None,
    preserve: Size = None,
    vae_tiling: Tiling = "never",
) -> FramePack:
    """Find `model`, a key of VARIANTS, and prepare to load its components when they are first needed.

    device: auto, cpu, cuda, cuda:1 or mps. dtype: auto, float32, bfloat16 or float16. models_dir: a folder of
    `organisation/repository` folders that is looked at before the Hugging Face cache. revision: of the model's own
    repository. offline: never ask the hub. attention: auto, sdpa, sdpa-chunked, flash-attn, sage or xformers.
    vram_limit, ram_limit: most this process may hold on the device and in RAM. preserve: device memory that weights
    leave free. vae_tiling: whether the VAE may work in tiles, which leave faint seams: never, allow or always.
    Raises ValueError, in a sentence, for files that are missing and for what this machine cannot do.
    """
    where = choose_device(device)
    loader = Loader(
        variant_of(model),
        ModelSource(models_dir=None if models_dir is None else Path(models_dir), revision=revision, offline=offline),
        choose_precision(where, None if dtype == "auto" else dtype),
        attention=attention,
        device=where,
    )
    budget = budget_of(where, vram_limit, ram_limit, preserve)
    hold(budget)
    memory = MemoryManager(where, vram_limit=budget.vram_limit, ram_limit=budget.ram_limit, preserve=budget.preserve)
    return FramePack(loader, memory, vae_tiling)


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


def budget_of(device: torch.device, vram_limit: Size, ram_limit: Size, preserve: Size) -> Budget:
    """Sizes as a budget. ValueError for what is no size."""

    def size(given: Size) -> int | None:
        if isinstance(given, str):
            return parse_bytes(given) if given else None
        return given

    return Budget(device=device, vram_limit=size(vram_limit), ram_limit=size(ram_limit), preserve=size(preserve))
