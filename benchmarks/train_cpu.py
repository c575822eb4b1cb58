"""A training step of the mini model on one core: PyTorch's attention or ours, freed memory given back or kept.

Every way runs in a process of its own, in turn, on the same batches (128 x 128, no picture pool is drawn but noise).

    python benchmarks/train_cpu.py [--rounds 3] [--steps 6]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from framepack.models.attention import BACKENDS, SLOW_FLASH
from framepack.models.hunyuan.blocks import Execution
from framepack.training.allocator import keep_freed_memory
from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.pool import ImagePool
from framepack.training.transformer import recipe as recipe_module
from framepack.training.transformer.export import write_tokenizers
from framepack.training.transformer.recipe import Recipe
from framepack.training.transformer.trainer import Trainer
from framepack.training.vae.encoder import fit_encoder, new_vae

RECIPE = Path(recipe_module.__file__).parent / "recipes" / "mini.toml"
WAYS = ("sdpa, given back", "sdpa, kept", "auto, given back", "auto, kept")
STEPS = 10_000
"""a late part of the recipe, where sizes are mixed and sections have histories"""


class Noise(ImagePool):
    """A pool that need not be drawn."""

    def at(self, step: int) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (64, 192, 192, 3), np.uint8)


def seconds(way: str, steps: int) -> float:
    """Of a step, without the first two."""
    backend, freed = way.split(", ")
    torch.set_num_threads(1)
    if freed == "kept" and not keep_freed_memory():
        return float("nan")
    recipe = Recipe.read(RECIPE)
    recipe = replace(recipe, phases=(replace(recipe.phases[-1], batch=8, sizes=((128, 128),)),))
    vae = new_vae(recipe.vae.channels, recipe.vae.latent_channels, recipe.vae.layers)
    fit_encoder(vae, torch.rand(4, 3, 9, 64, 64))
    with tempfile.TemporaryDirectory() as folder:
        pool = Noise(recipe.pool, recipe.seed, 1)
        trainer = Trainer(recipe, pool, BlockEncoder(vae), write_tokenizers(Path(folder)), torch.device("cpu"))
    transformer = trainer.model.transformer
    transformer.forward = partial(transformer.forward, execution=Execution(attention=BACKENDS[backend]))
    for number in range(steps + 2):
        if number == 2:
            began = time.perf_counter()
        trainer.step(STEPS + number)
    return (time.perf_counter() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(seconds(args.way, args.steps))
        return
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way, times in took.items():
            command = [sys.executable, __file__, "--way", way, "--steps", str(args.steps)]
            times.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"torch {torch.__version__}, 1 thread; auto is {'our bf16 attention' if SLOW_FLASH else 'sdpa'} on this CPU")
    print("attention, freed memory  s a step  times as fast")
    first = median(took[WAYS[0]])
    for way, times in took.items():
        print(f"{way:24} {median(times):8.2f} {first / median(times):14.2f}")


if __name__ == "__main__":
    main()
