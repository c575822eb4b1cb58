"""Prompts over time and keyframes: when a prompt takes over and how abruptly, how near keyframes are reached.

Prompts are judged on latents (`over_time`), keyframes on decoded frames: dB to the picture at its time, the picture of
a pan. Boundary: requests videos and measures them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from framepack.spec.geometry import HUNYUAN
from framepack.spec.variants import VARIANTS
from framepack.training.evaluate.control.bench import SECTION, Bench, Row
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.metrics import psnr
from framepack.training.evaluate.over_time import TrueChanges, largest_step, latents_of
from framepack.training.evaluate.scenes import Scene, prompt_for

PAIRS = (("still", "darken"), ("pan left", "pan right"), ("roll clockwise", "pan up"), ("brighten", "darken"))
CHANGES = (*((second, 0.0) for second in (0.6, 1.2, 1.8, 2.0, 2.4, 3.0)), (2.4, 1.2))
"""When the prompt changes, and over how many seconds it blends."""
LENGTH = 3.6
ABRUPT = 3.0
KEYED = 20
"""The frame at which a keyframe stands; a video has as many behind it, or ends there."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
PLACES = ("middle", "end")


def prompts(bench: Bench) -> Iterator[Row]:
    """A row for each scene, pair of prompts, model and time of the change: a pair's true videos are made once."""
    for scene in bench.scenes():
        for pair in PAIRS:
            truth = TrueChanges(scene.picture, *pair, round(LENGTH * HUNYUAN.fps) // HUNYUAN.temporal)
            for model in bench.orders():
                for second, blend in CHANGES:
                    yield changed(bench, model, scene, truth, second, blend)


def changed(bench: Bench, model: str, scene: Scene, truth: TrueChanges, second: float, blend: float) -> Row:
    """When one of a pair of motions took over from the other, and how abruptly."""
    before, after = truth.motions
    said = f"{prompt_for(before, 0)} [{second}s: {prompt_for(after, 0)}]"
    asked = bench.request(model, scene, prompt=said, seconds=LENGTH, length="exact", blend=blend)
    latents = latents_of(bench.model(model), asked)
    with bench.model(model).memory.lease("vae") as vae:
        video = np.asarray(vae.preview_map()(latents), np.float32)
    found = truth.nearest(video)
    step, true = (largest_step(one, second) for one in (video, truth.small(second * HUNYUAN.fps)))
    return Row(
        part="prompts",
        model=model,
        scene=scene.name,
        case=f"{before}, then {after} at {second:g} s" + (f", blend {blend:g}" if blend else ""),
        values={
            "asked": second,
            "found": found.second,
            "off": abs(found.second - second),
            "size before": found.before,
            "size after": found.after,
            "largest step": step.size,
            "it is at": step.second,
            "true step": true.size,
        },
    )


def prompts_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Every change within a section of its time, and none abrupt: by itself, and beside what a true video does."""
    if rows:
        off, steps, true = ([row.values[name] for row in rows] for name in ("off", "largest step", "true step"))
        what = "timed prompts: seconds off, most"
        yield Goal(goal=what, wanted=SECTION, reached=max(off), at_most=True)
        what = "timed prompts: largest step over the median"
        yield Goal(goal=f"{what}, most", wanted=ABRUPT, reached=max(steps), at_most=True)
        more = [made / max(of, ABRUPT) for made, of in zip(steps, true, strict=True)]
        what = f"{what}, in times of {ABRUPT:g} or of the true video's own where that is more, most"
        yield Goal(goal=what, wanted=1.0, reached=max(more), at_most=True)


def keyframes(bench: Bench) -> Iterator[Row]:
    """A row for each model, scene and place, a column for each strength and one for the VAE alone."""
    for model in bench.orders():
        for scene in bench.scenes():
            key = scene.truth("pan left", KEYED + 1)[KEYED]
            file = bench.save(key, "key")
            for place in PLACES if VARIANTS[model].keyframes_ahead else ():
                values = {}
                for strength in STRENGTHS:
                    frames = bench.frames(bench.request(model, scene, **given(place, file, strength)))
                    values[f"{strength:g}"] = psnr(frames[KEYED][None], key[None])
                with torch.inference_mode(), bench.model(model).memory.lease("vae") as vae:
                    values["VAE alone"] = psnr(vae.decode(vae.encode(key[None])), key[None])
                course = tuple(values[f"{strength:g}"] for strength in STRENGTHS)
                yield Row(part="keyframes", model=model, scene=scene.name, case=place, values=values, course=course)
            scene.clear_cache()


def given(place: str, file: object, strength: float) -> dict[str, Any]:
    """Fields of a request with a keyframe at frame KEYED, or that ends with one there."""
    picture, second = {"image": file, "strength": strength}, KEYED / HUNYUAN.fps
    if place == "end":
        return {"seconds": second + 1 / HUNYUAN.fps, "length": "exact", "end_frame": picture}
    return {"seconds": 2 * second, "length": "exact", "frames": [picture | {"second": second}]}


def keyframes_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Nearer with each strength, and at 1 as near as the VAE lets a picture be."""
    if rows:
        rising = [all(a < b for a, b in zip(row.course, row.course[1:], strict=False)) for row in rows]
        short = [row.values["VAE alone"] - row.values["1"] for row in rows]
        yield Goal(goal="keyframes: dB rise with each strength, of all", wanted=1.0, reached=mean(rising))
        yield Goal(
            goal="keyframes: dB short of the VAE at strength 1, most", wanted=1.0, reached=max(short), at_most=True
        )
        for (place,), part in grouped(rows, lambda row: (row.case,)):
            gain = min(row.values["1"] - row.values["0"] for row in part)
            yield Goal(goal=f"keyframes: dB that strength 1 brings, {place}, least", wanted=5.0, reached=gain)
