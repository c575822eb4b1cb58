"""The resume checkpoint: an optimizer's tensors in safetensors files of at most 15 MB, and the step in `state.json`.

Written beside the old one and renamed, so an interrupted save leaves the old one whole.
"""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from framepack.training.optimizer import Optimizer

PART_BYTES = 15_000_000


def save_state(folder: Path, optimizer: Optimizer, step: int, samples: int) -> None:
    """Write everything a later run needs."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for number, part in enumerate(_parts(optimizer.state())):
        save_file(
            {name: tensor.contiguous().cpu() for name, tensor in part.items()}, fresh / f"part-{number:02}.safetensors"
        )
    (fresh / "state.json").write_text(json.dumps({"step": step, "samples": samples}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def load_state(folder: Path, optimizer: Optimizer) -> tuple[int, int]:
    """Put the saved tensors back; returns (steps done, samples seen)."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("part-*.safetensors")):
        tensors |= load_file(path)
    counts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    optimizer.load(tensors, counts["step"])
    return counts["step"], counts["samples"]


def _parts(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts
