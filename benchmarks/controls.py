"""What --motion and --consistency do on mini: amplitude of the best-fitting true warp, nearness to it and to the start.

    python benchmarks/controls.py [--motions "pan left" "zoom in"] [--photos 1] [--procedural 2] [--steps 6]

A video's amplitude is the factor on the prompt's true motion whose rendered video is nearest by PSNR. Its end is
compared with the start picture after that warp is undone, in the picture's middle half, where nothing was uncovered.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

import framepack
from framepack.app.runtime import open_framepack
from framepack.media.read import read_video
from framepack.pipeline.framepack import FramePack
from framepack.training.evaluate_cases import Scene, photo_scenes, procedural_scenes, prompt_for
from framepack.training.evaluate_metrics import Video, psnr, roughness
from framepack.training.motions import MOTIONS, render, state_at

FACTORS = np.geomspace(0.35, 2.8, 61)
FITTED = 10
"""Frames of a video that a warp is fitted to."""
LAST = 30
"""Frames of the last second."""
SWEEPS = {"motion": (-1.0, -0.5, 0.0, 0.5, 1.0), "consistency": (0.0, 0.5, 1.0, 1.5, 2.0)}


def warped(picture: np.ndarray, motion: str, at: np.ndarray, factor: float) -> Video:
    """`picture` moved by `factor` times a motion's true rates, at these frames: (T, H, W, 3) uint8."""
    rates = MOTIONS[motion].row()[None] * factor
    levels = torch.tensor(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    moved = render(levels, state_at(torch.tensor(at), rates, rates, torch.zeros(1)))[0].permute(1, 2, 3, 0)
    return (moved * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def fit(video: Video, picture: np.ndarray, motion: str) -> tuple[float, float]:
    """The factor whose true video is nearest, and how near, dB."""
    at = np.linspace(1, len(video) - 1, FITTED).round().astype(int)
    scores = [psnr(video[at], warped(picture, motion, at, factor)) for factor in FACTORS]
    best = int(np.argmax(scores))
    return float(FACTORS[best]), scores[best]


def nearness(video: Video, picture: np.ndarray, motion: str, factor: float) -> float:
    """dB of the last second to the start picture, the fitted warp undone, over the picture's middle."""
    inner = np.s_[picture.shape[0] // 4 : -(picture.shape[0] // 4), picture.shape[1] // 4 : -(picture.shape[1] // 4)]
    at = range(max(len(video) - LAST, 1), len(video), 5)
    undone = [warped(video[i], motion, np.array([i]), -factor)[0][inner] for i in at]
    return float(np.mean([psnr(frame[None], picture[inner][None]) for frame in undone]))


def make(model: FramePack, scene: Scene, prompt: str, arguments: argparse.Namespace, **control: Any) -> Video:
    """The video of one scene with one setting of a control."""
    with tempfile.TemporaryDirectory() as folder:
        request = framepack.GenerationRequest(
            image=framepack.picture(scene.picture, folder=Path(folder)),
            prompt=prompt,
            model=model.model,
            seconds=arguments.seconds,
            seed=5,
            steps=arguments.steps,
            width=scene.picture.shape[1],
            height=scene.picture.shape[0],
            output={"path": Path(folder) / "v.mkv", "live": False},  # pyright: ignore[reportArgumentType]
            **control,
        )
        *_, finished = model.generate(request)
        return np.stack(list(read_video(finished.file)))  # pyright: ignore[reportAttributeAccessIssue]


def main() -> None:
    """Sweep both controls in both orders; one row for each setting, means over the scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motions", nargs="+", default=["pan left", "zoom in", "roll clockwise"])
    parser.add_argument("--controls", nargs="+", default=list(SWEEPS), choices=list(SWEEPS))
    parser.add_argument("--models", nargs="+", default=["mini", "mini-f1"])
    parser.add_argument("--photos", type=int, default=1)
    parser.add_argument("--procedural", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.4)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    size = (arguments.size, arguments.size)
    scenes = procedural_scenes(arguments.procedural, size) + photo_scenes(arguments.photos, size)
    print("| model | motion | control | amplitude | dB to that warp | last second to the start, dB | frame noise |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.models:
        model = open_framepack(name, dtype="bfloat16", device="cpu")
        for control in arguments.controls:
            for motion in arguments.motions:
                for value in SWEEPS[control]:
                    rows = []
                    for scene in scenes:
                        video = make(model, scene, prompt_for(motion, 0), arguments, **{control: value})
                        factor, near = fit(video, scene.picture, motion)
                        start = nearness(video, scene.picture, motion, factor)
                        rows.append((factor, near, start, roughness(video)[0]))
                    means = " | ".join(f"{mean:.2f}" for mean in np.mean(rows, axis=0))
                    print(f"| {name} | {motion} | {control} {value:g} | {means} |", flush=True)


if __name__ == "__main__":
    main()
