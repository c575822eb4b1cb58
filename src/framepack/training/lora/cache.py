"""Clips and captions, encoded once: a folder of safetensors files that a training reads instead of running encoders.

A file's name comes from everything that decides its content, so a changed caption, size or model is encoded anew.
Boundary: runs a model's encoders by lease, one after the other; trains nothing.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from framepack.files.atomic import atomic_write
from framepack.models.hunyuan.encoders import TextFeatures
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.seal import DamagedError, UnsealedError, read_json, sum_of, write_json
from framepack.pipeline.sealed_tensors import read_tensors, write_tensors
from framepack.training.lora.data import Item, clips_of
from framepack.training.lora.run import weights_mark
from framepack.training.tensors import save_tensors

SUFFIXES = (".safetensors", ".png")
"""Of a clip's two files."""
AT_ONCE = 32
"""Items whose captions are encoded before their frames are, so that the text encoders come and go once for them."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One cached clip; its tensors are read when they are needed."""

    file: Path
    caption: str
    source: str
    """`Item.source` of the file it was cut from."""

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
        with Image.open(self.start, formats=["PNG"]) as picture:
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
    on_notice: Callable[[str], None] = lambda notice: None,
) -> list[Clip]:
    """Encode what is not in `folder` yet; returns all clips of all items.

    `on_item` hears each item and its clips, `on_notice` of captions that are longer than the model reads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoders = weights_mark([framepack.loader.places[name] for name in ("base", "vision")])
    clips: list[Clip] = []
    for begin in range(0, len(items), AT_ONCE):
        some = {_key(encoders, item, base, window, sections): item for item in items[begin : begin + AT_ONCE]}
        counts = {key: _count(folder, key, on_notice) for key in some}
        texts = _read_captions(framepack, {key: item for key, item in some.items() if not counts[key]})
        for key, item in some.items():
            if key in texts:
                if texts[key].text_cut:
                    on_notice(f"{item.file.name}: {texts[key].notice()}")
                counts[key] = _encode(framepack, item, texts[key], folder / key, base, window, sections)
                files = (folder / f"{key}-{i}{suffix}" for i in range(counts[key]) for suffix in SUFFIXES)
                write_json(_done(folder, key), {"files": {file.name: sum_of(file) for file in files}})
            made = [
                Clip(file=folder / f"{key}-{i}.safetensors", caption=item.caption, source=item.source)
                for i in range(counts[key])
            ]
            clips += made
            on_item(item, len(made))
        if texts:
            framepack.memory.free()  # the training, too, needs the device
    return clips


@torch.no_grad()
def empty_caption(framepack: FramePack, folder: Path) -> dict[str, Tensor]:
    """text (1, L, D) and pooled (1, P) of no words at all, float32 on the CPU; kept in `folder`."""
    file = folder / f"empty-{weights_mark([framepack.loader.places['base']])[:24]}.safetensors"
    with suppress(DamagedError):  # or missing
        return read_tensors(file, older=True)[0]
    with framepack.memory.lease("text") as encoder:
        text = encoder.encode("")
    framepack.memory.free()
    write_tensors(file, tensors := {"text": text.text.float().cpu(), "pooled": text.pooled.float().cpu()})
    return tensors


def _done(folder: Path, key: str) -> Path:
    return folder / f"{key}.done"


def _count(folder: Path, key: str, on_notice: Callable[[str], None]) -> int:
    """How many clips an item was cut into; 0 where it is still to be encoded, or again as one is damaged."""
    done = _done(folder, key)
    if not done.exists():
        return 0
    try:
        files: dict[str, str] = read_json(done)["files"]
        for name, mark in files.items():
            if sum_of(folder / name) != mark:
                raise DamagedError(f"{name} is damaged (its checksum is another)")
        return len(files) // len(SUFFIXES)
    except UnsealedError as error:
        if (text := done.read_bytes().strip()).isdigit():  # an earlier version's
            return int(text)
        why = error
    except DamagedError as error:
        why = error
    on_notice(f"{why}: this clip is encoded again")
    return 0


@torch.no_grad()
def _read_captions(framepack: FramePack, items: dict[str, Item]) -> dict[str, TextFeatures]:
    """By key. The text encoders, by far the largest, leave the device afterwards."""
    if not items:
        return {}
    with framepack.memory.lease("text") as encoder:
        texts = {key: encoder.encode(item.caption) for key, item in items.items()}
    framepack.memory.free()
    return texts


@torch.no_grad()
def _encode(
    framepack: FramePack, item: Item, text: TextFeatures, stem: Path, base: int, window: int, sections: int
) -> int:
    """Encode one item's clips to `stem`-0, `stem`-1 ...; returns how many."""
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
            save_tensors({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        count += 1
    return count


def _key(encoders: str, item: Item, base: int, window: int, sections: int) -> str:
    """A name that changes with the file, its caption, the size, and the model's encoders."""
    stat = item.file.stat()
    parts = (
        item.file.resolve(),
        stat.st_size,
        stat.st_mtime_ns,
        item.caption,
        base,
        window,
        sections,
        encoders,
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]
