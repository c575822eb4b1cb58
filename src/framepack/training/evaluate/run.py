"""How well a model does what it is asked: prompt following, nearness, sharpness, keyframe reach, drift, controls.

Each video comes from `Generate`, which for a model is its whole pipeline (`pipeline_generator`), so that a user gets
what is measured; tests put known videos in its place. Boundary: measures and counts; writes nothing.
Method: the true continuation of a picture is known for each motion, so a video follows its prompt when, of all motions'
true videos ("still" included), the nearest by PSNR is the prompt's. Drift: FramePack, arXiv 2504.12626.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from framepack.spec.geometry import HUNYUAN
from framepack.spec.variants import VARIANTS
from framepack.training.data.motions import SPRITE_MOTIONS
from framepack.training.evaluate.controls import controlled
from framepack.training.evaluate.evaluator import Evaluator, motion_fields, prompt_result, sheet_row
from framepack.training.evaluate.metrics import Video, drift, psnr, sharpness_ratio
from framepack.training.evaluate.prompts import paraphrased, unknown
from framepack.training.evaluate.results import (
    CodecResult,
    DriftResult,
    Evaluation,
    Generate,
    KeyframeResult,
    PromptResult,
    Reconstruct,
    Result,
    Settings,
    SheetRow,
    SizeResult,
    VideoRequest,
)
from framepack.training.evaluate.scenes import (
    Scene,
    photo_files,
    photo_scenes,
    procedural_scenes,
    prompt_for,
    sprite_scenes,
)

REPETITION = "repetition"
"""The order that drift compares with: each section starts anew from the last frame of the one before."""
KEYED = ("pan left", "zoom in", "roll clockwise", "darken", "pan down", "zoom out")
"""Motions whose frames are given as key frames, one after the other."""
CUT_OUTS = (*SPRITE_MOTIONS, "still")
"""What the cut-out of a picture may have done."""


def evaluate(
    settings: Settings,
    generate: Generate,
    reconstruct: Reconstruct,
    *,
    on_result: Callable[[str, Result], None] = lambda part, result: None,
    into: Evaluation | None = None,
) -> Evaluation:
    """Generate all videos and measure them; `on_result` is called with the part and each result at once.

    into: what to fill, for a caller that keeps the results so far when something ends it.
    If photos are asked for, the VAE alone, which costs next to nothing, is measured on every photo on this machine.
    """
    evaluation = into or Evaluation(settings=settings)
    samples = evaluation.samples
    evaluator = Evaluator(settings=settings, generate=generate, reconstruct=reconstruct, samples=samples)
    scenes = [*procedural_scenes(settings.procedural, settings.size), *photo_scenes(settings.photos, settings.size)]
    photos = len(scenes) - settings.procedural
    if photos < settings.photos:
        evaluation.notices.append(
            f"{photos} of {settings.photos} photos are here: scikit-image and scikit-learn bring more"
        )
    for part, result in _results(evaluator, scenes):
        getattr(evaluation, part).append(result)
        on_result(part, result)
    return evaluation


def _results(evaluator: Evaluator, scenes: list[Scene]) -> Iterator[tuple[str, Result]]:
    """All results, each with the name of its part."""
    settings = evaluator.settings
    if settings.photos and "codec" in settings.parts:
        for scene in photo_scenes(len(photo_files()), settings.size)[settings.photos :]:
            yield from (("codec", result) for result in _codec(evaluator, scene))
    for scene in scenes:
        for part, measure in SCENE_PARTS.items():
            if part in settings.parts:
                yield from ((part, result) for result in measure(evaluator, scene))
        scene.clear_cache()
    for part, measure in OTHER_PARTS.items():
        if part in settings.parts:
            yield from ((part, result) for result in measure(evaluator))


def _following(evaluator: Evaluator, scene: Scene) -> Iterator[PromptResult]:
    for model in evaluator.settings.models:
        for number, motion in enumerate(evaluator.settings.motions):
            request = evaluator.request(model, scene, motion, number)
            video = evaluator.generate(request)
            result = prompt_result(request, video, scene, motion)
            sheet = f"following-{model}-{scene.kind}-{scene.index}"
            evaluator.samples.append(sheet_row(sheet, motion, video, scene, motion, result.nearest))
            yield result


def _sprites(evaluator: Evaluator) -> Iterator[PromptResult]:
    settings = evaluator.settings
    for scene in sprite_scenes(settings.procedural, settings.size):
        for model in settings.models:
            for number, motion in enumerate(SPRITE_MOTIONS):
                prompt = prompt_for(motion, 7 * scene.index)
                request = evaluator.request(model, scene, motion, number, prompt=prompt)
                video = evaluator.generate(request)
                result = prompt_result(request, video, scene, motion, CUT_OUTS)
                sheet = f"following-{model}-{scene.kind}-{scene.index}"
                evaluator.samples.append(sheet_row(sheet, motion, video, scene, motion, result.nearest))
                yield result


def _keyframes(evaluator: Evaluator, scene: Scene) -> Iterator[KeyframeResult]:
    motion = KEYED[scene.index % len(KEYED)]
    settings = evaluator.settings
    frame = HUNYUAN.temporal * settings.window
    key = scene.truth(motion, frame + 1)[frame]
    for model in settings.inverted:
        for place, sections in (("end", 1), ("middle", 2)):
            plain = evaluator.request(model, scene, motion, 0, prompt="", sections=sections)
            keyed = replace(plain, end=key) if place == "end" else replace(plain, keyframes=((settings.seconds, key),))
            given, without = (psnr(evaluator.generate(request)[frame], key) for request in (keyed, plain))
            fields = {"model": model, "kind": scene.kind, "scene": scene.name, "place": place}
            yield KeyframeResult(**fields, given=given, without=without)


def _drifting(evaluator: Evaluator, scene: Scene) -> Iterator[DriftResult]:
    settings = evaluator.settings
    for motion in settings.drifting if scene.index < settings.drift_scenes else ():
        request = evaluator.request(settings.models[0], scene, motion, 0, sections=settings.sections)
        truth = scene.truth(motion, HUNYUAN.temporal * settings.window * settings.sections + 1)
        for order, video in (*_long_videos(evaluator, request), ("truth", truth)):
            parts = zip(*(np.array_split(frames[1:], settings.sections) for frames in (video, truth)), strict=True)
            yield DriftResult(
                order=order,
                kind=scene.kind,
                scene=scene.name,
                motion=motion,
                drift=drift(video, settings.sections),
                nearness=tuple(psnr(section, true) for section, true in parts),
            )
            ends = np.array_split(np.arange(len(video)), settings.sections)
            frames = (video[0], *(video[part[-1]] for part in ends))
            labels = (f"{motion}, {order}", *(f"section {i + 1}" for i in range(settings.sections)))
            sheet = f"drift-{scene.kind}-{scene.index}"
            evaluator.samples.append(SheetRow(sheet=sheet, frames=frames, labels=labels))


def _long_videos(evaluator: Evaluator, request: VideoRequest) -> Iterator[tuple[str, Video]]:
    """The same video in each order there is a model for, and by plain repetition of image-to-video."""
    planners = {VARIANTS[model].planner: model for model in reversed(evaluator.settings.models)}
    for planner, model in sorted(planners.items(), reverse=True):
        yield planner, evaluator.generate(replace(request, model=model))
    frames = request.picture[None]
    for section in range(request.sections):
        piece = evaluator.generate(replace(request, picture=frames[-1], sections=1, seed=request.seed + section))
        frames = np.concatenate([frames, piece[1:]]) if section else piece
    yield REPETITION, frames


def _codec(evaluator: Evaluator, scene: Scene) -> Iterator[CodecResult]:
    clip = scene.truth("pan left", HUNYUAN.temporal * evaluator.settings.window + 1)
    image, coded = evaluator.reconstruct(clip[:1]), evaluator.reconstruct(clip)
    yield CodecResult(
        kind=scene.kind,
        scene=scene.name,
        image_psnr=psnr(image, clip[:1]),
        clip_psnr=psnr(coded, clip),
        sharpness=sharpness_ratio(coded, clip),
    )


def _sizes(evaluator: Evaluator) -> Iterator[SizeResult]:
    """Videos of other sizes and numbers of steps, each compared with the true one of its size."""
    settings = evaluator.settings
    for side in settings.sides:
        for scene in photo_scenes(settings.photos, (side, side)):
            for model in settings.models:
                for number, motion in enumerate(settings.motions):
                    for steps in settings.step_counts:
                        request = evaluator.request(model, scene, motion, number, side=side, steps=steps)
                        video = evaluator.generate(request)
                        sharpness = sharpness_ratio(video, scene.truth(motion, len(video)))
                        fields = motion_fields(request, video, scene, motion)
                        yield SizeResult(**fields, side=side, steps=steps, sharpness=sharpness)
            scene.clear_cache()


SCENE_PARTS: dict[str, Callable[[Evaluator, Scene], Iterator[Result]]] = {
    "codec": _codec,
    "following": _following,
    "keyframes": _keyframes,
    "drift": _drifting,
    "controls": controlled,
}
OTHER_PARTS: dict[str, Callable[[Evaluator], Iterator[Result]]] = {
    "sizes": _sizes,
    "words": paraphrased,
    "unknown": unknown,
    "sprites": _sprites,
}
