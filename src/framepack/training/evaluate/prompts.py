"""How a model responds to prompts it was not trained on: paraphrases of its motions, and sentences about nothing known.

A paraphrase is followed as any prompt is. A sentence that asks for nothing known should leave the picture whole: still,
or in a gentle change of light. Boundary: requests videos and measures them; writes nothing.
"""

from collections.abc import Iterator

import numpy as np

from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS
from framepack.training.evaluate.evaluator import Evaluator, motion_fields, sheet_row
from framepack.training.evaluate.metrics import CEILING
from framepack.training.evaluate.results import ParaphraseResult, Settings, SheetRow, UnknownResult
from framepack.training.evaluate.scenes import Scene, photo_scenes, sprite_scenes

PARAPHRASES: dict[str, tuple[str, ...]] = {
    "pan left": ("The camera glides over to the left hand side", "leftward pan", "slide the view left",
                 "A slow sweep towards the left", "the shot drifts leftwards", "camera trucks left across the harbour",
                 "Die Kamera schwenkt nach links", "camrea pans left"),
    "pan right": ("the viewpoint wanders to the right", "camera sweeps from left to right", "truck right",
                  "look over to the right", "a rightward tracking shot", "turn the camera to the right",
                  "カメラが右にパンする"),
    "pan up": ("the camera ascends", "crane up", "look up to the sky", "tilting upward", "raise the camera",
               "die Kamera fährt nach oben"),
    "pan down": ("the camera descends", "look down", "lower the camera towards the ground", "tilting downwards",
                 "the view drops down"),
    "zoom in": ("get closer to the subject", "the camera approaches", "push in on the middle", "close in on the boat",
                "zoom", "the camera flies forward", "magnify the centre", "zoooom into the picture",
                "die Kamera kommt näher"),
    "zoom out": ("pull back", "the camera retreats", "back away from the scene", "widen the shot",
                 "pull out to reveal the surroundings", "the camera flies away", "ズームアウト"),
    "roll clockwise": ("rotate the picture to the right", "spin the camera clockwise", "a clockwise rotation",
                       "rotate clokwise", "die Kamera dreht sich im Uhrzeigersinn"),
    "roll counterclockwise": ("rotate anti-clockwise", "the picture spins counter-clockwise", "anticlockwise roll",
                              "roll the camera to the left"),
    "sway": ("handheld camera", "shaky cam", "rocking like a boat", "the camera wobbles"),
    "ripple": ("as if under water", "the surface undulates", "shimmering like a mirage", "waves run through the image"),
    "brighten": ("sunrise", "dawn breaks", "the lights come on", "light floods the room", "make it brighter",
                 "die Sonne geht auf"),
    "darken": ("dusk settles", "the lights go out", "fade to black", "the sun goes down", "dim the lights",
               "day turns to night", "es wird dunkel", "it gets darcker"),
    "warmer": ("golden hour", "the tones turn orange", "a warm glow", "make the colours warmer"),
    "cooler": ("the tones turn blue", "cold light", "everything becomes bluish", "icy tint"),
    "still": ("don't move the camera", "no movement at all", "locked-off shot", "a motionless picture",
              "the camera never pans left", "do not zoom in", "die Kamera bewegt sich nicht", "カメラは動かない"),
    "sprite bounces": ("the dog jumps", "a frog hops across the stone"),
    "sprite falls": ("the vase drops to the floor", "the apple tumbles down"),
    "sprite left": ("the car drives to the left", "a man walks left"),
    "sprite right": ("the boat sails to the right",),
    "sprite up": ("the balloon floats up", "a rocket takes off"),
    "sprite grows": ("the balloon swells",),
    "sprite spins": ("the wheel spins",),
}  # fmt: skip
UNKNOWN = (
    "", "she smiles", "a beautiful woman in a red dress", "she dances gracefully, with clear movements, full of charm",
    "le chat dort", "el hombre sonríe a la cámara", "masterpiece, best quality, 4k", "a cat", "he is reading a book",
    "the room is full of people", "fireworks explode over the city", "smoke over the chimney", "der Mann lächelt",
    "女孩跳舞", "彼女は微笑む", "cinematic lighting, dramatic", "the farmer works in the field", "planning a trip",
    "birds in the sky", "asdf qwer zxcv", "!!!", "a dark forest", "the left house is the right one", "water", "🙂🙂",
    "two friends talk to each other and laugh", "snow", "the crowd cheers", "he waves at us", "a red car on a bridge",
)  # fmt: skip
WHOLE = 26.0
"""dB of the last frame to the start, a gain and an offset for each colour aside, of a picture that is whole."""


def paraphrased(evaluator: Evaluator) -> Iterator[ParaphraseResult]:
    """A result for each model and paraphrase, each on another picture; a cut-out's on pictures that have one."""
    photos, cut_outs = scenes_of(evaluator.settings)
    sentences = [(motion, sentence) for motion, sentences in PARAPHRASES.items() for sentence in sentences]
    for model in evaluator.settings.models:
        for index, (motion, sentence) in enumerate(sentences):
            is_sprite = motion in SPRITE_MOTIONS
            if not (scenes := cut_outs if is_sprite else photos):
                continue
            scene, seed = scenes[index % len(scenes)], evaluator.settings.seed + index
            request = evaluator.request(model, scene, motion, 0, prompt=sentence, seed=seed)
            video = evaluator.generate(request)
            motions = (*SPRITE_MOTIONS, "still") if is_sprite else tuple(MOTIONS)
            fields = motion_fields(request, video, scene, motion, motions)
            row = sheet_row(f"words-{model}", sentence[:24], video, scene, motion, fields["nearest"])
            evaluator.samples.append(row)
            yield ParaphraseResult(**fields, prompt=sentence)
    for scene in (*photos, *cut_outs):
        scene.clear_cache()


def unknown(evaluator: Evaluator) -> Iterator[UnknownResult]:
    """A result for each model and sentence that asks for nothing known."""
    photos, _ = scenes_of(evaluator.settings)
    for model in evaluator.settings.models:
        for index, sentence in enumerate(UNKNOWN if photos else ()):
            scene, seed = photos[index % len(photos)], evaluator.settings.seed + index
            video = evaluator.generate(evaluator.request(model, scene, "still", 0, prompt=sentence, seed=seed))
            near = relit_psnr(video[-1], scene.picture)
            frames = (scene.picture, video[len(video) // 2], video[-1])
            labels = (sentence[:24] or "(empty)", "half way", f"end, {near:.1f} dB")
            evaluator.samples.append(SheetRow(sheet=f"unknown-{model}", frames=frames, labels=labels))
            yield UnknownResult(model=model, kind=scene.kind, scene=scene.name, prompt=sentence, psnr=near)


def scenes_of(settings: Settings) -> tuple[list[Scene], list[Scene]]:
    """Photos, and pictures with a cut-out."""
    return photo_scenes(settings.photos, settings.size), sprite_scenes(settings.procedural, settings.size)


def relit_psnr(frame: np.ndarray, start: np.ndarray) -> float:
    """dB of a frame (H, W, 3) to the start picture after the best gain and offset of each colour."""
    errors = []
    for channel in range(3):
        x, y = start[..., channel].astype(np.float64).ravel(), frame[..., channel].astype(np.float64).ravel()
        gain = np.cov(x, y, bias=True)[0, 1] / max(x.var(), 1e-9)
        errors.append(np.mean((y - y.mean() - gain * (x - x.mean())) ** 2))
    error = float(np.mean(errors))
    return min(CEILING, 10 * float(np.log10(255**2 / error))) if error else CEILING
