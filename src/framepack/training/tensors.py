"""Tensors -> a safetensors file that has the permissions of any other new file.

Boundary: one function. safetensors writes beside the file and moves it there, readable for its owner alone, so that a
service under another name could not read a LoRA that was just trained.
"""

from collections.abc import Mapping
from pathlib import Path
from stat import S_IMODE

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write `file`. Its permissions are those it had, or those of the process's umask."""
    file.touch()
    mode = S_IMODE(file.stat().st_mode)
    save_file(dict(tensors), file, metadata=dict(metadata) if metadata else None)
    file.chmod(mode)
