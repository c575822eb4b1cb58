"""Keeps the memory that one training step frees for the next. Boundary: the C library's allocator; nothing of PyTorch.

By default glibc asks the system for every large block and gives it back at once, and the system fills each of its
pages with zeros again: a tenth of a small model's step on the CPU (`benchmarks/train_cpu.py`).
"""

import ctypes
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""glibc's names for what `mallopt` sets (malloc.h)."""
STEP = 256 << 20
"""Bytes to ask the system for at a time."""


def keep_freed_memory() -> bool:
    """Tell the allocator of this process, for the rest of its life; False where it is not glibc's.

    The process then stays as large as it once was.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return all([mallopt(MMAP_MAX, 0), mallopt(TRIM_THRESHOLD, -1), mallopt(TOP_PAD, STEP)])
