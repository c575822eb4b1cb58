"""Does the phase loss (which sub-pixel of a latent is this?) make a better decoder? Trained twice, with and without.

Both trainings begin with the same linear fit, see the same batches and leave the encoder as it is, unless it is given a
rate. What is measured is the PSNR of photos (from the scikit-image and scikit-learn packages) and of held-out
procedural pictures that were encoded and decoded. `told apart`: the share of a latent's pixels and frames, over all
levels and the last batch, whose phase can be read off the decoder's states.

    python benchmarks/vae_phases.py [--steps 1500] [--size 128] [--only with] [--encoder-rate 1.5e-4] [--every 250]
"""

import argparse
import math
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from framepack.training.allocator import keep_freed_memory
from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.pool import draw_images
from framepack.training.evaluate.scenes import Scene, photo_files, photo_scenes, procedural_scenes
from framepack.training.vae.recipe import VaeRecipe
from framepack.training.vae.train import VaeTrainer, fit_vae

WEIGHTS = {"without": 0.0, "with": 0.02}
PICTURES = 1000
"""drawn once for both trainings"""


def main() -> None:
    """Print a line for each training."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=1500)
    arguments.add_argument("--size", type=int, default=128, help="of the pictures that are measured")
    arguments.add_argument("--only", choices=tuple(WEIGHTS), help="one of the two trainings")
    arguments.add_argument("--encoder-rate", type=float, default=0.0)
    arguments.add_argument(
        "--every", type=int, default=0, help="a line every so many steps too, of weights not averaged"
    )
    options = arguments.parse_args()
    keep_freed_memory()
    size = (options.size, options.size)
    scenes = {"photos": photo_scenes(len(photo_files()), size), "procedural": procedural_scenes(8, size)}
    pool = draw_images([(6, 0, number) for number in range(PICTURES)], 192)
    print(f"{options.steps} steps, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    fitted = fit_vae(VaeRecipe(), 1, pool)
    row("fitted", fitted, scenes, 0.5)
    for name, weight in WEIGHTS.items():
        if options.only not in (None, name):
            continue
        vae = deepcopy(fitted)
        rates = {"encoder_rate": options.encoder_rate, "decoder_rate": 3e-4}
        recipe = VaeRecipe(steps=options.steps, decay=0.6, phases=weight, **rates)
        trainer = VaeTrainer(vae, pool, recipe, 1)
        for number in range(options.steps):
            _, accuracy = trainer.step(number)
            if options.every and not (number + 1) % options.every and number + 1 < options.steps:
                row(f"{name}, {number + 1}", vae, scenes, accuracy)
        trainer.module.load_state_dict(trainer.module.state_dict() | trainer.optimizer.averaged())
        row(name, vae, scenes, accuracy)


@torch.no_grad()
def row(name: str, vae: Any, scenes: dict[str, list[Scene]], accuracy: float) -> None:
    """What a VAE leaves of each kind of picture."""
    encoder = BlockEncoder(vae)
    means = []
    for kind in scenes.values():
        errors = []
        for scene in kind:
            picture = torch.from_numpy(np.array(scene.picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
            made = vae.decode(encoder.image(picture) / encoder.scaling_factor).sample[:, :, 0].clamp(-1, 1)
            errors.append(-10 * math.log10(float((made - picture).square().mean()) / 4))
        means.append(sum(errors) / len(errors))
    shown = "  ".join(f"{kind} {value:.2f} dB" for kind, value in zip(scenes, means, strict=True))
    print(f"{name:10}  {shown}  told apart {accuracy:.0%}", flush=True)


if __name__ == "__main__":
    main()
