"""The same frames give the same file: every format, written again and again, at many sizes and thread counts.

`python benchmarks/same_files.py --save` writes five files of each size, content and number of threads, two of them
on one core only, and counts those that differ from the first. Beside it: encoder's processor time and bytes against
x264 and libvpx as PyAV opens them.
"""

import argparse
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
from PIL import Image

from framepack.media.read import probe
from framepack.media.sinks import Codec, SinkSpec
from framepack.media.video import FORMATS
from framepack.spec.geometry import HUNYUAN

SIZES = (
    (16, 16),
    (64, 64),
    (96, 64),
    (130, 98),
    (176, 144),
    (250, 130),
    (354, 290),
    (416, 320),
    (480, 832),
    (640, 640),
    (544, 704),
    (704, 544),
)
ODD = {(64, 64): (63, 65), (250, 130): (251, 129)}
"""For the formats that take them."""
THREADS = (1, 2, 16, 24)
WRITES, FRAMES = 5, 13
HARBOUR = Path(__file__).parents[1] / "examples" / "harbour.jpg"
Frames = np.ndarray
Sizes = tuple[tuple[int, int], ...]


def noise(width: int, height: int) -> Frames:
    """What no encoder can foresee."""
    return np.random.default_rng(0).integers(0, 256, (FRAMES, height, width, 3), dtype=np.uint8)


def waves(width: int, height: int) -> Frames:
    """Smooth gradients that travel."""
    t = np.arange(FRAMES)[:, None, None, None]
    y, x, c = np.mgrid[:height, :width, :3]
    return np.clip(127.5 + 55 * (np.sin(x / 17 + t / 9 + c) + np.cos(y / 11 - t / 13 + 2 * c)), 0, 255).astype(np.uint8)


def pan(width: int, height: int) -> Frames:
    """A photo that passes by."""
    photo = np.asarray(Image.open(HARBOUR).convert("RGB").resize((width + 2 * FRAMES, height)))
    return np.stack([photo[:, 2 * i : 2 * i + width] for i in range(FRAMES)])


CONTENTS: dict[str, Callable[[int, int], Frames]] = {"noise": noise, "waves": waves, "pan": pan}


def write(name: str, frames: Frames, file: Path, threads: int | None = None) -> str:
    """The frames in format `name`; the file's SHA-256."""
    height, width = frames.shape[1:3]
    sink = FORMATS[name].sink
    if threads is not None:
        assert isinstance(sink, Codec)
        sink = replace(sink, threads=threads)
    writer = sink(file, SinkSpec(width=width, height=height, fps=Fraction(HUNYUAN.fps), crf=16, metadata='{"a": 1}'))
    for frame in frames:
        writer.write(frame)
    writer.close()
    return sha256(file.read_bytes()).hexdigest()


def differing(name: str, threads: int | None, folder: Path, sizes: Sizes) -> tuple[int, int]:
    """How many files were written, and how many differ from the first of their kind."""
    written = other = 0
    cores = os.sched_getaffinity(0)
    for size, content in itertools.product(sizes, CONTENTS.values()):
        frames = content(*(size if FORMATS[name].even else ODD.get(size, size)))
        sums = []
        for turn in range(WRITES):
            os.sched_setaffinity(0, {min(cores)} if turn % 2 else cores)
            sums.append(write(name, frames, folder / f"a{FORMATS[name].suffix}", threads))
        os.sched_setaffinity(0, cores)
        assert probe(folder / f"a{FORMATS[name].suffix}").frames == FRAMES
        written, other = written + WRITES, other + sum(s != sums[0] for s in sums)
    return written, other


def matrix(names: list[str], sizes: Sizes) -> list[str]:
    """One row a format and number of threads."""
    lines = ["| format | threads | files written | differing |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            sink = FORMATS[name].sink
            counts = (None, *THREADS) if isinstance(sink, Codec) and sink.threads > 1 else (None,)
            for threads in counts:
                written, other = differing(name, threads, Path(folder), sizes)
                said = threads or f"its own ({sink.threads if isinstance(sink, Codec) else 1})"
                lines.append(f"| {name} | {said} | {written} | {other} |")
                print(lines[-1], flush=True)
    return lines


def cost(codec: Codec, folder: Path) -> tuple[float, int]:
    """Processor seconds and bytes of waves and a pan at three sizes."""
    seconds, size = 0.0, 0
    for (width, height), content in itertools.product(((96, 64), (416, 320), (704, 544)), (waves, pan)):
        frames = np.concatenate([content(width, height)] * 3)
        began = time.process_time()
        sink = codec(folder / "a", SinkSpec(width=width, height=height, fps=Fraction(HUNYUAN.fps), crf=16))
        for frame in frames:
            sink.write(frame)
        sink.close()
        seconds, size = seconds + time.process_time() - began, size + (folder / "a").stat().st_size
    return seconds, size


def costs() -> list[str]:
    """Ours against what PyAV opens by itself, in turn, the best of three."""
    lines = ["| encoder | processor time | bytes |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("mp4", "webm"):
            ours = FORMATS[name].sink
            assert isinstance(ours, Codec)
            options = {key: value for key, value in ours.options(16).items() if key != "x264-params"}
            rows = {
                "PyAV's defaults": replace(ours, threads=0, threading="SLICE", options=lambda crf, o=options: o),
                "PyAV's defaults, 16 threads": replace(
                    ours, threads=16, threading="SLICE", options=lambda crf, o=options: o
                ),
                "fixed threads alone": replace(ours, options=lambda crf, o=options: o),
                "as it is": ours,
            }
            found = {row: [cost(codec, Path(folder)) for _ in range(3)] for row, codec in rows.items()}
            base = min(found["PyAV's defaults"])
            for row, runs in found.items():
                seconds, size = min(runs)
                lines.append(f"| {name}, {row} | x {seconds / base[0]:.2f} | x {size / base[1]:.3f} |")
                print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--sizes", type=int, nargs=2, default=(0, len(SIZES)), help="which of the sizes, from and to")
    parser.add_argument("--costs", action="store_true", help="processor time and size only")
    parser.add_argument("--save", type=Path, help="append the table to this file")
    arguments = parser.parse_args()
    lines = costs() if arguments.costs else matrix(arguments.formats, SIZES[slice(*arguments.sizes)])
    if arguments.save:
        with arguments.save.open("a") as file:
            about = f"{os.cpu_count()} cores, {platform.machine()}, PyAV {av.__version__}, {date.today()}"
            file.write(f"{about}\n\n" + "\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
