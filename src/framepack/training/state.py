"""The resume checkpoint: an optimizer's tensors in safetensors files of at most 15 MB, and `state.json`.

That holds the step, and the files' checksums.
Written beside the old one, which goes only when the new one is in its place: an interrupted save loses neither.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from framepack.files.durable import move_folder
from framepack.pipeline.seal import DamagedError, UnsealedError, read_json, sum_of, write_json
from framepack.training.optimizer import Optimizer
from framepack.training.tensors import save_tensors

PART_BYTES = 15_000_000


def save_state(folder: Path, optimizer: Optimizer, step: int, samples: int) -> None:
    """Write everything a later run needs."""
    fresh, old = _beside(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for number, part in enumerate(_parts(optimizer.state())):
        save_tensors(
            {name: tensor.contiguous().cpu() for name, tensor in part.items()}, fresh / f"part-{number:02}.safetensors"
        )
    sums = {file.name: sum_of(file) for file in sorted(fresh.iterdir())}
    counts = {"step": step, "samples": samples, "stepped": optimizer.step_count}
    write_json(fresh / "state.json", {**counts, "parts": sums})
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    move_folder(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def has_state(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from; one that an interrupted save left beside its place is put there."""
    found = next((place for place in (folder, *_beside(folder)) if (place / "state.json").is_file()), None)
    if found is not None and found != folder:
        shutil.rmtree(folder, ignore_errors=True)
        found.rename(folder)
    return found is not None


def load_state(folder: Path, optimizer: Optimizer) -> tuple[int, int]:
    """Put the saved tensors back; returns (steps done, samples seen). ValueError for a damaged or missing file."""
    tensors: dict[str, Tensor] = {}
    try:
        counts = _counts(folder / "state.json")
        parts = counts.get("parts") or dict.fromkeys(sorted(path.name for path in folder.glob("part-*.safetensors")))
        for name, mark in parts.items():
            if mark and sum_of(folder / name) != mark:
                raise DamagedError(f"{name} is damaged (its checksum is another)")
            tensors |= load_file(folder / name)
        step, samples, stepped = counts["step"], counts["samples"], counts.get("stepped", counts["step"])
    except (DamagedError, SafetensorError, KeyError) as error:
        raise ValueError(f"the checkpoint in {folder} is damaged ({error}); delete that folder to begin anew") from None
    optimizer.load(tensors, stepped)
    return step, samples


def _counts(file: Path) -> dict[str, Any]:
    """What `state.json` says; one of an earlier version has no checksum. Raises DamagedError."""
    try:
        return read_json(file)
    except UnsealedError as error:
        with suppress(ValueError):
            if isinstance(counts := json.loads(file.read_bytes()), dict):
                return counts
        raise error


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
