"""The folder a job works in: finished sections' latents and settled frames, so that a crash loses nothing.

A section counts as finished once its latents are there; they are written last and atomically. One run at a time uses
a folder. Without one of the user's, a temporary one beside the output is used, on the disk that is looked at for room,
and removed; those of runs that were killed are removed by the next. safetensors only, never pickle.
"""

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from framepack.jobs.lock import take
from framepack.media.atomic import atomic_write, make_folder
from framepack.models.encoders import TextFeatures
from framepack.spec.request import GenerationRequest

REQUEST = "request.json"
NAME = "output.txt"
LOCK = "lock"
TEMPORARY = ".framepack-work-"
"""What the names of temporary folders begin with."""
CONTENTS = "contents"
"""Key in the request's file: the SHA-256 of each picture and LoRA by its path."""


class WorkFolder:
    """Paths and files of one job's work. `keeps` tells whether latents are worth writing down."""

    def __init__(self, path: Path, *, keeps: bool) -> None:
        self.path = path
        self.keeps = keeps

    @classmethod
    @contextmanager
    def open(cls, path: Path | None, request: GenerationRequest, outputs: Path) -> "Iterator[WorkFolder]":
        """Use `path` and check that it belongs to this request, or make a temporary folder for the while.

        outputs: where a request without a path puts its file. Raises ValueError where another run uses `path`, and
        where it is a folder of other things.
        """
        if path is None:
            beside = request.output.path.parent if request.output.path else outputs
            make_folder(beside)
            sweep(beside)
            with TemporaryDirectory(prefix=TEMPORARY, dir=beside) as temporary, held(Path(temporary)):
                yield cls(Path(temporary), keeps=False)
            return
        make_folder(path)
        require_ours(path)
        with held(path):
            folder = cls(path, keeps=True)
            folder.claim(request)
            yield folder

    def claim(self, request: GenerationRequest) -> None:
        """Write the request down, or raise ValueError where another one's work lies here.

        What decides neither latents nor frames (the output's name) may differ; the files it names may not.
        """
        asked = decisive(request)
        used = contents(request)
        file = self.path / REQUEST
        if file.exists():
            theirs: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            before: dict[str, str] = theirs.pop(CONTENTS, {})
            made = todays(theirs)
            differing = [key for key in asked if asked[key] != made.get(key)]
            differing += [f"{Path(name).name} itself" for name in used if used[name] != before.get(name, used[name])]
            if differing:
                raise ValueError(
                    f"{self.path} holds the work of another request (other: {', '.join(sorted(differing))}); "
                    "choose another folder or empty this one"
                )
        else:
            with atomic_write(file) as temporary:
                temporary.write_text(json.dumps({**asked, CONTENTS: used}, indent=1), encoding="utf-8")

    def output(self) -> Path | None:
        """The output's whole name when this work was last taken up; None for work that begins."""
        file = self.path / NAME
        return Path(os.fsdecode(file.read_bytes())) if file.exists() else None

    def remember_output(self, path: Path) -> None:
        """Write the output's name down: work that is taken up again keeps it, and may replace what it wrote there."""
        if self.keeps:
            with atomic_write(self.path / NAME) as temporary:
                temporary.write_bytes(os.fsencode(path.absolute()))

    def finished(self) -> int:
        """How many sections, from the first on, have their latents here."""
        return next(index for index in itertools.count() if not (self.keeps and self.section(index).exists()))

    def section(self, index: int) -> Path:
        """Where section `index`'s latents are."""
        return self.path / f"section-{index:04d}.safetensors"

    def load_section(self, index: int) -> Tensor:
        """Section `index`'s latents (1, C, T, h, w) float32 on the CPU."""
        file = self.section(index)
        try:
            return load_file(file)["latents"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(
                f"{file} is damaged ({error}); delete it and the job goes on from the section before"
            ) from error

    def save_section(self, index: int, latents: Tensor) -> None:
        """Mark section `index` as finished."""
        if self.keeps:
            self.save_tensors(self.section(index).name, {"latents": latents})

    def save_conditioning(self, start_latent: Tensor, features: TextFeatures, image: Tensor) -> None:
        """Write down what the first section was conditioned on, for whoever wants to inspect a run."""
        if self.keeps:
            tensors = {"start_latent": start_latent, "text": features.text, "pooled": features.pooled, "image": image}
            self.save_tensors("conditioning.safetensors", tensors)

    def save_tensors(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write a safetensors file, whole or not at all."""
        with atomic_write(self.path / name) as temporary:
            temporary.write_bytes(save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))


def decisive(request: GenerationRequest) -> dict[str, Any]:
    """What of a request decides latents or frames, as JSON."""
    return request.model_dump(mode="json", exclude={"output": {"path", "live", "overwrite", "mark"}})


def todays(written: dict[str, Any]) -> dict[str, Any]:
    """The request of a work folder; one from before a setting was there has that at its default."""
    try:
        return decisive(GenerationRequest.stored(written))
    except ValidationError:
        return written


def require_ours(folder: Path) -> None:
    """ValueError for a folder that has things in it and no request: dozens of files would come among the user's."""
    if not (folder / REQUEST).exists():
        others = sorted(file.name for file in folder.iterdir() if file.name != LOCK and not file.name.startswith("."))
        if others:
            raise ValueError(f"{folder} has other things in it ({others[0]}): name an empty folder, or a new one")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep `folder` to this run; the system frees it when the process ends. Raises ValueError where another has it."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            free = take(descriptor)
        except OSError:  # a disk without locks, as Lustre's by default: nothing tells of others
            free = True
        if not free:
            raise ValueError(f"another run is at work in {folder}: wait until it ends, or choose another folder")
        yield
    finally:
        os.close(descriptor)


def sweep(beside: Path) -> None:
    """Remove the temporary folders of runs that were killed."""
    for folder in beside.glob(f"{TEMPORARY}*"):
        if is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def is_left(folder: Path) -> bool:
    """Whether the run that made a temporary folder is gone; False where nothing tells."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # it is just being made or removed, or another user's
        return False
    try:
        return take(descriptor)
    except OSError:  # a disk without locks
        return False
    finally:
        os.close(descriptor)


def contents(request: GenerationRequest) -> dict[str, str]:
    """The SHA-256 of each file that has a say in the video, by its path."""
    files = [picture.file for picture in request.pictures.values()]
    files += [lora.file for lora in request.loras if lora.strength]
    return {str(path): digest(path) for path in files}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
