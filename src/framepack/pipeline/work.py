"""The folder a job works in: finished sections' latents and encoded segments, so that a crash loses nothing.

A section counts as finished once its latents are there; they are written last and atomically. Without a folder of
the user's, a temporary one is used and removed. safetensors only, never pickle.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from framepack.media.atomic import atomic_write
from framepack.models.encoders import TextFeatures
from framepack.spec.request import GenerationRequest

REQUEST = "request.json"


class WorkFolder:
    """Paths and files of one job's work. `keeps` tells whether latents are worth writing down."""

    def __init__(self, path: Path, *, keeps: bool) -> None:
        self.path = path
        self.keeps = keeps

    @classmethod
    @contextmanager
    def open(cls, path: Path | None, request: GenerationRequest) -> "Iterator[WorkFolder]":
        """Use `path` and check that it belongs to this request, or make a temporary folder for the while."""
        if path is None:
            with tempfile.TemporaryDirectory(prefix="framepack-") as temporary:
                yield cls(Path(temporary), keeps=False)
            return
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, keeps=True)
        folder.claim(request)
        yield folder

    def claim(self, request: GenerationRequest) -> None:
        """Write the request down, or raise ValueError where another one's work lies here.

        What decides neither latents nor frames (the output's name) may differ.
        """
        mine = json.loads(request.model_dump_json(exclude={"output": {"path", "live"}}))
        file = self.path / REQUEST
        if file.exists():
            theirs = json.loads(file.read_text(encoding="utf-8"))
            differing = sorted(key for key in mine if mine[key] != theirs.get(key))
            if differing:
                raise ValueError(
                    f"{self.path} holds the work of another request (its {', '.join(differing)} differ); "
                    "choose another folder or empty this one"
                )
        else:
            with atomic_write(file) as temporary:
                temporary.write_text(json.dumps(mine, indent=1), encoding="utf-8")

    def section(self, index: int) -> Path:
        """Where section `index`'s latents are."""
        return self.path / f"section-{index:04d}.safetensors"

    def load_section(self, index: int) -> Tensor | None:
        """Section `index`'s latents (1, C, T, h, w) float32 on the CPU, or None where it was not finished."""
        file = self.section(index)
        if not self.keeps or not file.exists():
            return None
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
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary)
