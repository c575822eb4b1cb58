"""A reference picture: whether the video comes nearer to it, and whether it still moves as it was asked to.

Distance: root mean square difference of 16-pixel blocks of the last second to the reference, in levels of 0..255; mean
colour alone as well. The reference is another scene's picture.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from framepack.pipeline.drift import DriftMeter
from framepack.spec.geometry import HUNYUAN
from framepack.training.evaluate.control.bench import SECTION, Bench, Row
from framepack.training.evaluate.controls import fit
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import grouped
from framepack.training.evaluate.metrics import Video
from framepack.training.evaluate.scenes import Picture, Scene, procedural_scenes

STRENGTHS = (0.0, 0.3, 1.0)
SECTIONS = 2
STILL_MOVES = 0.85


def reference(bench: Bench) -> Iterator[Row]:
    """A row for each model, scene, motion and strength; 0 is without a reference."""
    for model in bench.orders():
        for scene in bench.scenes():
            other = another(scene, bench.settings.size)
            file = bench.save(other, "reference")
            for motion in bench.settings.steered:
                for strength in STRENGTHS:
                    given = {"reference": {"image": file, "strength": strength}} if strength else {}
                    video = bench.frames(bench.request(model, scene, motion, seconds=SECTIONS * SECTION, **given))
                    values = nearness(video, other) | {"amplitude": fit(video, scene.picture, motion)[0]}
                    case = f"{motion}, reference {strength:g}"
                    yield Row(part="reference", model=model, scene=scene.name, case=case, values=values)


def another(scene: Scene, size: tuple[int, int]) -> Picture:
    """A held-out picture that is not the scene's."""
    return procedural_scenes(scene.index + 2, size)[-1].picture


def nearness(video: Video, picture: Picture) -> dict[str, float]:
    """Of the last second, in levels."""
    last = torch.tensor(video[-HUNYUAN.fps :]).float() / 127.5 - 1
    look = DriftMeter(picture).look(last)
    assert look.distance is not None
    colour = np.linalg.norm(np.subtract(look.colour, picture.mean(axis=(0, 1))))
    return {"distance": look.distance, "colour": float(colour)}


def reference_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """At the usual strength, the worst motion of each."""
    nearer, moving = [], []
    for _, part in grouped(rows, lambda row: (row.model, row.scene, row.case.partition(",")[0])):
        plain, usual = (row.values for row in part[:2])
        nearer.append(usual["distance"] < plain["distance"])
        moving.append(usual["amplitude"] / plain["amplitude"])
    if nearer:
        share = float(np.mean(nearer))
        yield Goal(goal="reference 0.3: videos that end nearer to it", wanted=1.0, reached=share)
        what = "reference 0.3: amplitude over that without it"
        yield Goal(goal=f"{what}, median", wanted=STILL_MOVES, reached=float(np.median(moving)))
        yield Goal(goal=f"{what}, least", wanted=STILL_MOVES, reached=min(moving))
