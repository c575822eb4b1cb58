"""PyTorch's CUDA build on a card that is not there: `make fake-gpu` fetches it and runs these; else they are skipped.

Real are the allocator, streams, events and page-locked memory; nothing is computed and no time is real.
"""

import json
import os
from pathlib import Path

import matrix
import pytest

HOME = Path(os.environ.get("FAKE_GPU_HOME", "~/.cache/framepack-fake-gpu")).expanduser()
pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(not (HOME / "libfake_cuda.so").exists(), reason="the fake card is not here: make fake-gpu"),
]
ALLOCATOR = """
import os, torch
from framepack.memory.copy_streams import CudaCopyStream
if os.environ.get("SET_BY"):
    torch._C._accelerator_setAllocatorSettings(os.environ["SET_BY"])
streams = [CudaCopyStream("cuda"), CudaCopyStream("cuda")]
streams[0].buffer(1 << 26)
memory = torch.cuda.memory._snapshot()
print(memory["allocator_settings"]["PYTORCH_CUDA_ALLOC_CONF"], any(s["is_expandable"] for s in memory["segments"]))
"""


@pytest.mark.parametrize("row", matrix.ROWS, ids=lambda row: row.name)
def test_a_13b_job_holds_to_its_plan(row):
    took = matrix.run(HOME, row)
    assert took["notices"] == []
    assert took["out of memory"] == took["races"] == 0
    assert matrix.pageable(took) <= row.pageable
    assert took["blocks"] >= row.blocks
    assert took["copied"] <= row.copied * 1e9
    assert "wait spinning" not in took["counts"]
    assert not [line for line in took["stderr"].splitlines() if line.startswith("[W")]


def test_races_are_found_where_a_wait_is_left_out():
    done = matrix.python(HOME, matrix.HERE / "controls.py", FAKE_MEMORY="8000000000")
    found = json.loads(done.stdout.splitlines()[-1])
    finishes = {"ram, no finish", "file, no finish"}  # what is page-locked as a whole is not filled twice
    bites = {name for name in found if "as written" not in name} - {"locked, no finish"}
    assert finishes < bites
    assert {name for name, races in found.items() if races} == bites


@pytest.mark.parametrize(
    ("variables", "options", "grows"),
    [
        ({}, "expandable_segments:True", True),
        ({"FAKE_NO_SEGMENTS": "1"}, "expandable_segments:False,max_split_size_mb:64", False),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:99"}, "max_split_size_mb:99", False),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:99"}, "max_split_size_mb:99", False),
        ({"PYTORCH_HIP_ALLOC_CONF": "max_split_size_mb:99"}, "max_split_size_mb:99", False),
        ({"SET_BY": "max_split_size_mb:99"}, "max_split_size_mb:99", False),
    ],
)
def test_the_allocators_options_are_the_users_or_what_the_driver_can(variables, options, grows, tmp_path):
    script = tmp_path / "allocator.py"
    script.write_text(ALLOCATOR, encoding="utf-8")
    done = matrix.python(HOME, script, **variables)
    assert done.stdout.split() == [options, str(grows)], done.stderr
