"""What makes a LoRA's training this one and no other: its recipe, its clips, and the weights underneath.

A folder goes on only with the training it began with. Clips are known by name, size and caption and weights by samples
of their bytes, so that a run may move to another machine. Boundary: of all weights it reads spots only.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from framepack.pipeline.seal import DamagedError
from framepack.pipeline.sealed_tensors import read_tensors

STATE = "state.safetensors"
FREE = ("steps", "save_every", "rate", "warm_up")
"""What a training may go on with another value of."""
SPOTS, SPOT = 16, 4096
"""How many places of a file are looked at, and the bytes at each."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What must be the same for a folder's training to go on."""

    recipe: dict[str, Any]
    model: str
    clips: str
    weights: str

    @classmethod
    def of(cls, recipe: Any, model: str, clips: Iterable[tuple[str, str]], folders: Iterable[Path]) -> "Identity":
        """recipe: a dataclass. clips: (source, caption) of each. folders: of all weights a clip goes through."""
        said = json.dumps(sorted(set(clips))).encode()
        return cls(recipe=asdict(recipe), model=model, clips=sha256(said).hexdigest(), weights=weights_mark(folders))

    def notes(self) -> dict[str, str]:
        """As the metadata of a safetensors file has it."""
        return {"framepack": json.dumps(self.recipe), "model": self.model, "clips": self.clips, "weights": self.weights}

    def check(self, folder: Path) -> int:
        """The steps done in `folder`, 0 where there are none; ValueError where they are another training's."""
        notes = _notes(folder / STATE)
        if notes is None:
            return 0
        theirs = json.loads(notes["framepack"])
        differing = [name for name, mine in self.recipe.items() if name not in FREE and theirs.get(name, mine) != mine]
        differing += [
            name
            for name in ("model", "clips", "weights")
            if notes.get(name, getattr(self, name)) != getattr(self, name)
        ]
        if differing:
            raise ValueError(
                f"{folder} holds another training (other: {', '.join(differing)}): choose another --output; "
                f"copied there, the folder {folder / 'cache'} saves encoding the same clips again"
            )
        return int(notes["step"])


def weights_mark(folders: Iterable[Path]) -> str:
    """A name for the weights in these folders: it changes with their files' names, sizes and sampled bytes."""
    mark = sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.safetensors")):
            size = file.stat().st_size
            mark.update(f"{file.relative_to(folder).as_posix()} {size}\n".encode())
            with file.open("rb") as opened:
                for spot in range(SPOTS):
                    opened.seek(max(0, size - SPOT) * spot // (SPOTS - 1))
                    mark.update(opened.read(SPOT))
    return mark.hexdigest()


def _notes(file: Path) -> dict[str, str] | None:
    if not file.is_file():
        return None
    try:
        return read_tensors(file, older=True)[1]
    except DamagedError as error:
        raise ValueError(f"in {file.parent} {error}; delete that file to begin anew") from None
