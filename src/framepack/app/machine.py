"""How a job may use the machine: what stands beside its request, as it changes nothing of the video. Loads no torch."""

import math
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST = 1000.0
"""GB one may ask to leave free; no card has more."""


def has_gpu(devices: Sequence[str]) -> bool:
    """Whether workers on these devices may use a GPU. What `auto` will find is told by the driver's traces."""
    return any(name not in ("auto", "cpu") or (name == "auto" and gpu_here()) for name in devices)


def gpu_here() -> bool:
    """Whether this machine has NVIDIA's driver, or is one of Apple's that have a GPU."""
    driver = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
    return driver or (platform.system() == "Darwin" and platform.machine() == "arm64")


def gigabytes_of(text: str) -> float | None:
    """What someone typed, None for nothing; ValueError for what is no number."""
    try:
        return float(text.replace(",", ".")) if text.strip() else None
    except ValueError:
        raise ValueError(f"the GPU memory to leave free is a number of GB, such as 6, got {text[:20]!r}") from None


def preserving(gigabytes: float | None, *, gpu: bool) -> dict[str, Any]:
    """What a job's maker is told of the GPU memory to leave free; ValueError where that cannot be."""
    if gigabytes is None:
        return {}
    if not math.isfinite(gigabytes) or not 0 <= gigabytes <= MOST:
        raise ValueError(f"the GPU memory to leave free must be 0..{MOST:g} GB, got {gigabytes:g}")
    if not gpu:
        raise ValueError("no worker of this service has a GPU, so there is no GPU memory to leave free: leave it out")
    return {"preserve": f"{gigabytes:g}GB"}


def preserved(machine: Mapping[str, Any]) -> str:
    """The gigabytes `preserving` was told, as someone would type them; empty for none."""
    return str(machine.get("preserve") or "").removesuffix("GB")
