"""What a GPU and its bus can do, and the 13 B transformer within 6 GB to all of the card, beside diffusers' ways.

Random weights at the full shape; blocks of one kind share theirs, so that a host with 16 GB of RAM suffices. A row for
each budget and each rival: seconds of a step after one to warm up, peak of torch's allocator, what was planned, weights
copied a step. Budgets are enforced by `set_per_process_memory_fraction`.

    python benchmarks/gpu_memory.py [--device cuda] [--size 544x704] [--seconds 600] [--only TEXT ...]

On a CPU, `--device cpu --scale small` runs the same code with budgets in proportion, to see that it works.
"""

import gc
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from gpu_rivals import Rivals, Step
from gpu_rows import FAILURES, GB, RESIDENT, Rows, arguments, failure
from shapes_13b import CONFIGS, condition, device_of, fill_shared, half_of, lane_of, noise, pack
from torch import Tensor

from framepack.memory import FallbackLevel, MemoryManager
from framepack.memory.estimate import estimate
from framepack.memory.probe import available_ram
from framepack.models.hunyuan.blocks import Execution
from framepack.models.hunyuan.transformer import ConditionTable, HunyuanVideoTransformer3DModelPacked, PackedTokens

FULL_BYTES = 25.75 * GB
"""Of the full transformer's weights."""
BUDGETS = (8, 24, 12, 16, 6)
"""The most telling one first, in case time runs out."""
STEPS, ENOUGH = 3, 8.0
"""Steps timed in a row, or fewer once they took so many seconds."""
STEPS_OF_A_JOB = 25


class Bench:
    """One machine, one module, one picture size."""

    def __init__(self, device: torch.device, scale: str, size: tuple[int, int]) -> None:
        self.device, self.size, self.config = device, size, CONFIGS[scale]
        self.cuda = device.type == "cuda"
        self.total = torch.cuda.get_device_properties(device).total_memory if self.cuda else available_ram()
        with torch.device("meta"):
            self.module = HunyuanVideoTransformer3DModelPacked(self.config).to(half_of(device)).eval()
        self.costs = {rows: self.cost(rows) for rows in (None, 4096)}
        fill_shared(self.module, self.module.transformer_blocks, self.module.single_transformer_blocks)
        self.weights = {name: tensor.detach() for name, tensor in self.module.state_dict().items()}
        self.bytes = sum(tensor.nbytes for tensor in self.weights.values())
        self.scale = self.bytes / FULL_BYTES
        self.memory = MemoryManager(device, vram_limit=None if self.cuda else 0, copy_stream=lane_of(device))
        self.memory.add("transformer", self.module, blocks=lambda m: m.blocks, once=lambda m: m.once_per_job)

    def cost(self, rows: int | None) -> int:
        """Bytes that a step takes beside weights, from its shapes."""
        execution = Execution(chunk_size=rows)
        table, packed = condition(self.module, 1, "meta"), pack(self.module, *self.size, "meta")
        x = noise(self.module, *self.size, "meta")
        return estimate(lambda: self.module(x, table.step(0), packed, execution=execution)).activations

    def timed(self, function: Callable[[], object], times: int = STEPS, enough: float = ENOUGH) -> float:
        """Seconds of one call, after one to warm up."""
        taken: list[float] = []
        for _ in range(times + 1):
            began = time.perf_counter()
            function()
            if self.cuda:
                torch.cuda.synchronize(self.device)
            taken.append(time.perf_counter() - began)
            if len(taken) > 1 and sum(taken[1:]) > enough:
                break
        return sum(taken[1:]) / len(taken[1:])

    def machine(self, rows: Rows) -> None:
        """What the device and its bus can do."""
        card = torch.cuda.get_device_properties(self.device) if self.cuda else None
        name = f"{card.name} ({card.major}.{card.minor}), {card.total_memory / GB:.1f} GB" if card else "CPU"
        versions = (
            f"torch {torch.__version__}, Python {platform.python_version()}, {available_ram() / GB:.0f} GB RAM free"
        )
        rows.add(f"{name}; {versions}", note=f"{self.size[0]}x{self.size[1]}, weights {self.bytes / GB:.2f} GB")
        side, nbytes = (8192, 1 << 28) if self.cuda else (512, 1 << 24)
        left = torch.randn(side, side, device=self.device, dtype=half_of(self.device))
        seconds = self.timed(lambda: left @ left, 10, 2)
        rate = f"{2e-12 * side**3 / seconds:.1f} TFLOP/s"
        rows.add(f"GEMM {side}, {str(left.dtype)[6:]}", seconds=seconds, note=rate)
        there, pageable = (torch.ones(nbytes, dtype=torch.uint8, device=where) for where in (self.device, "cpu"))
        hosts = {"pageable": pageable, "pinned": pageable.pin_memory()} if self.cuda else {"pageable": pageable}
        for kind, host in hosts.items():
            for way, target, source in (("to device", there, host), ("to host", host, there)):
                seconds = self.timed(lambda to=target, of=source: to.copy_(of, non_blocking=True), 5, 2)
                rows.add(f"copy {way}, {kind}", seconds=seconds, note=f"{nbytes / seconds / GB:.1f} GB/s")

    @contextmanager
    def capped(self, budget: int | None) -> Iterator[None]:
        """No more device memory than `budget` for this process."""
        if self.cuda and budget is not None:
            torch.cuda.set_per_process_memory_fraction(min(1.0, budget / self.total), self.device)
        try:
            yield
        finally:
            if self.cuda:
                torch.cuda.set_per_process_memory_fraction(1.0, self.device)

    @contextmanager
    def ours(self, budget: int | None, notes: dict[str, Any]) -> Iterator[Step]:
        """Our module in `budget` bytes (None: all there is)."""
        rows = None if budget is None or budget >= 12 * GB * self.scale else 4096
        memory, limit = self.memory, budget if self.cuda or budget else int(100 * GB * self.scale)
        memory.free()
        reserve = self.costs[rows] * 11 // 10 + int(0.25 * GB * self.scale)
        memory.budget = replace(memory.budget, vram_limit=limit, preserve=reserve)
        memory.high_vram = budget is None
        try:
            with self.capped(budget):
                yield from self._steps(notes, rows)
        finally:
            memory.free()

    def _steps(self, notes: dict[str, Any], rows: int | None) -> Iterator[Step]:
        """One step, done as a job does it with `rows` tokens at a time, and what all steps copied."""
        memory, activations, x = self.memory, self.costs[rows], noise(self.module, *self.size, self.device)

        def prepare(level: FallbackLevel) -> ConditionTable:
            with memory.lease("transformer", once=True) as module:
                return condition(module, STEPS_OF_A_JOB, self.device)

        def context(level: FallbackLevel) -> PackedTokens:
            with memory.lease("transformer") as module:
                return pack(module, *self.size, self.device)

        table = memory.retry_with_less_memory("prepare", prepare, supported={"resident", "disk"})
        packed = memory.retry_with_less_memory("pack", context, supported={"resident", "disk"})
        held, began, count = memory.report().held, memory.report().bytes_copied, 0
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        beside = sum(t.nbytes for t in (*table.modulation, table.final, table.text, table.image, packed.context))
        notes["planned"] = held + activations + beside

        def step() -> Tensor:
            nonlocal count
            count += 1
            return memory.retry_with_less_memory("step", velocity, supported={"resident", "chunk_size", "disk"})

        def velocity(level: FallbackLevel) -> Tensor:
            with memory.lease("transformer") as module:
                execution = Execution(chunk_size=level.chunk_size or rows)
                return module(x, table.step(count % STEPS_OF_A_JOB), packed, execution=execution)

        yield step
        report, steps_down = memory.report(), memory.notices()
        where = report.modules["transformer"].where
        notes.update(copied=(report.bytes_copied - began) / max(count, 1), whole=where == "on the device")
        notes["note"] = where + (f"; out of memory {len(steps_down)} times" if steps_down else "")

    def ways(self) -> dict[str, tuple[float, Callable[[dict[str, Any]], AbstractContextManager[Step]]]]:
        """All rows: how much of the device a way needs, or 0, and the way."""
        rivals = Rivals(self.weights, self.config, self.size, self.device, roomy=available_ram() > 1.2 * self.bytes)
        rows: dict[str, Any] = {RESIDENT: (0, lambda notes: self.ours(None, notes))}
        for budget in BUDGETS:
            limit = int(budget * GB * self.scale)
            rows[f"step: ours, {budget} GB"] = (limit, lambda notes, limit=limit: self.ours(limit, notes))
        ordered = list(rows.items())
        for position, (name, need, way) in enumerate(rivals.all(self.bytes)):
            ordered.insert(1 + 2 * position, (f"step: {name}", (need, lambda notes, way=way: way())))
        return dict(ordered)

    def row(self, way: Callable[[dict[str, Any]], AbstractContextManager[Step]]) -> dict[str, Any]:
        """What one way took, or why it did not run."""
        notes: dict[str, Any] = {}
        gc.collect()  # offloading hooks of the row before hold its module in cycles
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            with way(notes) as step:
                notes["seconds"] = self.timed(step)
        except FAILURES as error:
            notes["note"] = failure(error)
        if self.cuda:
            notes["peak"] = torch.cuda.max_memory_allocated(self.device)
        return notes


@torch.no_grad()
def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name contains one of these")
    args = parser.parse_args()
    rows = Rows(args.rows, args.seconds)
    height, width = (int(part) for part in args.size.split("x"))
    bench = Bench(device_of(args.device), args.scale, (height, width))
    bench.machine(rows)
    for name, (need, way) in bench.ways().items():
        if not any(part in name for part in args.only):
            continue
        if bench.cuda and need > bench.total:
            rows.add(name, note=f"left out: the card has {bench.total / GB:.1f} GB")
        elif not rows.is_late(name):
            began = time.monotonic()
            rows.add(name, **bench.row(way))
            rows.longest = max(rows.longest, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
