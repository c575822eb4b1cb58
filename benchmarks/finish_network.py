"""Time of a network over HTTP: python benchmarks/finish_network.py [SIDE] [FRAMES].

A square video goes through a network of Real-ESRGAN x4plus's size, with weights of chance, in the service's confined
child, on as many threads as that takes. Printed are the seconds between its frames, by the clock and of the processor,
which does not count what other work takes, and the child's largest memory.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.torch import save_file

from framepack.app.service.convert import Conversions
from framepack.jobs.folders import Folders
from framepack.media.video import VideoWriter
from framepack.models.upscaler import RRDBNet
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileCoding


def watch(most: list[int], ended: threading.Event) -> None:
    """Resident bytes of the largest child."""
    while not ended.wait(0.1):
        for child in psutil.Process().children():
            try:
                most[0] = max(most[0], child.memory_info().rss)
            except psutil.NoSuchProcess:
                continue


def used() -> float:
    """Seconds of the processor that children have had."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


def main() -> None:
    """Run it, print what was measured."""
    side, frames = (int(sys.argv[place]) if len(sys.argv) > place else other for place, other in ((1, 128), (2, 3)))
    times, most, ended = [], [0], threading.Event()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file({key: 0.1 * one for key, one in RRDBNet().state_dict().items()}, folder / "x4.safetensors")
        with VideoWriter(folder / "v.mkv", size=(side, side), fps=10) as writer:
            writer.write(np.random.default_rng(0).integers(0, 255, (frames, side, side, 3), np.uint8))

        def heard(said: dict[str, Any]) -> None:
            if "frames" in said:
                times.append((time.monotonic(), used(), said["frames"]))

        conversions = Conversions(Folders(folder, folder / "home", reserve=0))
        threading.Thread(target=watch, args=(most, ended)).start()
        began = time.monotonic()
        steps = FileFinish(enlarge=4, network=folder / "x4.safetensors")
        try:
            conversions.make(folder / "v.mkv", folder / "w.mkv", FileCoding(format="mkv"), steps, heard)
        finally:
            ended.set()
        whole = time.monotonic() - began
    clock, processor, count = (last - first for first, last in zip(times[0], times[-1], strict=True))
    print(
        f"{side}x{side}: {clock / count:.1f} s a frame, {processor / count:.1f} s of the processor; {whole:.1f} s for "
        f"{frames} frames, at most {most[0] / 2**20:.0f} MB"
    )


if __name__ == "__main__":
    main()
