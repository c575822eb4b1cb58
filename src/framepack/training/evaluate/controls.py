"""What --motion and --consistency do: the amplitude of the best-fitting true motion, how near the end is to the start.

A video's amplitude is the factor on the prompt's true motion whose rendered video is nearest by PSNR: optical flow
misleads on soft frames. Its last second is compared with the start picture after that warp is undone, in the picture's
middle half, where nothing was uncovered. Boundary: requests videos and measures them; writes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from framepack.spec.geometry import HUNYUAN
from framepack.training.evaluate.evaluator import Evaluator, motion_fields
from framepack.training.evaluate.metrics import Video, psnr, roughness
from framepack.training.evaluate.results import ControlResult, SheetRow, VideoRequest
from framepack.training.evaluate.scenes import Picture, Scene, true_frames

SWEEPS = {"motion": (-1.0, -0.5, 0.0, 0.5, 1.0), "consistency": (0.0, 0.5, 1.0, 1.5, 2.0)}
NEUTRAL = {"motion": 0.0, "consistency": 1.0}
SECTIONS = 2
"""Length of the videos."""
FACTORS = np.geomspace(0.35, 2.8, 61)
"""Amplitudes that are tried."""
FITTED = 10
"""Frames of a video that a warp is fitted to."""
EVERY = 5
"""Of the last second, every so many frames are compared with the start."""


def controlled(evaluator: Evaluator, scene: Scene) -> Iterator[ControlResult]:
    """A result for each model, motion, control and value of it; the neutral video of both controls is made once."""
    for model in evaluator.settings.models:
        for number, motion in enumerate(evaluator.settings.steered):
            plain = evaluator.request(model, scene, motion, number, sections=SECTIONS)
            neutral = measured(plain, evaluator.generate(plain), scene, motion)
            for control, value in ((control, value) for control, values in SWEEPS.items() for value in values):
                video, fields = neutral
                if value != NEUTRAL[control]:
                    request = replace(plain, steering={control: value})
                    video, fields = measured(request, evaluator.generate(request), scene, motion)
                frames = tuple(video[at] for at in np.linspace(0, len(video) - 1, 5).round().astype(int))
                labels = (f"{control} {value:g}", *(f"{at:.0%}" for at in (0.25, 0.5, 0.75, 1)))
                sheet = f"controls-{model}-{scene.kind}-{scene.index}-{motion}"
                evaluator.samples.append(SheetRow(sheet=sheet, frames=frames, labels=labels))
                yield ControlResult(control=control, value=value, **fields)


def measured(request: VideoRequest, video: Video, scene: Scene, motion: str) -> tuple[Video, dict[str, Any]]:
    """The video, and the fields of its result."""
    amplitude, near = fit(video, scene.picture, motion)
    return video, motion_fields(request, video, scene, motion) | {
        "amplitude": amplitude,
        "psnr": near,
        "start": nearness(video, scene.picture, motion, amplitude),
        "roughness": float(roughness(video)[0]),
    }


def fit(video: Video, picture: Picture, motion: str, factors: Sequence[float] = tuple(FACTORS)) -> tuple[float, float]:
    """The factor whose true video is nearest, and how near, dB."""
    at = torch.linspace(1, len(video) - 1, FITTED).round()
    shown = video[at.int().numpy()]
    scores = [psnr(shown, true_frames(picture, motion, at, factor)) for factor in factors]
    best = int(np.argmax(scores))
    return float(factors[best]), scores[best]


def nearness(video: Video, picture: Picture, motion: str, factor: float) -> float:
    """dB of the last second to the start picture, the fitted warp undone, over the picture's middle half."""
    high, wide = picture.shape[0] // 4, picture.shape[1] // 4
    inner = np.s_[high:-high, wide:-wide]
    at = range(max(len(video) - HUNYUAN.fps, 1), len(video), EVERY)
    undone = [true_frames(video[i], motion, torch.tensor([float(i)]), -factor)[0][inner] for i in at]
    return float(np.mean([psnr(frame[None], picture[inner][None]) for frame in undone]))
