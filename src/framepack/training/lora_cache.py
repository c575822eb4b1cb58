"""Clips and captions, encoded once: a folder of safetensors files that a training reads instead of running encoders.

A file's name comes from everything that decides its content, so a changed caption, size or model is encoded anew.
Boundary: runs a model's encoders by lease, one after the other; trains nothing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from framepack.media.atomic import atomic_write
from framepack.pipeline.framepack import FramePack
from framepack.training.lora_data import Item, clips_of


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One cached clip; its tensors are read when they are needed."""

    file: Path
    caption: str

    def load(self) -> dict[str, Tensor]:
        """latents (1, C, 1 + k, h, w), text (1, L, D), pooled (1, P), image (1, N, I); float32 on the CPU."""
        return load_file(self.file)

    @property
    def start(self) -> Path:
        """The first frame, as a picture."""
        return self.file.with_suffix(".png")

    @property
    def latents(self) -> int:
        """Latents of the clip, the first frame's included, from the file's header."""
        with safe_open(self.file, framework="pt") as file:
            return int(file.get_slice("latents").get_shape()[2])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        with Image.open(self.start) as picture:
            return picture.size

    @property
    def is_picture(self) -> bool:
        """Whether it has one frame only."""
        return self.latents == 1


def cache_clips(
    framepack: FramePack,
    items: list[Item],
    folder: Path,
    *,
    base: int,
    window: int,
    sections: int,
    on_item: Callable[[Item, int], None] = lambda item, clips: None,
) -> list[Clip]:
    """Encode what is not in `folder` yet; returns all clips of all items. `on_item` hears each item and its clips."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for item in items:
        key = _key(framepack, item, base, window, sections)
        done = folder / f"{key}.done"
        if not done.is_file() or not done.stat().st_size:
            count = _encode(framepack, item, folder / key, base=base, window=window, sections=sections)
            with atomic_write(done) as temporary:
                temporary.write_text(str(count), encoding="utf-8")
        made = [
            Clip(file=folder / f"{key}-{i}.safetensors", caption=item.caption) for i in range(int(done.read_text()))
        ]
        clips += made
        on_item(item, len(made))
    return clips


@torch.no_grad()
def empty_caption(framepack: FramePack, folder: Path) -> dict[str, Tensor]:
    """text (1, L, D) and pooled (1, P) of no words at all, float32 on the CPU; kept in `folder`."""
    name = hashlib.sha256(str(framepack.loader.folders.base.resolve()).encode()).hexdigest()[:24]
    file = folder / f"empty-{name}.safetensors"
    if not file.is_file():
        with framepack.memory.lease("text") as encoder:
            text = encoder.encode("")
        tensors = {"text": text.text.float().cpu().contiguous(), "pooled": text.pooled.float().cpu().contiguous()}
        with atomic_write(file) as temporary:
            save_file(tensors, temporary)
    return load_file(file)


@torch.no_grad()
def _encode(framepack: FramePack, item: Item, stem: Path, *, base: int, window: int, sections: int) -> int:
    """Encode one item's clips to `stem`-0, `stem`-1 ...; returns how many."""
    with framepack.memory.lease("text") as encoder:
        text = encoder.encode(item.caption)
    count = 0
    for frames in clips_of(item, base, window, sections):
        with framepack.memory.lease("image") as encoder:
            image = encoder.encode(frames[0])
        with framepack.memory.lease("vae") as vae:
            latents = vae.encode(frames)
        tensors = {"latents": latents, "text": text.text, "pooled": text.pooled, "image": image}
        file = stem.with_name(f"{stem.name}-{count}.safetensors")
        Image.fromarray(frames[0]).save(file.with_suffix(".png"))
        with atomic_write(file) as temporary:
            save_file({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        count += 1
    return count


def _key(framepack: FramePack, item: Item, base: int, window: int, sections: int) -> str:
    """A name that changes with the file, its caption, the size, and the model's encoders."""
    stat = item.file.stat()
    folders = framepack.loader.folders
    parts = (
        item.file.resolve(),
        stat.st_size,
        stat.st_mtime_ns,
        item.caption,
        base,
        window,
        sections,
        folders.base.resolve(),
        folders.vision.resolve(),
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]
