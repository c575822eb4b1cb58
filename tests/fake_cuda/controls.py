"""Do the card's checks bite? Blocks stream from page-locked RAM, from ordinary RAM and from a file, each as written and
with one of the copy stream's waits left out; tells the races of each as JSON."""

import ctypes
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from framepack.memory import MemoryManager, map_weights
from framepack.memory.copy_streams import CudaCopyStream

WIDTH, BLOCKS = 1024, 7


class NoWait(CudaCopyStream):
    """The computation does not wait for what is copied."""

    def wait(self, mark: Any) -> None:
        pass


class NoAfter(CudaCopyStream):
    """A copy does not wait for the last use of what it overwrites."""

    def copy(self, target: Any, source: Any, after: Any) -> Any:
        return super().copy(target, source, None)


class NoFinish(CudaCopyStream):
    """A buffer is filled again without waiting for the copy from it."""

    def synchronize(self, event: Any) -> None:
        pass


LANES = {"as written": CudaCopyStream, "no wait": NoWait, "no after": NoAfter, "no finish": NoFinish}


def blocks() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleList([nn.Sequential(nn.Linear(WIDTH, WIDTH)) for _ in range(BLOCKS)]).eval().requires_grad_(False)


def races(copy_stream: CudaCopyStream, source: str, folder: Path) -> int:
    """Of three passes over the blocks."""
    module, files = blocks(), {}
    if source == "file":
        file, weights = folder / "weights.safetensors", module.state_dict()
        save_file(weights, file)
        with torch.device("meta"):
            module = nn.ModuleList([nn.Sequential(nn.Linear(WIDTH, WIDTH)) for _ in range(BLOCKS)])
        files = map_weights(module, {file: {name: name for name in weights}})
    size = sum(weight.nbytes for weight in module.parameters())
    # three blocks' room; nothing is held in RAM that a file holds as well
    memory = MemoryManager(
        "cuda", vram_limit=size // 2, preserve=0, ram_limit=1, copy_stream=copy_stream, high_vram=False
    )
    memory.reader.chunk = 1 << 20
    memory.add("blocks", module, blocks=list, files=files, pin=source == "locked")
    count = ctypes.CDLL(os.environ["FAKE_LIBRARY"]).fake_races
    before = count()
    with torch.inference_mode():
        x = torch.zeros(4, WIDTH, device="cuda")
        for _ in range(2):  # what stays is brought twice, into memory that others used
            with memory.lease("blocks", activations=1) as lent:
                assert "streamed" in memory.report().modules["blocks"].where
                for _ in range(3):
                    for block in lent:
                        x = block(x)
            memory.free()
            torch.zeros(size // 8, device="cuda").add_(1)
        torch.cuda.synchronize()
    memory.close()
    return count() - before


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found = {
            f"{source}, {label}": races(copy_stream("cuda"), source, Path(name))
            for source in ("locked", "ram", "file")
            for label, copy_stream in LANES.items()
        }
    print(json.dumps(found))
