"""The command line beside another program that keeps one core busy: how much slower, with and without idle waiting.

Without it, a thread that has finished its share spins for the others and keeps its core, and the system finds no free
one for a thread that has to share a core. `framepack` therefore asks for OMP_WAIT_POLICY=PASSIVE unless the environment
says otherwise.

    python benchmarks/busy_cpu.py [--rounds 3] [--size 128]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

PICTURE = Path(__file__).parents[1] / "examples" / "harbour.jpg"
BUSY = "while True: sum(range(10**6))"


def seconds(policy: str, size: int, folder: Path) -> float:
    """From process start to the file, 37 frames."""
    size_options = ["--width", str(size), "--height", str(size), "--seconds", "1.2", "-o", str(folder / "a.mp4")]
    command = [
        sys.executable,
        "-c",
        "from framepack.app.cli.main import main; main()",
        "generate",
        str(PICTURE),
        *size_options,
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_WAIT_POLICY": policy})
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.size} x {args.size}")
    print("machine   spinning s  idle waiting s  ratio")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("quiet", "busy"):
            other = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) if name == "busy" else None
            try:
                took = {policy: [] for policy in ("ACTIVE", "PASSIVE")}
                for _ in range(args.rounds):
                    for policy, times in took.items():
                        times.append(seconds(policy, args.size, Path(folder)))
            finally:
                if other:
                    other.kill()
            spinning, waiting = median(took["ACTIVE"]), median(took["PASSIVE"])
            print(f"{name:8} {spinning:11.1f} {waiting:15.1f} {spinning / waiting:6.2f}")


if __name__ == "__main__":
    main()
