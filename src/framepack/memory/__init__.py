"""Where weights are. Knows `nn.Module` and bytes; names no model."""

from framepack.memory.manager import MemoryManager

__all__ = ["MemoryManager"]
