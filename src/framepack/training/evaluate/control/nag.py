"""NAG: a prompt of two motions, one of them as the negative prompt, which must fall while the other stays.

Both amplitudes are those of the true video of the two that is nearest by PSNR. A pair counts where the model shows the
motion that is not wanted at all: mini often shows only the first of two.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from framepack.training.data.motions import MOTIONS
from framepack.training.evaluate.control.bench import Bench, Row
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.metrics import Video, psnr
from framepack.training.evaluate.scenes import Picture, prompt_for, true_mix

PAIRS = (("pan left", "darken"), ("pan left", "cooler"), ("zoom out", "cooler"), ("zoom out", "darken"))
WAYS: dict[str, dict[str, Any]] = {
    "nag 1": {},
    "nag 5": {"nag": 5.0},
    "nag 11": {"nag": 11.0},
    "nag 5, strict": {"nag": 5.0, "nag_tau": 1.0, "nag_alpha": 0.75, "nag_end": 0.0},
}
"""The first is without it."""
FRAMES = 8
"""Of a video that true ones are compared with."""
KEPT = 0.85
SHOWN = 0.5
"""Amplitude from which on a motion is there to be taken away."""
COARSE, FINE = np.arange(-0.5, 2.51, 0.5), np.arange(-0.375, 0.376, 0.125)


@dataclass(frozen=True, kw_only=True)
class Amplitudes:
    """Factors on both true motions."""

    kept: float
    unwanted: float


def fitted_pair(video: Video, picture: Picture, kept: str, unwanted: str) -> Amplitudes:
    """The mix of two true motions whose video is nearest: tried coarsely, then finely around the best."""
    at = torch.linspace(1, len(video) - 1, FRAMES).round()
    shown, rates = video[at.int().numpy()], [MOTIONS[motion].row() for motion in (kept, unwanted)]

    def best(firsts: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
        def near(factors: tuple[float, float]) -> float:
            return psnr(shown, true_mix(picture, rates[0] * factors[0] + rates[1] * factors[1], at))

        return max(product(firsts, seconds), key=near)

    found = best(COARSE.tolist(), COARSE.tolist())
    one, two = best((found[0] + FINE).tolist(), (found[1] + FINE).tolist())
    return Amplitudes(kept=one, unwanted=two)


def nag(bench: Bench) -> Iterator[Row]:
    """A row for each model, scene, pair (each motion once as the one not wanted) and way."""
    for model in bench.orders():
        for scene in bench.scenes():
            for pair in PAIRS:
                said = " and ".join(prompt_for(motion, scene.index) for motion in pair)
                for kept, unwanted in (pair, pair[::-1]):
                    for name, way in WAYS.items():
                        negative = prompt_for(unwanted, scene.index)
                        request = bench.request(model, scene, prompt=said, negative_prompt=negative, **way)
                        began = time.process_time()
                        video = bench.frames(request)
                        took = time.process_time() - began
                        found = fitted_pair(video, scene.picture, kept, unwanted)
                        yield Row(
                            part="nag",
                            model=model,
                            scene=scene.name,
                            case=f"{kept}, not {unwanted}, {name}",
                            values={"kept": found.kept, "unwanted": found.unwanted, "seconds": took},
                        )


def nag_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Of pairs that are shown: whether the unwanted one falls by half, and the other one stays."""
    ways, slower = {name: [] for name in WAYS if name not in ("nag 1", "nag 11")}, []
    for _, part in grouped(rows, lambda row: (row.model, row.scene, row.case.partition(", nag")[0])):
        plain, *others = (row.values for row in part)
        found = dict(zip(list(WAYS)[1:], others, strict=False))
        slower += [led["seconds"] / plain["seconds"] for led in others if "seconds" in led]
        if min(plain["unwanted"], plain["kept"]) >= SHOWN:
            for name in ways.keys() & found.keys():
                led = found[name]
                ways[name].append((led["unwanted"] <= plain["unwanted"] / 2, led["kept"] >= KEPT * plain["kept"]))
    for name, held in ways.items():
        if held:
            fallen, stayed = (mean(one) for one in zip(*held, strict=True))
            pairs = f"of {len(held)} prompts of two motions that are shown"
            yield Goal(goal=f"{name}: the one not wanted falls by half, {pairs}", wanted=1.0, reached=fallen)
            yield Goal(goal=f"{name}: the other one stays, {pairs}", wanted=1.0, reached=stayed)
    if slower:
        yield Goal(goal="nag: time of a video, times", wanted=1.6, reached=float(np.median(slower)), at_most=True)
