"""Whether NAG leads away from a negative prompt: mini's motions, told the opposite motion as what should not happen.

python benchmarks/nag_effect.py [--models mini] [--side 96] [--scenes 1] [--motions "pan left" "zoom in"]

amplitude: how many times the motion of the prompt's true video was made (1: as trained); psnr: to that video, dB.
"""

import argparse

import framepack
from framepack.training.evaluate.evaluator import Evaluator
from framepack.training.evaluate.guided import OPPOSITE, led_away
from framepack.training.evaluate.pipeline import pipeline_generator, pipeline_reconstruct
from framepack.training.evaluate.results import Settings
from framepack.training.evaluate.scenes import procedural_scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mini"])
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--scenes", type=int, default=1)
    parser.add_argument("--motions", nargs="+", default=list(OPPOSITE))
    args = parser.parse_args()
    settings = Settings(models=tuple(args.models), size=(args.side, args.side), steered=tuple(args.motions))
    models = {name: framepack.load(name) for name in args.models}
    evaluator = Evaluator(
        settings=settings,
        generate=pipeline_generator(models, settings),
        reconstruct=pipeline_reconstruct(next(iter(models.values()))),
        samples=[],
    )
    print("| model | scene | motion | control | amplitude | psnr |\n|---|---|---|---|---|---|")
    for scene in procedural_scenes(args.scenes, settings.size):
        for found in led_away(evaluator, scene):
            cells = (
                found.model,
                found.scene,
                found.motion,
                found.setting,
                f"{found.amplitude:.2f}",
                f"{found.psnr:.1f}",
            )
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
