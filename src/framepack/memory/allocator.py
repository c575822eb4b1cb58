"""How torch's allocator cuts up a CUDA device's memory.

Its own way reserves up to two and a half times what work allocates (4.1 GB for a step of 1.64), so no plan would hold.
Boundary: sets options once, before the first allocation; options of the user's stay as they are.
"""

import os
import warnings
from typing import Any

import torch

from framepack.memory.budget import Budget
from framepack.memory.probe import device_memory

GROWING = "expandable_segments:True"
"""Segments that grow and shrink: about as much is reserved as is allocated."""
UNSPLIT = "expandable_segments:False,max_split_size_mb:64"
"""Where there are none (Windows, some drivers under WSL and some virtual cards): large segments are not cut up."""
TRIAL = 32 << 20


def tune_allocator(device: torch.device) -> None:
    """Choose the options, unless the user did, by any of torch's environment variables or in Python.

    torch 2.11 to 2.13 take them at run time, under this name; a build without it keeps its own.
    """
    configure = getattr(torch._C, "_accelerator_setAllocatorSettings", None)
    if configure is None or torch.cuda.get_allocator_backend() != "native" or _chosen():
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of an option that is not supported here is not news
        configure(UNSPLIT if os.name == "nt" else GROWING)
        if os.name != "nt" and not _grows(device):
            configure(UNSPLIT)


def limit_device(budget: Budget) -> None:
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


def _chosen() -> str:
    """The options in use, empty where nobody has set any."""
    return _snapshot()["allocator_settings"]["PYTORCH_CUDA_ALLOC_CONF"]


def _snapshot() -> Any:
    """What the allocator says of itself; torch's own type of it lacks what is read here."""
    return torch.cuda.memory._snapshot()


def _grows(device: torch.device) -> bool:
    """Whether segments that grow work here: some drivers refuse the first one, some builds have none."""
    torch.cuda.empty_cache()
    try:
        trial = torch.empty(TRIAL, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:
        return True
    except RuntimeError:
        return False
    at = trial.data_ptr()
    segments = _snapshot()["segments"]
    return any(s["is_expandable"] for s in segments if s["address"] <= at < s["address"] + s["total_size"])
