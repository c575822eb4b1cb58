"""Where weights are. Knows `nn.Module` and bytes; names no model."""

from framepack.memory.budget import Budget
from framepack.memory.dynamic_swap import DynamicSwapInstaller
from framepack.memory.fallbacks import FallbackLevel, MemoryExhaustedError
from framepack.memory.manager import MemoryManager
from framepack.memory.mapped import FileSlice, map_weights
from framepack.memory.probe import Machine, probe
from framepack.memory.report import MemoryReport

__all__ = [
    "Budget",
    "DynamicSwapInstaller",
    "FallbackLevel",
    "FileSlice",
    "Machine",
    "MemoryExhaustedError",
    "MemoryManager",
    "MemoryReport",
    "map_weights",
    "probe",
]
