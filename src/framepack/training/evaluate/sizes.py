"""How near a model's videos are at other sizes and other numbers of steps than its own: what its defaults rest on.

Each video is judged against the true one of its own size. Boundary: asks a `Maker` and measures; shows and writes
nothing.
"""

from collections.abc import Iterator

from framepack.training.evaluate.cases import nearest_motion, photo_scenes, prompt_for
from framepack.training.evaluate.metrics import psnr, sharpness
from framepack.training.evaluate.rows import Ask, Maker, Settings, Sized


def sized(settings: Settings, make: Maker) -> Iterator[Sized]:
    """A row for each model, photo, motion, side and number of steps."""
    for side in settings.sides:
        for index, scene in enumerate(photo_scenes(settings.photos, (side, side))):
            for model in settings.models:
                for number, motion in enumerate(settings.motions):
                    for steps in settings.step_counts:
                        ask = Ask(
                            model=model,
                            picture=scene.picture,
                            prompt=prompt_for(motion, index),
                            seed=settings.seed + 1000 * index + number,
                            side=side,
                            steps=steps,
                        )
                        video = make(ask)
                        truth = scene.truth(motion, len(video))
                        yield Sized(
                            model=model,
                            kind="photos",
                            scene=scene.name,
                            motion=motion,
                            nearest=nearest_motion(video, scene),
                            psnr=psnr(video[1:], truth[1:]),
                            side=side,
                            steps=steps,
                            sharpness=float(sharpness(video[1:])[0] / max(sharpness(truth[1:])[0], 1e-6)),
                        )
            scene.forget()
