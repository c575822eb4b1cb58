"""Random checkpoints in the public layout at the full 13 B shapes, and how fast the disk below them reads.

Shared by the benchmarks of a small machine. Only bytes that a module needs are written: Llama's last two layers, which
nobody reads, are left out.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copy, copytree

import torch
from shapes_13b import CONFIGS, Pool, config_json
from torch import Tensor

from framepack.files.assets import BUNDLED
from framepack.models.hunyuan.encoders import empty_clip, empty_llama, empty_siglip
from framepack.models.hunyuan.family import HUNYUAN_VIDEO, empty_transformer
from framepack.models.hunyuan.vae import empty_vae
from framepack.spec.variants import HUNYUAN_REPO, VARIANTS, VISION_REPO

SHARD = {"full": 5_000_000_000, "small": 20_000_000}
GB = 1_000_000_000
CHUNK = 8 << 20
TRANSFORMER = VARIANTS["framepack"].main
assert HUNYUAN_VIDEO.shapes is not None
SHAPES = HUNYUAN_VIDEO.shapes
"""The published configs."""


def write_transformer(folder: Path, scale: str) -> None:
    """A sharded transformer, one tensor in memory at a time."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_json(CONFIGS[scale])))
    write_weights(folder, empty_transformer(folder).state_dict(), "diffusion_pytorch_model", SHARD[scale])


def write_models(root: Path) -> None:
    """A models folder with every part of the full 13 B."""
    write_transformer(root / TRANSFORMER, "full")
    base, vision, bundled = root / HUNYUAN_REPO, root / VISION_REPO, BUNDLED / "mini"
    for shapes, target in ((SHAPES / "base", base), (SHAPES / "vision", vision)):
        for config in shapes.rglob("config.json"):
            folder = target / config.parent.relative_to(shapes)
            folder.mkdir(parents=True)
            copy(config, folder)
    for folder in ("tokenizer", "tokenizer_2"):
        copytree(bundled / HUNYUAN_REPO / folder, base / folder)
    features = "feature_extractor/preprocessor_config.json"
    wanted = json.loads((bundled / VISION_REPO / features).read_text())
    side = json.loads((vision / "image_encoder" / "config.json").read_text())["image_size"]
    (vision / "feature_extractor").mkdir()
    (vision / features).write_text(json.dumps({**wanted, "size": {"height": side, "width": side}}))
    copy(bundled / HUNYUAN_REPO / "vae" / "preview.json", base / "vae")
    write_weights(base / "text_encoder", empty_llama(base / "text_encoder")[0].state_dict(), "model", SHARD["full"])
    write_weights(base / "text_encoder_2", empty_clip(base / "text_encoder_2")[0].state_dict(), "model", SHARD["full"])
    write_weights(base / "vae", empty_vae(base / "vae").state_dict(), "diffusion_pytorch_model", SHARD["full"])
    siglip = empty_siglip(vision / "image_encoder")[0].state_dict()
    write_weights(vision / "image_encoder", siglip, "model", SHARD["full"])


def write_weights(folder: Path, weights: Mapping[str, Tensor], stem: str, most: int) -> None:
    """Random bf16 numbers of the shapes of `weights`, in shards of about `most` bytes."""
    weights = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
    shards: list[list[tuple[str, Tensor]]] = [[]]
    for name, tensor in weights.items():
        if shards[-1] and sum(2 * t.numel() for _, t in shards[-1]) > most:
            shards.append([])
        shards[-1].append((name, tensor))
    pool, places = Pool(), {}
    for number, shard in enumerate(shards, 1):
        file = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        places |= {name: file for name, _ in shard}
        write_shard(folder / file, shard, pool)
    index = {"metadata": {"total_size": sum(2 * t.numel() for t in weights.values())}, "weight_map": places}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))


def write_shard(path: Path, shard: list[tuple[str, Tensor]], pool: Pool) -> None:
    """One safetensors file: length, header, bytes."""
    header, end = {}, 0
    for name, tensor in shard:
        start, end = end, end + 2 * tensor.numel()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # as the format asks, so that weights are aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in shard:
            for run in pool.runs(tensor.numel()):
                file.write(run.view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def forget(folder: Path) -> None:
    """Empty the page cache of the checkpoints' files, so that what is read is read from the disk."""
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_rate(folder: Path, most: int = 8 * GB) -> float:
    """Bytes a second when four threads read the files from end to end."""
    runs = [(path, 0, path.stat().st_size) for path in sorted(folder.rglob("*.safetensors"))]
    return read_rate(folder, runs, most)


def read_rate(folder: Path, runs: Sequence[tuple[Path, int, int]], most: int) -> float:
    """Bytes a second when four threads read runs of the files, (path, offset, bytes), in the files' order."""
    forget(folder)
    chunks = [
        (path, at, min(CHUNK, begin + n - at)) for path, begin, n in runs for at in range(begin, begin + n, CHUNK)
    ]

    def read(chunk: tuple[Path, int, int]) -> int:
        with chunk[0].open("rb", buffering=0) as file:
            file.seek(chunk[1])
            return len(file.read(chunk[2]) or b"")

    began = time.perf_counter()
    with ThreadPoolExecutor(4) as threads:
        total = sum(threads.map(read, chunks[: max(1, most // CHUNK)]))
    return total / (time.perf_counter() - began)
