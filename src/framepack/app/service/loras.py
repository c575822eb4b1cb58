"""LoRA files from a browser: only safetensors, checked by their header and never loaded here.

A header is JSON with each tensor's type, shape and place; it has to describe the whole file, and a LoRA's halves have
to be among its names. Whether it fits a model is found by the worker. Source: the safetensors format.
"""

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import file_digest
from math import prod
from pathlib import Path
from typing import Any

from framepack.app.service.paths import can_be_named, find_file, lora_folder, may_be_named
from framepack.app.service.uploads import Incoming
from framepack.files.durable import move
from framepack.jobs.folders import Folders
from framepack.jobs.job import Job, WrongState
from framepack.jobs.paths import paths_in
from framepack.models.lora_names import elsewhere

LORA_LIMIT = 4 * 2**30
HEADER_LIMIT = 16 * 2**20
"""Bytes of JSON a file may begin with; those of real ones have some 100 kB."""
SUFFIX = ".safetensors"
STEM_MOST = 200
"""Bytes of a name without its ending."""
SIZES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 1),
}
"""Bytes of a number of each type."""
HALF = re.compile(r"\.lora(_A|_down|\.down)\b")
"""In the name of the first half of each pair, in the three namings there are."""


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A file of the LoRA folder; `name` is what requests call it."""

    name: str
    bytes: int


class IncomingLora(Incoming):
    """A LoRA on its way, see `Incoming`; `accept` gives it a name like the one it came with."""

    def bounds(self, head: bytes) -> tuple[int, str]:
        """See Incoming; a header's length stands in the first eight bytes."""
        if len(head) >= 9 and head[8:9] != b"{":
            raise ValueError("this is no .safetensors file: choose the LoRA's .safetensors")
        return LORA_LIMIT, "a LoRA"

    def accept(self) -> LoraFile:  # type: ignore[override]
        """Check the header and keep the file; ValueError for what is no LoRA."""
        self._out.close()
        check_header(self.file)
        with self.file.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        kept = place(self.file, lora_folder(self._folders), self.name, digest)
        return LoraFile(name=kept.name, bytes=kept.stat().st_size)


def check_header(file: Path) -> None:
    """ValueError, in a sentence, unless the file is a safetensors file with the halves of LoRAs in it."""
    size = file.stat().st_size
    with file.open("rb") as data:
        length = int.from_bytes(data.read(8), "little")
        if not 2 <= length <= min(HEADER_LIMIT, size - 8):
            raise ValueError("this is no .safetensors file, or it is cut short: choose the LoRA's .safetensors")
        text = data.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("this is no .safetensors file: its header is not JSON") from error
    if not isinstance(header, dict):
        raise ValueError("this is no .safetensors file: its header is no JSON object")
    header.pop("__metadata__", None)
    end = 0
    for start, stop in sorted(span_of(entry) for entry in header.values()):
        if start != end:
            raise ValueError("this .safetensors file is damaged: its tensors have gaps or overlap")
        end = stop
    if end != size - 8 - length:
        raise ValueError("this .safetensors file is damaged or cut short: its tensors do not fill it")
    halves = [name for name in header if HALF.search(name)]
    if not halves:
        raise ValueError("this .safetensors file is no LoRA: none of its tensors is called lora_A or lora_down")
    if all(elsewhere(name) for name in halves):
        raise ValueError(
            f"this LoRA is for {elsewhere(halves[0])} alone, and only the transformer takes one: choose another LoRA"
        )


def span_of(entry: Any) -> tuple[int, int]:
    """Where a tensor's bytes are; ValueError where its entry does not hold together."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if dtype in SIZES:
            whole = all(type(length) is int and 0 <= length < 2**40 for length in shape) and len(shape) <= 8
            if whole and 0 <= start <= stop and stop - start == prod(shape) * SIZES[dtype]:
                return start, stop
    raise ValueError("this .safetensors file is damaged: a tensor's type, shape and size do not agree")


def place(file: Path, folder: Path, wanted: str, digest: str) -> Path:
    """Move `file` into the folder under a name like `wanted` that is free; the same content keeps the name it has."""
    called = Path(wanted.replace("\\", "/")).name.removesuffix(SUFFIX)
    stem = "".join(character if can_be_named(character) else "_" for character in called).strip(" ._")
    while len(stem.encode(errors="replace")) > STEM_MOST:
        stem = stem[:-1]
    stem = stem or f"lora-{secrets.token_hex(3)}"
    for count in range(1, 1000):
        target = folder / f"{stem}{f' ({count})' if count > 1 else ''}{SUFFIX}"
        if not target.exists():
            return move(file, target)
        with target.open("rb") as other:
            if file_digest(other, "sha256").hexdigest() == digest:
                return target
    raise ValueError(f"there are a thousand LoRAs called {stem}: give this one another name")


def loras_in(folders: Folders) -> list[LoraFile]:
    """The LoRA folder's files that a request may name, by name."""
    files = (file for file in lora_folder(folders).glob(f"*{SUFFIX}") if may_be_named(file))
    found = sorted(files, key=lambda file: file.name.casefold())
    return [LoraFile(name=file.name, bytes=file.stat().st_size) for file in found]


def delete_lora(name: str, folders: Folders, unfinished: Iterable[Job]) -> None:
    """Delete a file of the LoRA folder; WrongState where an unfinished job still needs it."""
    file = find_file(name, (lora_folder(folders),))
    for job in unfinished:
        if file in paths_in(json.loads(job.request_json)):
            raise WrongState(f"job {job.id} still needs {name}: wait for it, or cancel it first")
    file.unlink()
