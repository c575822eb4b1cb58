"""The whole 13 B application on a small machine: one short video, from picture and prompt to MP4, within a RAM limit.

Writes all parts of the 13 B model with random bf16 weights in the public layout (42.6 GB: transformer, Llama, CLIP,
SigLIP, VAE), then runs the product's own pipeline in a fresh process for each limit, on the CPU, and removes the files.
Prints the resident memory of each stage and whether the latents are equal to the bit. What is computed is noise: this
is about memory. `small` does it with the bundled model.

    python benchmarks/whole_app_cpu.py [--scale full|small] [--limits 6GB 20GB] [--size 128] [--steps 1] [--folder DIR]
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil
import torch
from checkpoint_13b import GB, forget, write_models
from PIL import Image
from safetensors.torch import load_file

from framepack import FramePack, GenerationRequest
from framepack.memory import MemoryManager
from framepack.spec.events import StageStarted
from framepack.spec.machine import parse_bytes
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.sources import ModelSource

LIMITS = {"full": ["6GB", "20GB"], "small": ["2GB", "4GB"]}


class Watch(threading.Thread):
    """The largest resident memory of each stage, looked at twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stage = "start"
        self.peaks: dict[str, int] = defaultdict(int)

    def run(self) -> None:
        process = psutil.Process()
        while True:
            self.peaks[self.stage] = max(self.peaks[self.stage], process.memory_info().rss)
            time.sleep(0.05)


def child(models: Path | None, limit: str, size: int, steps: int) -> dict[str, object]:
    """Make one video in this process; what it took."""
    watch = Watch()
    watch.start()
    memory = MemoryManager("cpu", ram_limit=parse_bytes(limit))
    variant = VARIANTS["framepack" if models else "mini"]
    loader = Loader(variant, ModelSource(models_dir=models), choose_precision("cpu", "bfloat16"))
    folder = Path(tempfile.mkdtemp(prefix="framepack-whole-"))
    picture = folder / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)).save(picture)
    request = GenerationRequest.model_validate(
        {
            "model": variant.name,
            "image": picture,
            "prompt": "the camera pans left",
            "output": {"path": folder / "v.mp4"},
            "width": size,
            "height": size,
            "seconds": 1.2,
            "steps": steps,
        }
    )
    began, seconds = time.perf_counter(), {}
    for event in FramePack(loader, memory).generate(request, work=folder):
        if isinstance(event, StageStarted):
            watch.stage = f"{event.stage}: {event.message}"
            seconds[watch.stage] = time.perf_counter() - began
    report, taken = memory.report(), time.perf_counter() - began
    latents = [load_file(file)["latents"] for file in sorted(folder.glob("section-*.safetensors"))]
    assert latents, "no section was kept"
    assert all(part.isfinite().all() for part in latents), "latents must be finite for their equality to mean anything"
    shutil.rmtree(folder)
    return {
        "peaks": dict(watch.peaks),
        "seconds": taken,
        "read": report.bytes_read,
        "result": hashlib.sha256(b"".join(part.numpy().tobytes() for part in latents)).hexdigest(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=list(LIMITS), default="full")
    parser.add_argument("--limits", nargs="+")
    parser.add_argument("--size", type=int, default=128, help="pixels, height and width")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the models are written; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave the models there, and use them if they are there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    full = args.scale == "full"
    if args.child:
        print(json.dumps(child(args.folder if full else None, args.child, args.size, args.steps)))
        return 0
    args.folder = args.folder or Path(tempfile.mkdtemp(prefix="framepack-13b-"))
    try:
        if full and not any(args.folder.iterdir() if args.folder.exists() else ()):
            write_models(args.folder)
        return compare(args)
    finally:
        if not args.keep:
            shutil.rmtree(args.folder, ignore_errors=True)


def compare(args: argparse.Namespace) -> int:
    """Run one process a limit and print what each took."""
    total = sum(path.stat().st_size for path in args.folder.rglob("*.safetensors"))
    print(f"{total / GB:.2f} GB of weights; torch {torch.__version__}, {torch.get_num_threads()} threads")
    results, within = set(), True
    for limit in args.limits or LIMITS[args.scale]:
        forget(args.folder)
        options = {"--folder": args.folder, "--child": limit, "--size": args.size, "--steps": args.steps}
        command = [sys.executable, __file__, "--scale", args.scale, *(str(p) for pair in options.items() for p in pair)]
        took = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        peak = max(took["peaks"].values())
        print(f"{limit}: {took['seconds']:.0f} s, {took['read'] / GB:.2f} GB read, peak {peak / GB:.2f} GB resident")
        for stage, held in took["peaks"].items():
            print(f"    {held / GB:6.2f} GB  {stage}")
        results.add(took["result"])
        within &= peak <= parse_bytes(limit)
    print(f"latents equal to the bit: {'yes' if len(results) == 1 else 'NO'}; all within their limit: {within}")
    return 0 if len(results) == 1 and within else 1


if __name__ == "__main__":
    sys.exit(main())
