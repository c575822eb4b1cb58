"""What the machine has: devices, memory, disk, and whether its CPU computes in bf16.

Boundary: asks, changes nothing; `framepack doctor` and the planner read it.
"""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from framepack.files.child import answer_of

CGROUP = Path("/sys/fs/cgroup")
CPU_INFO = Path("/proc/cpuinfo")
LITTLE = 1_000_000_000
"""Bytes of a GPU in which kernels' libraries may not find the room they need."""


@dataclass(frozen=True, kw_only=True)
class DeviceMemory:
    """Bytes of one device."""

    total: int
    free: int
    """Free for any process."""
    allocated: int
    """Held by this process's tensors."""
    reserved: int
    """Held by this process, tensors or not."""

    @property
    def usable(self) -> int:
        """What this process could hold in all."""
        return self.free + self.reserved


@dataclass(frozen=True, kw_only=True)
class Device:
    """One thing to compute on."""

    name: str
    """As torch calls it: `cpu`, `cuda:0`, `mps`."""
    model: str
    memory: DeviceMemory
    bf16: bool
    """Computes in bf16 in hardware."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a job can count on."""

    devices: tuple[Device, ...]
    """The best one first; the CPU is the last."""
    cores: int
    ram_total: int
    ram_available: int
    disk_free: int
    """On the disk that was asked about."""
    torch: str

    @property
    def best(self) -> Device:
        return self.devices[0]


def probe(folder: Path | None = None) -> Machine:
    """Look at this machine; `folder` is where weights or videos go, and need not exist."""
    accelerators: list[Device] = []
    if torch.cuda.is_available():
        accelerators = [_cuda(index) for index in range(torch.cuda.device_count())]
        accelerators.sort(key=lambda device: -device.memory.free)
    elif torch.backends.mps.is_available():
        accelerators = [_mps()]
    return Machine(
        devices=(*accelerators, _cpu()),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ram_total=_ram()[0],
        ram_available=available_ram(),
        disk_free=disk_free(folder or Path.cwd()),
        torch=torch.__version__,
    )


def device_memory(device: torch.device) -> DeviceMemory:
    """Bytes of a device, now."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
        return DeviceMemory(total=total, free=free, allocated=allocated, reserved=reserved)
    if device.type == "mps":
        total, held = torch.mps.recommended_max_memory(), torch.mps.driver_allocated_memory()
        return DeviceMemory(
            total=total, free=max(0, total - held), allocated=torch.mps.current_allocated_memory(), reserved=held
        )
    held = resident_ram()
    return DeviceMemory(total=_ram()[0], free=available_ram(), allocated=held, reserved=held)


def cuda_is_short() -> bool:
    """Whether, on a GPU that this process works on, less than it holds there, or than LITTLE, is left to it."""
    if not torch.cuda.is_initialized():
        return False
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        if not torch.cuda.memory_reserved(device):
            continue  # to ask for more would begin to work there
        memory = device_memory(device)
        most = min(memory.usable, int(memory.total * torch.cuda.get_per_process_memory_fraction(device)))
        if most - memory.allocated < max(memory.allocated, LITTLE):
            return True
    return False


def available_ram() -> int:
    """Bytes this process could still take without swapping, its container's limit included."""
    return _ram()[1]


def total_ram() -> int:
    """Bytes of RAM, or of its container's limit."""
    return _ram()[0]


def spare_ram() -> int:
    """What of that large weights may take: a tenth, and a sixteenth of all RAM, is left to other programs."""
    total, available = _ram()
    return max(0, available - max(available // 10, total // 16))


def resident_ram() -> int:
    """Bytes of RAM this process holds."""
    return psutil.Process().memory_info().rss


def disk_free(folder: Path) -> int:
    """Free bytes on the disk that holds `folder`, or will."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware (AVX-512 BF16, AMX, Arm BF16)."""
    if CPU_INFO.is_file():
        words = set(CPU_INFO.read_text(encoding="utf-8", errors="replace").split())
        return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
    return platform.system() == "Darwin" and answer_of(["sysctl", "-n", "hw.optional.arm.FEAT_BF16"]) == "1"


def _ram() -> tuple[int, int]:
    """Total and available bytes, the smaller of the machine's and the container's."""
    memory = psutil.virtual_memory()
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is None or used is None or limit >= memory.total:
        return memory.total, memory.available
    reclaimable = _statistic(CGROUP / "memory.stat", "inactive_file")
    return limit, max(0, min(memory.available, limit - used + reclaimable))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _statistic(path: Path, key: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(value) for name, value in (line.split() for line in lines) if name == key), 0)


def _cuda(index: int) -> Device:
    properties = torch.cuda.get_device_properties(index)
    return Device(
        name=f"cuda:{index}",
        model=properties.name,
        memory=device_memory(torch.device("cuda", index)),
        bf16=properties.major >= 8 or torch.version.hip is not None,
    )


def _mps() -> Device:
    return Device(name="mps", model=_cpu_model(), memory=device_memory(torch.device("mps")), bf16=True)


def _cpu() -> Device:
    return Device(name="cpu", model=_cpu_model(), memory=device_memory(torch.device("cpu")), bf16=cpu_has_bf16())


def _cpu_model() -> str:
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    of_macos, of_windows = answer_of(["sysctl", "-n", "machdep.cpu.brand_string"]), "PROCESSOR_IDENTIFIER"
    return of_macos or os.environ.get(of_windows) or platform.machine()
