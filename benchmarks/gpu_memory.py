"""The 13 B transformer within 4 GB to all of a GPU's memory, beside diffusers' ways to do it; no download.

Random bf16 weights at the full shape are made on the spot. Prints what the machine does (GEMM, copies), then a row for
each budget and each rival, the median over `--rounds` turns in which all take part: seconds a step, share of our
resident speed, peak of torch's allocator, weights copied a step. Budgets are enforced by
`set_per_process_memory_fraction`; the row `ballast` leaves a card that another process fills.

    python benchmarks/gpu_memory.py [--scale full|small] [--device cuda] [--size 544x704] [--rounds 2] [--steps 3]
                                    [--only TEXT ...] [--save FILE] [--minutes 60] [--quick]

Each row is printed and saved at once; one that fails is noted. `--quick`: one turn, begins no row after 8 minutes.
On a CPU, `--device cpu --scale small` runs the same code with budgets in proportion, to see that it works.
"""

import argparse
import gc
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from gpu_rivals import BALLAST, Rivals, Step
from gpu_table import FULL_BYTES, GB, Turns, save, table
from shapes_13b import CONFIGS, Pool, condition, device_of, noise, pack
from torch import Tensor

from framepack.memory import MemoryManager
from framepack.memory.rehearsal import measure
from framepack.models.blocks import Execution
from framepack.models.transformer import HunyuanVideoTransformer3DModelPacked

BUDGETS = (24, 16, 12, 8, 6, 4)
STEPS_OF_A_JOB = 25
QUICK = (
    "ours resident",
    "ours 6 GB",
    "diffusers group, leaf, stream",
    "diffusers group, block, stream",
    "per-access swapping",
    "ours 4 GB",
    "ours 12 GB",
    "ours 24 GB",
    "ours 8 GB",
    "diffusers resident",
    "ours 6 GB, ballast",
    "diffusers sequential",
)
"""The most telling rows first, in case time runs out."""
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, ImportError, OSError, MemoryError)
"""What a rival of another version may raise; its row says so."""


class Bench:
    """One machine, one module, one picture size."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device = device_of(args.device)
        self.cuda = self.device.type == "cuda"
        self.size = tuple(int(part) for part in args.size.split("x"))
        self.steps = args.steps
        self.config = CONFIGS[args.scale]
        with torch.device("meta"):
            self.module = HunyuanVideoTransformer3DModelPacked(self.config).to(torch.bfloat16).eval()
        self.costs = {rows: self.cost(rows) for rows in (None, 4096)}
        Pool().fill(self.module)
        self.weights = {name: tensor.detach() for name, tensor in self.module.state_dict().items()}
        self.memory = MemoryManager(self.device, vram_limit=None if self.cuda else 0)
        self.memory.add("transformer", self.module, blocks=lambda m: m.blocks, once=lambda m: m.once_per_job)
        self.scale = sum(tensor.nbytes for tensor in self.weights.values()) / FULL_BYTES

    def cost(self, rows: int | None) -> int:
        """Bytes that a step takes beside weights, by rehearsal."""
        self.module.execution = Execution(rows=rows)
        table, packed = condition(self.module, 1, "meta"), pack(self.module, *self.size, "meta")
        x = noise(self.module, *self.size, "meta")
        return measure(lambda: self.module(x, table.step(0), packed)).activations

    def sync(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], object], times: int) -> float:
        """Of one call, after one to warm up."""
        function()
        self.sync()
        began = time.perf_counter()
        for _ in range(times):
            function()
        self.sync()
        return (time.perf_counter() - began) / times

    @contextmanager
    def capped(self, budget: int | None) -> Iterator[None]:
        """No more device memory than `budget` for this process."""
        if self.cuda and budget is not None:
            total = torch.cuda.get_device_properties(self.device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, budget / total), self.device)
        try:
            yield
        finally:
            if self.cuda:
                torch.cuda.set_per_process_memory_fraction(1.0, self.device)

    @contextmanager
    def ours(self, budget: int | None, notes: dict[str, Any], told: bool = True) -> Iterator[Step]:
        """Our module in `budget` bytes (None: all there is); told: whether the manager is given the number."""
        rows = None if budget is None or budget >= 12 * GB * self.scale else 4096
        limit = budget if told else None
        if limit is None and not self.cuda:
            limit = int(100 * GB * self.scale)
        memory = self.memory
        memory.free()
        reserve = self.costs[rows] * 11 // 10 + int(0.25 * GB * self.scale)
        memory.budget = replace(memory.budget, vram_limit=limit, preserve=reserve)
        memory.high_vram = budget is None
        self.module.execution = Execution(rows=rows)
        try:
            with self.capped(budget if told else None):
                yield from self._steps(notes)
        finally:
            memory.free()

    def _steps(self, notes: dict[str, Any]) -> Iterator[Step]:
        """On loan: one step, and what all steps copied."""
        memory = self.memory
        with memory.lease("transformer", once=True) as module:
            table = condition(module, STEPS_OF_A_JOB, self.device)
        with memory.lease("transformer") as module:
            packed, x = pack(module, *self.size, self.device), noise(module, *self.size, self.device)
            began, count = memory.report().bytes_copied, 0

            def step() -> Tensor:
                nonlocal count
                count += 1
                return module(x, table.step(count % STEPS_OF_A_JOB), packed)

            yield step
            report = memory.report()
            notes["copied"] = (report.bytes_copied - began) / max(count, 1)
            notes["where"] = report.modules["transformer"].where

    @contextmanager
    def beside_ballast(self, budget: int, notes: dict[str, Any]) -> Iterator[Step]:
        """Our module on a card of which another process leaves `budget` bytes."""
        torch.cuda.empty_cache()
        command = [sys.executable, "-c", BALLAST, str(budget)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            other.stdout.readline()
            try:
                with self.ours(budget, notes, told=False) as step:
                    yield step
            finally:
                other.communicate("")

    def ways(self) -> dict[str, Callable[[dict[str, Any]], AbstractContextManager[Step]]]:
        """All rows of the table."""
        rows: dict[str, Callable[[dict[str, Any]], AbstractContextManager[Step]]] = {
            "ours resident": lambda notes: self.ours(None, notes)
        }
        for budget in BUDGETS:
            limit = int(budget * GB * self.scale)
            rows[f"ours {budget} GB"] = lambda notes, limit=limit: self.ours(limit, notes)
        if self.cuda:
            rows["ours 6 GB, ballast"] = lambda notes: self.beside_ballast(int(6 * GB * self.scale), notes)
        for name, way in Rivals(self.weights, self.config, self.size, self.device).all().items():
            rows[name] = lambda notes, way=way: way()
        return rows

    def row(self, way: Callable[[dict[str, Any]], AbstractContextManager[Step]]) -> dict[str, Any]:
        """One turn of one way: what it took, or why it did not run."""
        notes: dict[str, Any] = {}
        gc.collect()  # offloading hooks of the row before hold its module in cycles
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            with way(notes) as step:
                notes["seconds"] = self.seconds(step, self.steps)
        except torch.OutOfMemoryError:
            notes["failed"] = "out of memory"
        except FAILURES as error:
            notes["failed"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]
        notes["peak"] = torch.cuda.max_memory_allocated() if self.cuda else 0
        notes["host"] = psutil.Process().memory_info().rss
        return notes


def machine(bench: Bench) -> dict[str, Any]:
    """What the device and its bus can do, and the size of the work."""
    size, nbytes = (8192, 1 << 30) if bench.cuda else (512, 1 << 24)
    left = torch.randn(size, size, device=bench.device, dtype=torch.bfloat16)
    target = torch.empty(nbytes, dtype=torch.uint8, device=bench.device)
    pageable = torch.ones(nbytes, dtype=torch.uint8)
    pinned = pageable.pin_memory() if bench.cuda else pageable
    return {
        "device": torch.cuda.get_device_name(bench.device) if bench.cuda else platform.processor() or "cpu",
        "versions": f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
        "size": f"{bench.size[0]}x{bench.size[1]}",
        "weights": bench.scale * FULL_BYTES,
        "activations": bench.costs[None],
        "in rows": bench.costs[4096],
        "gemm": 2 * size**3 / bench.seconds(lambda: left @ left, 10),
        "pinned": nbytes / bench.seconds(lambda: target.copy_(pinned, non_blocking=True), 5),
        "pageable": nbytes / bench.seconds(lambda: target.copy_(pageable), 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=list(CONFIGS), default="full")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="544x704", help="height x width; a small one makes copying the limit")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name contains one of these")
    parser.add_argument("--minutes", type=float, default=60, help="begin no row after this time")
    parser.add_argument("--quick", action="store_true", help="one turn of the most telling rows in 8 minutes")
    parser.add_argument("--save", type=Path, help="where the table goes too, with the numbers beside it as JSON")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.steps, args.minutes = 1, 2, min(args.minutes, 8)
    deadline = time.monotonic() + 60 * args.minutes
    bench = Bench(args)
    facts = machine(bench)
    print(f"{facts}, ready after {time.monotonic() + 60 * args.minutes - deadline:.0f} s", flush=True)
    ways = {name: way for name, way in bench.ways().items() if any(part in name for part in args.only)}
    if args.quick:
        ways = {name: ways[name] for name in QUICK if name in ways}
    turns: Turns = {name: [] for name in ways}
    with torch.no_grad():
        for turn in range(args.rounds):
            for name, way in ways.items():
                if time.monotonic() > deadline:
                    print(f"turn {turn + 1}: {name}: left out, {args.minutes:g} minutes are over", flush=True)
                    continue
                turns[name].append(bench.row(way))
                print(f"turn {turn + 1}: {name}: {turns[name][-1]}", flush=True)
                save(args.save, facts, turns)
    print("\n".join(table(facts, turns)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
