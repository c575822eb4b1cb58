"""Paraphrases, unknown sentences and sizes, measured on videos that are known."""

import numpy as np

from framepack.training.evaluate.prompts import PARAPHRASES, UNKNOWN, relit_psnr
from framepack.training.evaluate.results import Settings, VideoRequest
from framepack.training.evaluate.run import evaluate
from framepack.training.evaluate.scenes import procedural_scenes, true_video

MOTION_OF = {sentence: motion for motion, sentences in PARAPHRASES.items() for sentence in sentences}


def perfect(request: VideoRequest) -> np.ndarray:
    """The true video of what a sentence means; of any other a still one."""
    motion = MOTION_OF.get(request.prompt, "still")
    return true_video(request.picture, "still" if motion.startswith("sprite") else motion, 13)


def test_a_perfect_model_follows_all_and_keeps_all_whole() -> None:
    settings = Settings(models=("mini",), size=(32, 32), procedural=0, photos=1, parts=("words", "unknown"))
    found = evaluate(settings, perfect, lambda video: video)
    camera = sum(len(said) for motion, said in PARAPHRASES.items() if not motion.startswith("sprite"))
    assert len(found.words) == camera
    assert all(row.hit for row in found.words)
    assert [row.prompt for row in found.unknown] == list(UNKNOWN)
    assert all(row.psnr == 100 for row in found.unknown)


def test_sizes_and_steps_are_asked_one_by_one() -> None:
    requests: list[VideoRequest] = []
    kinds = {"sides": (32, 48), "step_counts": (2, 4), "motions": ("pan left", "still")}
    settings = Settings(models=("mini",), procedural=0, photos=1, parts=("sizes",), **kinds)

    def generate(request: VideoRequest) -> np.ndarray:
        requests.append(request)
        return true_video(request.picture, "pan left", 9)

    found = evaluate(settings, generate, lambda video: video)
    assert [(request.side, request.steps) for request in requests] == [
        (side, steps) for side in (32, 48) for _ in "ab" for steps in (2, 4)
    ]
    assert [row.hit for row in found.sizes] == 2 * [True, True, False, False]
    assert all(row.sharpness == 1 for row in found.sizes if row.hit)


def test_a_picture_is_whole_in_another_light_and_not_when_it_is_moved() -> None:
    picture = procedural_scenes(1, (64, 64))[0].picture
    assert relit_psnr((picture * 0.5 + 20).round().astype(np.uint8), picture) > 45
    assert relit_psnr(np.roll(picture, 8, axis=1), picture) < 26
