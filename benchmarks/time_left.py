"""How far the estimated time left is from the truth: a real job, its estimate after each section, what was left then.

python benchmarks/time_left.py [--seconds 6] [--steps 25] [--model mini] [--cache none] [--format mp4] [--processor]

--processor counts the process's own seconds of processor time, for a machine that is busy with other things as well.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from framepack.app.service.tracker import Tracker
from framepack.pipeline.load import load
from framepack.spec.events import SectionDone
from framepack.spec.request import GenerationRequest

GOAL = 0.2


def watch(
    request: GenerationRequest, folder: Path, clock: Callable[[], float], **machine: Any
) -> tuple[list[tuple[float, float]], float]:
    """(seconds since the start, estimate) after each section, and when the video was finished."""
    framepack = load(request.model, **machine)
    tracker, began = Tracker(request, clock=clock), clock()
    seen = []
    for event in framepack.generate(request, outputs=folder):
        tracker.update(event)
        if isinstance(event, SectionDone) and tracker.seconds_left is not None:
            seen.append((clock() - began, tracker.seconds_left))
    return seen, clock() - began


def main() -> int:
    """Print a line for each section; exit code 1 where the first estimate is off by more than the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--cache", default="none")
    parser.add_argument("--format", default="mp4")
    parser.add_argument("--processor", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        picture = Path(name) / "picture.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)).save(picture)
        request = GenerationRequest.model_validate(
            {
                "image": picture,
                "prompt": "The camera pans left.",
                **{key: getattr(given, key) for key in ("seconds", "steps", "model", "cache")},
                "output": {"format": given.format},
            }
        )
        seen, finished = watch(request, Path(name), time.process_time if given.processor else time.monotonic)
    print(f"{'section':>7} {'estimate':>9} {'truth':>9} {'error':>7}")
    errors = []
    for section, (at, estimate) in enumerate(seen[:-1], 1):
        truth = finished - at
        errors.append(estimate / truth - 1)
        print(f"{section:>7} {estimate:>8.1f}s {truth:>8.1f}s {errors[-1]:>+7.0%}")
    print(f"whole job {finished:.1f} s; after the first section off by {errors[0]:+.0%}")
    return 0 if abs(errors[0]) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
