"""How near a video made with a cache comes to the uncached one, by the cache's threshold: mini, one section, 25 steps.

python benchmarks/cache_thresholds.py [--thresholds 0.03 0.05 0.08 0.15]
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np

from framepack import FramePack, GenerationRequest
from framepack.caching import CACHES, FirstBlockCache, TeaCache
from framepack.media.read import read_video
from framepack.spec.events import Finished
from framepack.spec.parts import THRESHOLDS

EXAMPLES = Path(__file__).parents[1] / "examples"
CASES = (("harbour.jpg", "the camera pans left"), ("harbour.jpg", "night falls"), ("ball.jpg", "the ball moves right"))
Video = np.ndarray


class Counted:
    """A cache's factory that counts steps and those that ran in full."""

    def __init__(self, kind: type[TeaCache] | type[FirstBlockCache]) -> None:
        self.kind, self.caches = kind, []

    def __call__(self, steps: int, threshold: float) -> TeaCache | FirstBlockCache:
        counted = self

        class Cache(self.kind):
            def lookup(self, step, signal):  # noqa: ANN001, ANN202
                found = super().lookup(step, signal)
                counted.caches.append(found is None)
                return found

        return Cache(steps, threshold)


def make(framepack: FramePack, case: tuple[str, str], folder: Path, **settings: object) -> Video:
    """The frames (T, H, W, 3) of a lossless video."""
    file = {"path": folder / "v.mkv", "overwrite": True}
    request = {
        "image": EXAMPLES / case[0],
        "prompt": case[1],
        "seconds": 1.2,
        "steps": 25,
        "resolution": 128,
        "output": file,
    }
    *_, last = framepack.generate(GenerationRequest.model_validate(request | settings))
    assert isinstance(last, Finished)
    return np.stack(list(read_video(last.file))).astype(np.float32)


def psnr(one: Video, other: Video) -> float:
    """In dB."""
    return 10 * math.log10(255**2 / max(float(((one - other) ** 2).mean()), 1e-9))


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--thresholds", type=float, nargs="*", default=[0.03, 0.05, 0.08, 0.15])
    options.add_argument("--cases", type=int, default=len(CASES), help="So many of the examples.")
    given = options.parse_args()
    thresholds, cases = given.thresholds, CASES[: given.cases]
    framepack = FramePack.load("mini", dtype="float32", device="cpu")
    counted = {name: Counted(kind) for name, kind in (("teacache", TeaCache), ("first-block", FirstBlockCache))}
    CACHES.update(counted)
    rows = [("teacache", THRESHOLDS["teacache"]), *(("first-block", threshold) for threshold in thresholds)]
    with tempfile.TemporaryDirectory() as temporary:
        truth = [make(framepack, case, Path(temporary)) for case in cases]
        print("| cache | threshold | dB to the uncached video | steps in full |\n|---|---|---|---|", flush=True)
        for cache, threshold in rows:
            counted[cache].caches.clear()
            settings = {"cache": cache, "cache_threshold": threshold}
            near = [
                psnr(there, make(framepack, case, Path(temporary), **settings))
                for case, there in zip(cases, truth, strict=True)
            ]
            full = np.mean(counted[cache].caches)
            said = ", ".join(f"{value:.1f}" for value in near)
            print(f"| {cache} | {threshold:g} | {np.mean(near):.1f} ({said}) | {full:.0%} |", flush=True)


if __name__ == "__main__":
    main()
