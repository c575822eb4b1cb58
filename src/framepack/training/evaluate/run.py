"""How well a model does what it is asked: prompt following, nearness, sharpness, keyframe reach, drift, controls.

Everything is asked of a `Maker`, which for a model is its whole pipeline (`pipeline_maker`), so that what is measured
is what a user gets; tests put known videos in its place. Boundary: measures and counts; shows and writes nothing.
Method: the true continuation of a picture is known for each motion, so a video is said to follow its prompt when, of
all motions' true videos ("still" included), the nearest by PSNR is the prompt's. Drift: FramePack, arXiv 2504.12626.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from framepack.spec.geometry import HUNYUAN
from framepack.spec.variants import VARIANTS
from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS
from framepack.training.evaluate.cases import (
    Scene,
    nearest_motion,
    photo_files,
    photo_scenes,
    procedural_scenes,
    prompt_for,
    sprite_scenes,
)
from framepack.training.evaluate.controls import controlled
from framepack.training.evaluate.metrics import Video, drift, psnr, sharpness, ssim
from framepack.training.evaluate.rows import (
    Ask,
    Codec,
    Coded,
    Controlled,
    Drifted,
    Evaluation,
    Followed,
    FollowedSprite,
    Maker,
    Reached,
    Row,
    Sample,
    Settings,
)
from framepack.training.evaluate.sizes import sized
from framepack.training.evaluate.words import unknown, worded

REPETITION = "repetition"
"""The order that drift compares with: each section starts anew from the last frame of the one before."""
KEYED = ("pan left", "zoom in", "roll clockwise", "darken", "pan down", "zoom out")
"""Motions whose frames are given as key frames, one after the other."""
CUT_OUTS = (*SPRITE_MOTIONS, "still")
"""What the cut-out of a picture may have done."""


def evaluate(
    settings: Settings,
    make: Maker,
    code: Codec,
    *,
    on_row: Callable[[Row], None] = lambda _: None,
    into: Evaluation | None = None,
) -> Evaluation:
    """Make all videos and measure them; `on_row` hears each result at once.

    into: what to fill, for a caller that wants to keep what there is when something ends it.
    Where photos are asked for, the VAE alone, which costs next to nothing, is measured on every photo that is here.
    """
    result = into or Evaluation(settings=settings)
    kinds = {
        "procedural": procedural_scenes(settings.procedural, settings.size),
        "photos": photo_scenes(settings.photos, settings.size),
    }
    if len(kinds["photos"]) < settings.photos:
        result.notices.append(
            f"{len(kinds['photos'])} of {settings.photos} photos are here: scikit-image and scikit-learn bring more"
        )
    if settings.photos and "codec" in settings.parts:
        for scene in photo_scenes(len(photo_files()), settings.size)[settings.photos :]:
            result.codec.append(_codec(settings, "photos", scene, code))
            on_row(result.codec[-1])
    for kind, scenes in kinds.items():
        for row in _rows(settings, kind, scenes, make, code, result.samples):
            getattr(result, _LISTS[type(row)]).append(row)
            on_row(row)
    more: dict[str, Iterator[Row]] = {
        "sizes": sized(settings, make),
        "words": worded(settings, make, result.samples),
        "unknown": unknown(settings, make, result.samples),
    }
    for part, rows in more.items():
        for row in rows if part in settings.parts else ():
            getattr(result, part).append(row)
            on_row(row)
    if "sprites" in settings.parts:
        for index, scene in enumerate(sprite_scenes(settings.procedural, settings.size)):
            for row in _sprites(settings, index, scene, make, result.samples):
                result.sprites.append(row)
                on_row(row)
    return result


_LISTS = {Followed: "following", Reached: "keyframes", Drifted: "drift", Coded: "codec", Controlled: "controls"}


def _rows(
    settings: Settings, kind: str, scenes: Sequence[Scene], make: Maker, code: Codec, samples: list[Sample]
) -> Iterator[Row]:
    for index, scene in enumerate(scenes):
        if "codec" in settings.parts:
            yield _codec(settings, kind, scene, code)
        if "following" in settings.parts:
            yield from _following(settings, kind, index, scene, make, samples)
        if "keyframes" in settings.parts:
            yield from _keyframes(settings, kind, index, scene, make)
        if "drift" in settings.parts and index < settings.drift_scenes:
            yield from _drifting(settings, kind, index, scene, make, samples)
        if "controls" in settings.parts:
            yield from controlled(settings, kind, index, scene, make, samples)
        scene.forget()


def _following(
    settings: Settings, kind: str, index: int, scene: Scene, make: Maker, samples: list[Sample]
) -> Iterator[Followed]:
    for model in settings.models:
        for number, motion in enumerate(settings.motions):
            ask = Ask(
                model=model,
                picture=scene.picture,
                prompt=prompt_for(motion, index),
                seed=settings.seed + 1000 * index + number,
            )
            row, sample = followed(ask, make(ask), scene, motion, kind, index)
            samples.append(sample)
            yield row


def _sprites(
    settings: Settings, index: int, scene: Scene, make: Maker, samples: list[Sample]
) -> Iterator[FollowedSprite]:
    for model in settings.models:
        for number, motion in enumerate(SPRITE_MOTIONS):
            prompt, seed = prompt_for(motion, 7 * index), settings.seed + 1000 * index + number
            ask = Ask(model=model, picture=scene.picture, prompt=prompt, seed=seed)
            row, sample = followed(ask, make(ask), scene, motion, "cut-outs", index, CUT_OUTS)
            samples.append(sample)
            yield FollowedSprite(**vars(row))


def followed(
    ask: Ask,
    video: Video,
    scene: Scene,
    motion: str,
    kind: str,
    index: int,
    motions: Sequence[str] = tuple(MOTIONS),
) -> tuple[Followed, Sample]:
    """What a video shows of the `motion` it was asked for, among `motions`; and its row of a contact sheet."""
    truth = scene.truth(motion, len(video))
    row = Followed(
        model=ask.model,
        kind=kind,
        scene=scene.name,
        motion=motion,
        prompt=ask.prompt,
        nearest=nearest_motion(video, scene, motions),
        psnr=psnr(video[1:], truth[1:]),
        ssim=ssim(video[1:], truth[1:]),
        still_psnr=psnr(scene.still(len(video))[1:], truth[1:]),
        sharpness=_ratio(video, truth),
    )
    shown = (scene.picture, video[len(video) // 2], video[-1], truth[-1])
    labels = (motion, "half way", "end" if row.hit else f"as {row.nearest}", "true end")
    return row, Sample(sheet=f"following-{ask.model}-{kind}-{index}", frames=shown, labels=labels)


def _keyframes(settings: Settings, kind: str, index: int, scene: Scene, make: Maker) -> Iterator[Reached]:
    motion = KEYED[index % len(KEYED)]
    section = HUNYUAN.temporal * settings.window
    for model in settings.inverted:
        for place, sections, frame in (("end", 1, section), ("middle", 2, section)):
            key = scene.truth(motion, section + 1)[frame]
            ask = {"model": model, "picture": scene.picture, "prompt": "", "sections": sections}
            ask["seed"] = settings.seed + 1000 * index
            guided = {"end": key} if place == "end" else {"keyframes": ((settings.seconds, key),)}
            given, without = make(Ask(**ask, **guided)), make(Ask(**ask))  # pyright: ignore[reportArgumentType]
            yield Reached(
                model=model,
                kind=kind,
                scene=scene.name,
                place=place,
                given=psnr(given[frame], key),
                without=psnr(without[frame], key),
            )


def _drifting(
    settings: Settings, kind: str, index: int, scene: Scene, make: Maker, samples: list[Sample]
) -> Iterator[Drifted]:
    seed = settings.seed + 1000 * index
    for motion in settings.drifting:
        ask = Ask(
            model=settings.models[0],
            picture=scene.picture,
            prompt=prompt_for(motion, index),
            sections=settings.sections,
            seed=seed,
        )
        truth = scene.truth(motion, HUNYUAN.temporal * settings.window * settings.sections + 1)
        for order, video in (*_long_videos(settings, ask, make), ("truth", truth)):
            yield _drifted(settings, order, kind, scene, motion, video, truth)
            ends = np.array_split(np.arange(len(video)), settings.sections)
            frames = (video[0], *(video[part[-1]] for part in ends))
            labels = (f"{motion}, {order}", *(f"section {i + 1}" for i in range(settings.sections)))
            samples.append(Sample(sheet=f"drift-{kind}-{index}", frames=frames, labels=labels))


def _long_videos(settings: Settings, ask: Ask, make: Maker) -> Iterator[tuple[str, Video]]:
    """The same video in each order there is a model for, and by plain repetition of image-to-video."""
    planners = {VARIANTS[model].planner: model for model in reversed(settings.models)}
    for planner, model in sorted(planners.items(), reverse=True):
        yield planner, make(replace(ask, model=model))
    pieces: list[Video] = []
    for section in range(ask.sections):
        picture = pieces[-1][-1] if pieces else ask.picture
        piece = make(replace(ask, picture=picture, sections=1, seed=ask.seed + section))
        pieces.append(piece if section == 0 else piece[1:])
    yield REPETITION, np.concatenate(pieces)


def _drifted(
    settings: Settings, order: str, kind: str, scene: Scene, motion: str, video: Video, truth: Video
) -> Drifted:
    parts = zip(*(np.array_split(frames[1:], settings.sections) for frames in (video, truth)), strict=True)
    return Drifted(
        order=order,
        kind=kind,
        scene=scene.name,
        motion=motion,
        drift=drift(video, settings.sections),
        nearness=tuple(psnr(made, true) for made, true in parts),
    )


def _codec(settings: Settings, kind: str, scene: Scene, code: Codec) -> Coded:
    clip = scene.truth("pan left", HUNYUAN.temporal * settings.window + 1)
    image, coded = code(clip[:1]), code(clip)
    return Coded(
        kind=kind,
        scene=scene.name,
        image_psnr=psnr(image, clip[:1]),
        clip_psnr=psnr(coded, clip),
        sharpness=_ratio(coded, clip),
    )


def _ratio(video: Video, truth: Video) -> float:
    """Sharpness of one over that of the other."""
    return float(sharpness(video[1:])[0] / max(sharpness(truth[1:])[0], 1e-6))
