"""The drift guard: how far a long video drifts with and without it, whether light still changes, what it costs.

Colour: how far the mean colour of the last third of the sections, in the order they are made, lies from that of the
first two; some of them are decoded, each in its middle. Contrast and sharpness: the logarithm of their ratio, either
way. Light: a prompt for it, over four sections.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from framepack.pipeline.drift import DriftGuard, DriftMeter
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
FIRST = range(2)
"""Sections that others are compared with: those that the guard lets pass."""
EVERY = 5
"""Of the others every so many are looked at, from the last one back."""
SEEN = 3
"""Latents in a section's middle that are decoded to look at it: the VAE takes nearly all of a section's time."""
TIMED = 200
"""How often the guard is called to be timed."""


def guard(bench: Bench) -> Iterator[Row]:
    """A row for each model, scene and strength, then for each prompt for light."""
    sections = bench.settings.sections
    for model in bench.orders():
        for scene in bench.scenes():
            for strength in STRENGTHS:
                long = bench.request(model, scene, "pan left", seconds=SECTION * sections, guard=strength)
                made = bench.latents(long)
                looks, seconds = looked_at(bench, model, made)
                values = drifted(looks, len(made)) | ({"cost": cost(made, strength, seconds)} if strength else {})
                course = tuple(float(np.linalg.norm(np.subtract(a.colour, looks[0].colour))) for a in looks.values())
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


def looked_at(bench: Bench, model: str, made: Sequence[SectionResult]) -> tuple[dict[int, Look], float]:
    """What some sections look like, by their index, and the seconds that a latent takes to be decoded."""
    places = sorted(set(range(len(made))[::-EVERY]) | set(FIRST) & set(range(len(made))))
    meter, looks, took = DriftMeter(None), {}, []
    with torch.inference_mode(), bench.model(model).memory.lease("vae") as vae:
        for place in places:
            middle = (made[place].latents.shape[2] - SEEN) // 2
            latents = made[place].latents[:, :, max(middle, 0) :][:, :, :SEEN]
            began = time.perf_counter()
            looks[place] = meter.look(vae.decode_float(latents))
            took.append((time.perf_counter() - began) / latents.shape[2])
    return looks, float(np.median(took))


def drifted(looks: Mapping[int, Look], sections: int) -> dict[str, float]:
    """How far the last third of so many sections lies from the first two. looks: by the sections' index."""
    first = [look for at, look in looks.items() if at in FIRST]
    last = [look for at, look in looks.items() if at >= sections - max(sections // 3, 1)]

    def ratio(name: str) -> float:
        after, before = (mean(getattr(look, name) for look in part) for part in (last, first))
        return abs(math.log(max(after, 1e-6) / max(before, 1e-6)))

    colours = [np.mean([look.colour for look in part], axis=0) for part in (last, first)]
    return {
        "colour": float(np.linalg.norm(np.subtract(*colours))),
        "contrast": ratio("contrast"),
        "sharpness": ratio("sharpness"),
    }


def cost(made: Sequence[SectionResult], strength: float, seconds: float) -> float:
    """The guard's share of a section's time. seconds: what a latent takes to be decoded, which was not done here."""
    guard = DriftGuard(strength)
    for one in made[:2]:
        guard.note(one.section, one.latents)
    began = time.perf_counter()
    for _ in range(TIMED):
        guard.held(made[-1].section, made[-1].latents)
    whole = float(np.median([one.seconds + seconds * one.section.decode_latents for one in made]))
    return (time.perf_counter() - began) / TIMED / whole


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
