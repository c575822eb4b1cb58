"""Freed memory is kept: asking for it again costs few page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from framepack.training.allocator import keep_freed_memory

kept = keep_freed_memory() if {keep} else True
for _ in range(20):
    torch.zeros(1 << 24)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(*, keep: bool) -> int:
    program = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    done, count = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    if done == "False":
        pytest.skip("the C library is not glibc")
    return int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of this system has no such setting")
def test_freed_memory_is_kept():
    assert faults(keep=True) < 0.6 * faults(keep=False)
