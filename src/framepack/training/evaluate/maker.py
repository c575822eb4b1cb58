"""A model's own pipeline as an evaluation's `Maker` and `Codec`: a request in, the file's frames out.

Boundary: asks `FramePack.generate` like anybody else; videos go through lossless files in a temporary folder.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from framepack.media.read import read_video
from framepack.pipeline.framepack import FramePack
from framepack.spec.events import Finished
from framepack.spec.output import OutputSettings
from framepack.spec.picture import Picture as PictureFile
from framepack.spec.request import EndFrame, GenerationRequest, Keyframe
from framepack.training.evaluate.cases import Picture
from framepack.training.evaluate.metrics import Video
from framepack.training.evaluate.rows import Ask, Codec, Maker, Settings


def pipeline_maker(framepacks: Mapping[str, FramePack], settings: Settings) -> Maker:
    """Makes each `Ask` with the model of its name; the weights of one model are there at a time."""
    last: list[str] = []

    def make(ask: Ask) -> Video:
        if last and last[0] != ask.model:
            framepacks[last[0]].unload()
        last[:] = [ask.model]
        with tempfile.TemporaryDirectory(prefix="framepack-eval-") as folder:
            request = request_of(ask, settings, Path(folder))
            events = list(framepacks[ask.model].generate(request))
            finished = events[-1]
            assert isinstance(finished, Finished)
            return np.stack(list(read_video(finished.file)))

    return make


def pipeline_codec(framepack: FramePack) -> Codec:
    """Encodes and decodes with the model's VAE."""

    @torch.inference_mode()
    def code(video: Video) -> Video:
        with framepack.memory.lease("vae") as vae:
            return vae.decode(vae.encode(video))

    return code


def request_of(ask: Ask, settings: Settings, folder: Path) -> GenerationRequest:
    """The request of an `Ask`; its pictures and its video go into `folder`."""
    width, height = (ask.side, ask.side) if ask.side else settings.size
    return GenerationRequest(
        image=_save(ask.picture, folder / "start.png"),
        prompt=ask.prompt,
        model=ask.model,
        seconds=settings.seconds * ask.sections,
        seed=ask.seed,
        steps=ask.steps or settings.steps,
        sampler=settings.sampler,  # pyright: ignore[reportArgumentType]
        window=settings.window,
        length="sections",
        width=width,
        height=height,
        end_frame=None if ask.end is None else EndFrame(image=_save(ask.end, folder / "end.png")),
        frames=tuple(
            Keyframe(image=_save(picture, folder / f"key-{i}.png"), second=second)
            for i, (second, picture) in enumerate(ask.keyframes)
        ),
        **ask.steering,  # pyright: ignore[reportArgumentType]
        output=OutputSettings(path=folder / "video.mkv", format="mkv", live=False),
    )


def _save(picture: Picture, file: Path) -> PictureFile:
    Image.fromarray(picture).save(file, compress_level=1)
    return PictureFile(file=file)
