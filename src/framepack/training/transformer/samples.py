"""Sample videos of a model that is being trained: made by the real pipeline from its averaged weights, and measured.

A sampling writes the model as it stands, opens it like any other, and asks it for one section of held-out pictures.
Boundary: reads weights, changes nothing of the training; draws no random number that the training would draw.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo

from framepack.media.marks import MARKED
from framepack.media.sheet import contact_sheet, save_png
from framepack.media.video import VideoWriter
from framepack.pipeline.framepack import FramePack
from framepack.spec.geometry import HUNYUAN
from framepack.training.curve import append_row
from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS
from framepack.training.data.sample_recipe import Sampled
from framepack.training.evaluate.cases import Scene, procedural_scenes, prompt_for, sprite_scenes
from framepack.training.evaluate.maker import pipeline_maker
from framepack.training.evaluate.metrics import Video
from framepack.training.evaluate.rows import Ask, Followed, Sample, Settings
from framepack.training.evaluate.run import CUT_OUTS, followed
from framepack.training.transformer.export import export_transformer, export_vae
from framepack.training.transformer.recipe import Recipe

MODEL = "mini"
SEED = 7


class Sampler:
    """Makes the sample videos of one run, in its folder."""

    def __init__(
        self, recipe: Recipe, folder: Path, vae: AutoencoderKLHunyuanVideo, device: torch.device | str
    ) -> None:
        """`folder` gets `model/` (written anew at each sampling), `samples/` and `samples.csv`."""
        self.recipe, self.folder, self.device = recipe, folder, device
        wanted = recipe.samples
        self.settings = Settings(models=(MODEL,), size=wanted.size, steps=wanted.steps)
        self.scenes = procedural_scenes(wanted.pictures, wanted.size)
        self.cut_outs = sprite_scenes(wanted.pictures, wanted.size)
        export_vae(folder / "model", vae)

    def sample(self, step: int, samples: int, weights: dict[str, torch.Tensor]) -> Sampled:
        """Videos with these weights: a contact sheet, an mp4, a line in `samples.csv`."""
        began = time.monotonic()
        export_transformer(self.folder / "model", self.recipe, weights, step, samples)
        framepack = FramePack.load(MODEL, models_dir=self.folder / "model", device=self.device)
        make = pipeline_maker({MODEL: framepack}, self.settings)
        rows: list[Followed] = []
        sheet: list[Sample] = []
        videos: list[tuple[Video, Video]] = []
        for index in range(self.recipe.samples.pictures):
            for motion in self.recipe.samples.motions:
                scene, motions = self.case(motion, index)
                ask = Ask(model=MODEL, picture=scene.picture, prompt=prompt_for(motion, index), seed=SEED + index)
                video = make(ask)
                row, sample = followed(ask, video, scene, motion, "procedural", index, motions)
                rows.append(row)
                sheet.append(sample)
                videos.append((video, scene.truth(motion, len(video))))
        framepack.memory.close()
        stem = self.folder / "samples" / f"step-{step:06d}"
        stem.parent.mkdir(exist_ok=True)
        pictures = [frame for sample in sheet for frame in sample.frames]
        labels = [label for sample in sheet for label in sample.labels]
        save_png(stem.with_suffix(".png"), contact_sheet(pictures, len(sheet[0].frames), labels=labels), MARKED)
        write_grid(stem.with_suffix(".mp4"), videos)
        moving = [row.gain for row in rows if row.motion != "still"]
        result = Sampled(
            step=step,
            samples=samples,
            followed=sum(row.hit for row in rows) / len(rows),
            psnr=sum(row.psnr for row in rows) / len(rows),
            gain=sum(moving) / max(len(moving), 1),
            seconds=time.monotonic() - began,
        )
        append_row(self.folder / "samples.csv", vars(result))
        return result

    def case(self, motion: str, index: int) -> tuple[Scene, Sequence[str]]:
        """A picture to move so, and what it might be taken for."""
        if motion in SPRITE_MOTIONS:
            return self.cut_outs[index], CUT_OUTS
        return self.scenes[index], tuple(MOTIONS)


def write_grid(file: Path, pairs: Sequence[tuple[Video, Video]], columns: int = 3) -> None:
    """An mp4 of videos beside their true ones, `columns` pairs in a row."""
    tiles = [np.concatenate(pair, axis=2) for pair in pairs]
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.concatenate(tiles[start : start + columns], axis=2) for start in range(0, len(tiles), columns)]
    whole = np.concatenate(rows, axis=1)
    size = whole.shape[2], whole.shape[1]
    with VideoWriter(file, fps=HUNYUAN.fps, size=size, format="mp4", metadata=MARKED) as writer:
        writer.write(whole)
