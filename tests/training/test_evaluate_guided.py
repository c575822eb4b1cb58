"""Measures of guidance and guard tell videos that follow them from those that do not."""

from dataclasses import replace

import numpy as np
from test_evaluate import MOTION_OF, SMALL, exact, frames_of

from framepack.training.evaluate.evaluator import Evaluator
from framepack.training.evaluate.guided import held, led_away
from framepack.training.evaluate.results import VideoRequest
from framepack.training.evaluate.scenes import procedural_scenes, true_frames

SETTINGS = replace(SMALL, steered=("pan left", "still"))
(SCENE,) = procedural_scenes(1, SETTINGS.size)


def evaluator(generate) -> Evaluator:
    return Evaluator(settings=SETTINGS, generate=generate, reconstruct=exact, samples=[])


def faster(request: VideoRequest) -> np.ndarray:
    """Moves twice as far where NAG leads it away from the opposite."""
    assert MOTION_OF[request.negative] == "pan right"
    factor = 2.0 if "nag" in request.steering else 1.0
    frames = [true_frames(request.picture, "pan left", i, factor) for i in at(request)]
    return np.concatenate(frames)


def at(request: VideoRequest):
    import torch

    return [torch.tensor([float(i)]) for i in range(frames_of(request))]


def fading(request: VideoRequest) -> np.ndarray:
    """Darkens, unless it is guarded."""
    video = np.repeat(request.picture[None], frames_of(request), axis=0).astype(float)
    if "guard" not in request.steering:
        video *= np.linspace(1, 0.5, len(video))[:, None, None, None]
    return video.astype(np.uint8)


def test_a_motion_that_nag_makes_larger_has_a_larger_amplitude() -> None:
    found = {(one.control, one.value): one.amplitude for one in led_away(evaluator(faster), SCENE)}
    assert found.keys() == {("nag", 1.0), ("nag", 5.0), ("nag", 11.0), ("cfg", 2.0), ("cfg", 3.0)}
    assert found["nag", 5.0] == found["nag", 11.0] > 1.5 * found["nag", 1.0]
    assert found["cfg", 3.0] == found["nag", 1.0]


def test_a_video_that_is_held_drifts_less() -> None:
    found = {name: one.drift["colour mean"].difference for name, one in held(evaluator(fading), SCENE, "pan left")}
    assert found["guard 0.5"] == found["guard 1"] < 1 < found["none"]
    assert found["restate 2"] == found["none"]
