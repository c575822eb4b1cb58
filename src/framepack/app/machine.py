"""How a job may use the machine: what stands beside its request, as it changes nothing of the video. Loads no torch."""

import math
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST = 1000.0
"""GB one may ask to leave free; no card has more."""


KINDS = ("auto", "cpu", "cuda", "mps")
TRACES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA's driver, AMD's, and either's inside Windows: torch calls them all cuda."""


def has_gpu(devices: Sequence[str]) -> bool:
    """Whether workers on these devices may use a GPU. The driver's files show what `auto` will find."""
    return any(name not in ("auto", "cpu") or (name == "auto" and gpu_here()) for name in devices)


def gpu_here() -> bool:
    """Whether this machine has NVIDIA's driver, or is one of Apple's that have a GPU."""
    driver = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
    return driver or (platform.system() == "Darwin" and platform.machine() == "arm64")


def check_devices(names: Sequence[str]) -> None:
    """ValueError for a device that there cannot be here. Loads no torch: what a driver hides, the worker finds out."""
    for name in names:
        kind, _, number = name.partition(":")
        if kind not in KINDS or (number and (kind != "cuda" or not number.isdecimal())) or name.endswith(":"):
            raise ValueError(f"device must be {', '.join(devices_here())} here, got {name[:40]!r}")
        if kind not in devices_here() or int(number or 0) >= cards_here():
            raise ValueError(f"there is no {name[:40]} here: device must be {', '.join(devices_here())}")


def devices_here() -> list[str]:
    """What `--device` may be on this machine; `cuda` stands for its numbers too."""
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    cuda = any(Path(trace).exists() for trace in TRACES) or shutil.which("nvidia-smi") is not None
    return ["auto", "cpu", *(["cuda"] if cuda else []), *(["mps"] if apple else [])]


def cards_here() -> float:
    """How many cards NVIDIA's driver reports; no bound where it reports none."""
    known = Path("/proc/driver/nvidia/gpus")
    return len(list(known.iterdir())) or math.inf if known.is_dir() else math.inf


def gigabytes_of(text: str) -> float | None:
    """What someone typed, None for nothing; ValueError for what is no number."""
    try:
        return float(text.replace(",", ".")) if text.strip() else None
    except ValueError:
        raise ValueError(f"the GPU memory to leave free is a number of GB, such as 6, got {text[:20]!r}") from None


def preserving(gigabytes: float | None, *, gpu: bool) -> dict[str, Any]:
    """The machine settings of a job for GPU memory to leave free; ValueError where they are not possible."""
    if gigabytes is None:
        return {}
    if not math.isfinite(gigabytes) or not 0 <= gigabytes <= MOST:
        raise ValueError(f"the GPU memory to leave free must be 0..{MOST:g} GB, got {gigabytes:g}")
    if not gpu:
        raise ValueError("no worker of this service has a GPU, so there is no GPU memory to leave free: leave it out")
    return {"preserve": f"{gigabytes:g}GB"}


def preserved(machine: Mapping[str, Any]) -> str:
    """The gigabytes in settings made by `preserving`, as a user would type them; empty for none."""
    return str(machine.get("preserve") or "").removesuffix("GB")
