"""When a timed prompt takes over, how abruptly, and how near keyframes of each strength are reached: mini, both orders.

    python benchmarks/prompts_over_time.py prompts [SECONDS ...]
    python benchmarks/prompts_over_time.py blend
    python benchmarks/prompts_over_time.py keyframes [PHOTOS]

Prompts are judged without the VAE (`training.evaluate.over_time`), keyframes on decoded frames. See
docs/control.md.
"""

import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from framepack import FramePack, GenerationRequest
from framepack.spec.geometry import HUNYUAN
from framepack.training.evaluate.metrics import psnr
from framepack.training.evaluate.over_time import largest_step, latents_of, takes_over, true_small
from framepack.training.evaluate.scenes import photo_scenes, prompt_for

MODELS = ("mini", "mini-f1")
PAIRS = (("still", "darken"), ("pan left", "pan right"), ("roll clockwise", "pan up"), ("brighten", "darken"))
SECONDS = (0.6, 1.2, 1.8, 2.0, 2.4, 3.0)
LENGTH = 3.6
SIZE = 128
KEYED = 20
"""The frame at which a keyframe stands; a video has as many behind it, or ends there."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def preview(framepack: FramePack, latents: torch.Tensor) -> np.ndarray:
    """Small frames, one for each latent."""
    with framepack.memory.lease("vae") as vae:
        return np.asarray(vae.preview_map()(latents), np.float32)


def prompts(folder: Path, *, blend: float = 0.0, seconds: tuple[float, ...] = SECONDS) -> None:
    """A line for each model, pair of prompts and time: when it took over, and the largest step."""
    scene = photo_scenes(2, (SIZE, SIZE))[1]
    Image.fromarray(scene.picture).save(folder / "start.png")
    truth = cache(partial(true_small, scene.picture))
    for model in MODELS:
        framepack = FramePack.load(model, device="cpu")
        for before, after in PAIRS:
            for second in seconds:
                request = GenerationRequest(
                    image=folder / "start.png", model=model, seconds=LENGTH, width=SIZE, height=SIZE, blend=blend,
                    prompt=f"{prompt_for(before, 0)} [{second}s: {prompt_for(after, 0)}]",
                )  # fmt: skip
                video = preview(framepack, latents_of(framepack, request))
                found = takes_over(video, partial(truth, before, after, len(video)))
                step = largest_step(video, second)
                print(f"| {model} | {before}, {after} | {second:g} | {found:.2f} | {step:.1f} |", flush=True)


def keyframes(folder: Path, photos: int) -> None:
    """A line for each model, photo and place: dB at the keyframe's time by strength, and through the VAE alone."""
    frame = KEYED
    for model in MODELS:
        framepack = FramePack.load(model, device="cpu")
        for scene in photo_scenes(photos, (SIZE, SIZE)):
            key = scene.truth("pan left", frame + 1)[frame]
            for name, picture in (("start", scene.picture), ("key", key)):
                Image.fromarray(picture).save(folder / f"{name}.png")
            for place in ("middle", "end"):
                found = [nearness(framepack, folder, key, frame, place, strength) for strength in STRENGTHS]
                with framepack.memory.lease("vae") as vae:
                    alone = psnr(vae.decode(vae.encode(key[None])), key[None])
                cells = " | ".join(f"{one:.1f}" for one in (*found, alone))
                print(f"| {model} | {scene.name} | {place} | {cells} |", flush=True)


@torch.inference_mode()
def nearness(framepack: FramePack, folder: Path, key: np.ndarray, frame: int, place: str, strength: float) -> float:
    """dB between the picture and the video's frame at its time."""
    shared: dict[str, Any] = {"image": folder / "start.png", "model": framepack.model, "width": SIZE, "height": SIZE}
    given = {"image": folder / "key.png", "strength": strength}
    if place == "end":
        request = GenerationRequest(**shared, seconds=(frame + 1) / HUNYUAN.fps, end_frame=given)
    else:
        second = frame / HUNYUAN.fps
        request = GenerationRequest(**shared, seconds=2 * second, frames=[{**given, "second": second}])
    frames = framepack.frames(request)
    return psnr(frames[frame][None], key[None])


def main() -> None:
    """Print a table."""
    what, *rest = sys.argv[1:] or ["prompts"]
    with tempfile.TemporaryDirectory(prefix="framepack-over-time-") as folder:
        if what == "keyframes":
            keyframes(Path(folder), int(rest[0]) if rest else 2)
        else:
            seconds = tuple(map(float, rest)) or SECONDS
            prompts(Path(folder), blend=1.2 if what == "blend" else 0.0, seconds=seconds)


if __name__ == "__main__":
    main()
