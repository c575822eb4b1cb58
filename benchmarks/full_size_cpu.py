"""The whole 13 B on a small machine: one denoising step on the CPU with weights that do not fit its RAM limit.

Writes a random bf16 checkpoint at the full shape and in the public layout (25.75 GB, sharded), loads it through the
product's own loading code in a fresh process for each limit, runs `condition` and one step, and removes the checkpoint.
Prints seconds, bytes read, peak resident memory, and whether all results are equal to the bit. Share of the disk's own
read rate: in the step, which on most machines is limited by the processor, and in a pass over all streamed blocks that
computes nothing, where the disk is the limit.

    python benchmarks/full_size_cpu.py [--scale full|small] [--limits 6GB 20GB] [--size 128] [--folder DIR] [--keep]
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from shapes_13b import CONFIGS, Pool, condition, config_json, noise, pack
from torch import nn

from framepack.memory import FileSlice, MemoryManager, map_weights, parse_bytes
from framepack.models.checkpoint import check_weights
from framepack.pipeline.loader import empty_transformer

SHARD = {"full": 5_000_000_000, "small": 20_000_000}
LIMITS = {"full": ["6GB", "20GB"], "small": ["1GB", "4GB"]}
GB = 1_000_000_000
CHUNK = 8 << 20
ACTIVATIONS = 500_000_000
"""What a step needs beside weights at this picture size, the allocator's slack included."""


def write_checkpoint(folder: Path, scale: str) -> None:
    """A sharded checkpoint, one tensor in memory at a time."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_json(CONFIGS[scale])))
    weights = list(empty_transformer(folder).state_dict().items())
    shards: list[list[tuple[str, torch.Tensor]]] = [[]]
    for name, tensor in weights:
        if shards[-1] and sum(2 * t.numel() for _, t in shards[-1]) > SHARD[scale]:
            shards.append([])
        shards[-1].append((name, tensor))
    pool, places = Pool(), {}
    for number, shard in enumerate(shards, 1):
        file = f"diffusion_pytorch_model-{number:05d}-of-{len(shards):05d}.safetensors"
        places |= {name: file for name, _ in shard}
        write_shard(folder / file, shard, pool)
    index = {"metadata": {"total_size": sum(2 * t.numel() for _, t in weights)}, "weight_map": places}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


def write_shard(path: Path, shard: list[tuple[str, torch.Tensor]], pool: Pool) -> None:
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
    """Empty the page cache of the checkpoint's files, so that what is read is read from the disk."""
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_rate(folder: Path, most: int = 8 * GB) -> float:
    """Bytes a second when four threads read the files from end to end."""
    forget(folder)
    chunks = [(p, at) for p in sorted(folder.glob("*.safetensors")) for at in range(0, p.stat().st_size, CHUNK)]

    def read(chunk: tuple[Path, int]) -> int:
        with chunk[0].open("rb", buffering=0) as file:
            file.seek(chunk[1])
            return len(file.read(CHUNK) or b"")

    began = time.perf_counter()
    with ThreadPoolExecutor(4) as threads:
        total = sum(threads.map(read, chunks[: max(1, most // CHUNK)]))
    return total / (time.perf_counter() - began)


def child(folder: Path, limit: str, size: int) -> dict[str, float | str]:
    """Load and run in this process; what it took."""
    memory = MemoryManager("cpu", ram_limit=parse_bytes(limit))
    files = {}

    def load() -> torch.nn.Module:
        module = empty_transformer(folder)
        files.update(map_weights(module, check_weights(module, folder), torch.bfloat16))
        return module

    memory.add("transformer", load, blocks=lambda m: m.blocks, once=lambda m: m.once_per_job, files=files)
    began = time.perf_counter()
    with torch.inference_mode():
        with memory.lease("transformer", once=True, activations=ACTIVATIONS) as transformer:
            table = condition(transformer, 1, "cpu")
        prepared, read = time.perf_counter(), memory.report().bytes_read
        with memory.lease("transformer", activations=ACTIVATIONS) as transformer:
            where = memory.report().modules["transformer"].where
            packed, x = pack(transformer, size, size, "cpu"), noise(transformer, size, size, "cpu")
            velocity = transformer(x, table.step(0), packed)
    stepped, report = time.perf_counter(), memory.report()
    assert velocity.isfinite().all(), "the result must be finite for its equality to mean anything"
    memory.close()
    return {
        "alone": reading_alone(transformer, files, folder, limit) if report.modules["transformer"].streamed else 0.0,
        "where": where,
        "condition": prepared - began,
        "step": stepped - prepared,
        "read": report.bytes_read,
        "read_in_step": report.bytes_read - read,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "result": hashlib.sha256(velocity.numpy().tobytes()).hexdigest(),
    }


class Passing(nn.Module):
    """A block that is brought and not computed."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def reading_alone(transformer: Any, files: dict[str, FileSlice], folder: Path, limit: str) -> float:
    """Share of the disk's own rate, measured before and after, in a pass over the streamed blocks without computing."""
    blocks = nn.ModuleList([Passing(block) for block in transformer.blocks])
    doubles = len(transformer.transformer_blocks)
    renamed = {}
    for name, where in files.items():
        kind, _, rest = name.partition(".")
        if kind in ("transformer_blocks", "single_transformer_blocks"):
            number, _, rest = rest.partition(".")
            renamed[f"{int(number) + doubles * (kind != 'transformer_blocks')}.block.{rest}"] = where
    memory = MemoryManager("cpu", ram_limit=parse_bytes(limit))
    memory.add("passing", blocks, blocks=list(blocks), once=transformer.once_per_job, files=renamed)
    x, rates = torch.zeros(1), [disk_rate(folder, most=4 * GB)]
    forget(folder)
    with torch.inference_mode(), memory.lease("passing", activations=ACTIVATIONS):
        before, began = memory.reader.bytes_read, time.perf_counter()
        for block in blocks:
            x = block(x)
        rate = (memory.reader.bytes_read - before) / (time.perf_counter() - began)
    memory.close()
    rates.append(disk_rate(folder, most=4 * GB))
    return rate / (sum(rates) / 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=list(CONFIGS), default="full")
    parser.add_argument("--limits", nargs="+")
    parser.add_argument("--size", type=int, default=128, help="pixels, height and width")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is written; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the checkpoint there, and use it if it is there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.folder, args.child, args.size)))
        return 0
    root = args.folder or Path(tempfile.mkdtemp(prefix="framepack-13b-"))
    folder = root / "lllyasviel" / "FramePackI2V_HY"
    try:
        return compare(folder, args)
    finally:
        if not args.keep:
            shutil.rmtree(folder if args.folder else root, ignore_errors=True)


def compare(folder: Path, args: argparse.Namespace) -> int:
    """Write, measure the disk, run one process a limit, and print the table."""
    if not folder.exists():
        began = time.perf_counter()
        write_checkpoint(folder, args.scale)
        print(f"checkpoint written in {time.perf_counter() - began:.0f} s")
    rate = disk_rate(folder)
    total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    print(
        f"{total / GB:.2f} GB; the disk reads {rate / GB:.2f} GB/s; torch {torch.__version__}, {os.cpu_count()} cores"
    )
    print("   limit  condition s   step s  read GB  share  alone  peak GB  weights")
    results, within = set(), True
    for limit in args.limits or LIMITS[args.scale]:
        forget(folder)
        command = [sys.executable, __file__, "--folder", str(folder), "--child", limit, "--size", str(args.size)]
        took = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        share = took["read_in_step"] / took["step"] / rate
        print(
            f"{limit:>8} {took['condition']:12.1f} {took['step']:8.1f} {took['read'] / GB:8.2f} {share:6.2f} "
            f"{took['alone']:6.2f} {took['peak'] / GB:8.2f}  {took['where']}"
        )
        results.add(took["result"])
        within &= took["peak"] <= parse_bytes(limit)
    print(f"results equal to the bit: {'yes' if len(results) == 1 else 'NO'}; all within their limit: {within}")
    return 0 if len(results) == 1 and within else 1


if __name__ == "__main__":
    sys.exit(main())
