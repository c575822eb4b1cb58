"""The resume checkpoint: an optimizer's tensors in safetensors files of at most 15 MB, and the step in `state.json`.

Written beside the old one, which goes only when the new one is in its place: an interrupted save loses neither.
"""

import json
import os
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from framepack.training.optimizer import Optimizer

PART_BYTES = 15_000_000


def save_state(folder: Path, optimizer: Optimizer, step: int, samples: int) -> None:
    """Write everything a later run needs."""
    fresh, old = _beside(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for number, part in enumerate(_parts(optimizer.state())):
        save_file(
            {name: tensor.contiguous().cpu() for name, tensor in part.items()}, fresh / f"part-{number:02}.safetensors"
        )
    (fresh / "state.json").write_text(
        json.dumps({"step": step, "samples": samples, "stepped": optimizer.step_count}), encoding="utf-8"
    )
    for file in fresh.iterdir():  # a power cut must not leave empty files where the old ones were
        with file.open("rb+") as written:
            os.fsync(written.fileno())
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def has_state(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from; one that an interrupted save left beside its place is put there."""
    found = next((place for place in (folder, *_beside(folder)) if (place / "state.json").is_file()), None)
    if found is not None and found != folder:
        shutil.rmtree(folder, ignore_errors=True)
        found.rename(folder)
    return found is not None


def load_state(folder: Path, optimizer: Optimizer) -> tuple[int, int]:
    """Put the saved tensors back; returns (steps done, samples seen). ValueError for a damaged file."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("part-*.safetensors")):
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}); delete {folder} to begin anew") from None
    counts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    optimizer.load(tensors, counts.get("stepped", counts["step"]))
    return counts["step"], counts["samples"]


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where the next checkpoint is written, and where the last one waits until that is in its place."""
    return folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")


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
