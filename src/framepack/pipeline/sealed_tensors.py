"""Files of tensors that vouch for themselves, see `seal`: safetensors, whose metadata comes first in the file."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from framepack.files.atomic import atomic_write
from framepack.models.transfer import to_host
from framepack.pipeline.seal import BLANK, KEY, DamagedError, UnsealedError, read_bytes, require_sealed, sealed


def write_tensors(file: Path, tensors: dict[str, Tensor], notes: dict[str, str] | None = None) -> None:
    """Write a safetensors file with `notes` as its metadata, and its sum, whole or not at all."""
    with atomic_write(file) as temporary:
        plain = {key: to_host(value.detach()).contiguous() for key, value in tensors.items()}
        temporary.write_bytes(sealed(save(plain, {**(notes or {}), KEY: BLANK})))


def read_tensors(file: Path, *, older: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and notes. Raises DamagedError; `older`: a file without a sum will do."""
    data = read_bytes(file)
    try:
        require_sealed(file, data)
    except UnsealedError:
        if not older:
            raise
    try:
        return load(data), json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"{file.name} is damaged ({error})") from None
