"""What NAG, the drift guard and pictures that are seen again do: videos of a scene with and without, measured.

NAG is told the opposite of the prompt's motion: where it leads away, the motion's amplitude grows. The guard and what
is shown again are measured by how far a long video drifts. Boundary: requests videos and measures them; writes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from framepack.training.evaluate.controls import measured
from framepack.training.evaluate.evaluator import Evaluator
from framepack.training.evaluate.metrics import drift
from framepack.training.evaluate.results import ControlResult, DriftResult
from framepack.training.evaluate.scenes import Scene, prompt_for

OPPOSITE = {"pan left": "pan right", "zoom in": "zoom out", "roll clockwise": "roll counterclockwise"}
AWAY: tuple[Mapping[str, float], ...] = ({}, {"nag": 5.0}, {"nag": 11.0}, {"cfg": 2.0}, {"cfg": 3.0})
"""Ways to lead away from the negative prompt, the first none."""
HELD: tuple[Mapping[str, float], ...] = ({}, {"guard": 0.5}, {"guard": 1.0}, {"restate": 2}, {"restate": 1})
"""Ways to hold a long video to its begin, the first none."""


def led_away(evaluator: Evaluator, scene: Scene, sections: int = 1) -> Iterator[ControlResult]:
    """A result for each model, motion with an opposite, and way. At `nag` 1, none, the negative prompt has no say."""
    for model in evaluator.settings.models:
        for number, motion in enumerate(motion for motion in evaluator.settings.steered if motion in OPPOSITE):
            plain = evaluator.request(model, scene, motion, number, sections=sections)
            plain = replace(plain, negative=prompt_for(OPPOSITE[motion], scene.index))
            for way in AWAY:
                request = replace(plain, steering=way)
                _, fields = measured(request, evaluator.generate(request), scene, motion)
                control, value = next(iter(way.items()), ("nag", 1.0))
                yield ControlResult(control=control, value=value, **fields)


def held(evaluator: Evaluator, scene: Scene, motion: str) -> Iterator[tuple[str, DriftResult]]:
    """For each model and way, its name and how far a long video of `motion` drifts."""
    sections = evaluator.settings.sections
    for model in evaluator.settings.models:
        for way in HELD:
            request = evaluator.request(model, scene, motion, 0, sections=sections, steering=way)
            video = evaluator.generate(request)
            name = " ".join(f"{control} {value:g}" for control, value in way.items()) or "none"
            found = drift(video, sections)
            yield (
                name,
                DriftResult(kind=scene.kind, scene=scene.name, order=model, motion=motion, drift=found, nearness=()),
            )
