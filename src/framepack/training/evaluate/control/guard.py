"""The drift guard: how far a long video drifts with and without it, whether light still changes, what it costs.

Colour: how far the mean colour of the last third of the sections, in the order they are made, lies from that of the
first two. Contrast and sharpness: the logarithm of their ratio, either way. Light: a prompt for it, over four sections.
"""

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np

from framepack.pipeline.drift import DriftGuard
from framepack.pipeline.engine import SectionResult
from framepack.spec.events import Look
from framepack.training.evaluate.control.bench import SECTION, Bench, Row
from framepack.training.evaluate.controls import fit
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import mean
from framepack.training.evaluate.scenes import nearest_motion

STRENGTHS = (0.0, 0.5, 1.0)
LIGHT = ("darken", "warmer")
LIGHT_SECTIONS = 4
"""Two more than the guard lets pass."""
TIMED = 200
"""How often the guard is called to be timed."""


def guard(bench: Bench) -> Iterator[Row]:
    """A row for each model, scene and strength, then for each prompt for light."""
    sections = bench.settings.sections
    for model in bench.orders():
        for scene in bench.scenes():
            for strength in STRENGTHS:
                long = bench.request(model, scene, "pan left", seconds=SECTION * sections, guard=strength)
                made = bench.sections(long)
                looks = [one.look for one in made if one.look]
                values = drifted(looks) | ({"cost": cost(made, strength)} if strength else {})
                course = tuple(float(np.linalg.norm(np.subtract(a.colour, looks[0].colour))) for a in looks)
                yield Row(
                    part="guard",
                    model=model,
                    scene=scene.name,
                    case=f"guard {strength:g}",
                    values=values,
                    course=course,
                )
            for motion in LIGHT:
                for strength in STRENGTHS:
                    lit = bench.request(model, scene, motion, seconds=LIGHT_SECTIONS * SECTION, guard=strength)
                    video = bench.frames(lit)
                    values = {
                        "amplitude": fit(video, scene.picture, motion)[0],
                        "followed": float(nearest_motion(video, scene) == motion),
                    }
                    case = f"{motion}, guard {strength:g}"
                    yield Row(part="guard", model=model, scene=scene.name, case=case, values=values)
            scene.clear_cache()


def drifted(looks: Sequence[Look]) -> dict[str, float]:
    """How far the last third of the sections lies from the first two."""
    first, last = looks[:2], looks[-max(len(looks) // 3, 1) :]

    def ratio(name: str) -> float:
        after, before = (mean(getattr(look, name) for look in part) for part in (last, first))
        return abs(math.log(max(after, 1e-6) / max(before, 1e-6)))

    colours = [np.mean([look.colour for look in part], axis=0) for part in (last, first)]
    return {
        "colour": float(np.linalg.norm(np.subtract(*colours))),
        "contrast": ratio("contrast"),
        "sharpness": ratio("sharpness"),
    }


def cost(made: Sequence[SectionResult], strength: float) -> float:
    """The guard's share of a section's time."""
    guard = DriftGuard(strength)
    for one in made[:2]:
        guard.note(one.section, one.latents)
    began = time.perf_counter()
    for _ in range(TIMED):
        guard.held(made[-1].section, made[-1].latents)
    return (time.perf_counter() - began) / TIMED / float(np.median([one.seconds for one in made]))


def guard_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Drift with the guard at 1 over that without, means over models and scenes; and what it must leave alone."""
    plain, held = ([row.values for row in rows if row.case == case] for case in ("guard 0", "guard 1"))
    for name, wanted in (("colour", 1 / 3), ("contrast", 1 / 3), ("sharpness", 1 / 2)):
        if plain and held:
            moved = mean(values[name] for values in held) / max(mean(values[name] for values in plain), 1e-6)
            what = f"guard 1: drift of the {name} over that without it, means"
            yield Goal(goal=what, wanted=wanted, reached=moved, at_most=True)
    if costs := [row.values["cost"] for row in rows if "cost" in row.values]:
        yield Goal(goal="guard: share of a section's time, worst", wanted=0.01, reached=max(costs), at_most=True)
    lit = [row.values["followed"] for row in rows if "followed" in row.values and not row.case.endswith("guard 0")]
    if lit:
        yield Goal(goal="guard: light prompts followed", wanted=1.0, reached=mean(lit))
