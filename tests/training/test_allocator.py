"""Freed memory is kept: asking for it again costs few page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
import resource
from framepack.training.allocator import keep_freed_memory

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
kept = keep_freed_memory() if {keep} else True
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = ctypes.c_void_p(library.malloc(ctypes.c_size_t(64 << 20)))
    ctypes.memset(block, 1, 64 << 20)
    library.free(block)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, keep: bool) -> int:
    """Pages the system had to fill for 20 blocks of 64 MiB, each freed before the next.

    Of the C library itself, not of tensors: these start at a multiple of 64 bytes, and whether the next one fits where
    the last one lay depends on what else was taken between them.
    """
    program = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    done, count = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    if done == "False":
        pytest.skip("the C library is not glibc")
    return int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of this system has no such setting")
def test_freed_memory_is_kept():
    assert faults(keep=True) < 0.2 * faults(keep=False)
