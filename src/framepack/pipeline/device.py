"""Which device computes: what a name means on this machine."""

import torch


def choose_device(name: str | torch.device | None) -> torch.device:
    """`auto` or None is the first CUDA device, else Apple's GPU, else the CPU. ValueError for one that is not here."""
    if name in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device must be auto, cpu, cuda, cuda:1 or mps, got {name!r}") from None
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(device.type, False):
        raise ValueError(f"this machine has no {device.type} device: leave the device out, or use cpu")
    if device.type == "cuda" and (device.index or 0) >= (cards := torch.cuda.device_count()):
        raise ValueError(
            f"this machine has {cards} cuda device{'s' * (cards > 1)}, counted from cuda:0, got {str(name)!r}"
        )
    return device
