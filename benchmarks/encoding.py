"""Processor seconds of encoding a frame in each format and codec, of frames between frames, and of steps on frames.

Run: python benchmarks/encoding.py [steps]. Prints a table, and the seconds a frame and a pixel that fit it, which
`app/service/shares.py` foretells the end of a job with. Processor time, children's too, so other work matters less.
"""

import resource
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from framepack.media.filters import filtered, filters_after, filters_before, scaled
from framepack.media.retime import retimed
from framepack.media.video import VideoWriter
from framepack.spec.finish import Finish
from framepack.spec.formats import CODECS, FORMATS, Coding

SIZES = (128, 384, 640)
FRAMES = 12


def film(side: int) -> Iterator[np.ndarray]:
    """Waves that travel, with a little noise, (H, W, 3) uint8."""
    y, x, c = np.mgrid[:side, :side, :3]
    noise = np.random.default_rng(0).normal(0, 4, (side, side, 3))
    for t in range(FRAMES):
        value = 127 + 55 * (np.sin(x / 17 + t / 5 + c) + np.cos(y / 11 - t / 7 + 2 * c)) + noise
        yield value.clip(0, 255).astype(np.uint8)


def spent() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def fitted(seconds: list[float]) -> tuple[float, float]:
    """Least squares: seconds a frame, and a pixel."""
    pixel, frame = np.polyfit([side**2 for side in SIZES], seconds, 1)
    return max(float(frame), 0.0), float(pixel)


STEPS = {
    "deflicker": Finish(deflicker=9),
    "denoise": Finish(denoise=0.5),
    "sharpen": Finish(sharpen=0.5),
    "levels": Finish(exposure=0.2, contrast=1.1, warmth=0.1),
    "saturation": Finish(saturation=1.2),
    "grain": Finish(grain=0.3),
}
REPEATED = 4
"""Times that the frames go through a step, which takes less than the clock tells otherwise."""


def stepped(frames: list[np.ndarray], name: str) -> float:
    """Processor seconds a frame of one step; those of `enlarge` are of a frame as large as the result."""
    side = frames[0].shape[0]
    small = [np.ascontiguousarray(frame[::2, ::2]) for frame in frames] if name == "enlarge" else frames
    filters = scaled((side, side)) if name == "enlarge" else [*filters_before(STEPS[name]), *filters_after(STEPS[name])]
    began = spent()
    for _ in range(REPEATED):
        list(filtered(small, filters, Fraction(30)))
    return (spent() - began) / len(frames) / REPEATED


def encodings(films: dict[int, list[np.ndarray]]) -> dict[str, list[float]]:
    """Seconds a frame of each format and codec, by size, and of frames between frames."""
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for form, row in FORMATS.items():
            for codec in row.codecs:
                for side, frames in films.items():
                    began = spent()
                    quality, path = Coding(codec=codec), Path(folder, f"a{row.suffix}")
                    with VideoWriter(path, size=(side, side), format=form, quality=quality) as writer:
                        for frame in frames:
                            writer.write(frame.astype(np.float32) / 255 if CODECS[codec].wide else frame)
                    rows.setdefault(f"{form} {codec}", []).append((spent() - began) / FRAMES)
    for mode in ("blend", "motion"):
        for frames in films.values():
            began = spent()
            made = sum(1 for _ in retimed(frames, 30, 60, mode))
            rows.setdefault(f"30 to 60 by {mode}", []).append((spent() - began) / made)
    return rows


def main() -> None:
    """Measure and print; with the word `steps`, those alone."""
    films = {side: list(film(side)) for side in SIZES}
    rows = {} if "steps" in sys.argv[1:] else encodings(films)
    rows |= {name: [stepped(frames, name) for frames in films.values()] for name in (*STEPS, "enlarge")}
    for name, seconds in rows.items():
        frame, pixel = fitted(seconds)
        shown = "  ".join(f"{side}: {1000 * one:7.2f} ms" for side, one in zip(SIZES, seconds, strict=True))
        print(f"{name:22} {shown}   {frame:.4f} s a frame, {pixel * 1e6:.3f}e-6 s a pixel")


if __name__ == "__main__":
    main()
