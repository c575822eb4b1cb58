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
from pathlib import Path
from typing import Any

import torch
from checkpoint_13b import GB, TRANSFORMER, disk_rate, forget, read_rate, write_transformer
from shapes_13b import CONFIGS, condition, noise, pack
from torch import nn

from framepack.memory import FileSlice, MemoryManager, map_weights
from framepack.models.checkpoint import check_weights
from framepack.models.hunyuan.family import empty_transformer
from framepack.spec.machine import parse_bytes

LIMITS = {"full": ["6GB", "20GB"], "small": ["1GB", "4GB"]}
ACTIVATIONS = 500_000_000
"""What a step needs beside weights at this picture size, the allocator's slack included."""


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


ROUNDS = 3


class Passing(nn.Module):
    """A block that is brought and not computed."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def quiet(memory: MemoryManager) -> None:
    """Wait until nothing is read ahead any more."""
    read = -1
    while memory.reader.bytes_read != read:
        read = memory.reader.bytes_read
        time.sleep(0.5)


def reading_alone(transformer: Any, files: dict[str, FileSlice], folder: Path, limit: str) -> float:
    """Share of the disk's own rate in passes over the streamed blocks without computing: the median of ROUNDS.

    The raw rate, four threads reading the same bytes in the files' order, is measured right before and after each pass:
    a shared disk's changes by the minute, and with what its own cache holds.
    """
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
    x, shares = torch.zeros(1), []
    with torch.inference_mode(), memory.lease("passing", activations=ACTIVATIONS):
        quiet(memory)
        swap = memory._managed["passing"].groups["blocks"].swap
        assert swap is not None, "nothing is streamed within this limit"
        pieces = [piece for weight_block in swap.weight_blocks for piece in weight_block.files if piece is not None]
        runs = sorted((piece.path, piece.offset, piece.nbytes) for piece in pieces)
        raw = [read_rate(folder, runs, 100 * GB)]
        for _ in range(ROUNDS):
            forget(folder)
            before, began = memory.reader.bytes_read, time.perf_counter()
            for block in blocks:
                x = block(x)
            rate = (memory.reader.bytes_read - before) / (time.perf_counter() - began)
            quiet(memory)
            raw.append(read_rate(folder, runs, 100 * GB))
            shares.append(rate / (raw[-1] + raw[-2]) * 2)
    memory.close()
    return sorted(shares)[ROUNDS // 2]


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
    folder = root / TRANSFORMER
    try:
        return compare(folder, args)
    finally:
        if not args.keep:
            shutil.rmtree(folder if args.folder else root, ignore_errors=True)


def compare(folder: Path, args: argparse.Namespace) -> int:
    """Write, measure the disk, run one process a limit, and print the table."""
    if not folder.exists():
        began = time.perf_counter()
        write_transformer(folder, args.scale)
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
