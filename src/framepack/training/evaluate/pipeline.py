"""A model's own pipeline as an evaluation's `Generate` and `Reconstruct`: a request in, the file's frames out.

Boundary: calls `FramePack.generate` like a user; videos go through lossless files in a temporary folder.
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
from framepack.spec.parts import EndFrame, Keyframe
from framepack.spec.picture import Picture as PictureFile
from framepack.spec.request import GenerationRequest
from framepack.training.evaluate.metrics import Video
from framepack.training.evaluate.results import Generate, Reconstruct, Settings, VideoRequest
from framepack.training.evaluate.scenes import Picture


def pipeline_generator(framepacks: Mapping[str, FramePack], settings: Settings) -> Generate:
    """Generates each video with the model of its name; one model's weights are loaded at a time."""
    loaded: list[str] = []

    def generate(video: VideoRequest) -> Video:
        if loaded and loaded[0] != video.model:
            framepacks[loaded[0]].unload()
        loaded[:] = [video.model]
        with tempfile.TemporaryDirectory(prefix="framepack-eval-") as folder:
            request = request_of(video, settings, Path(folder))
            *_, finished = framepacks[video.model].generate(request)
            assert isinstance(finished, Finished)
            return np.stack(list(read_video(finished.file)))

    return generate


def pipeline_reconstruct(framepack: FramePack) -> Reconstruct:
    """Encodes and decodes with the model's VAE."""

    @torch.inference_mode()
    def reconstruct(video: Video) -> Video:
        with framepack.memory.lease("vae") as vae:
            return vae.decode(vae.encode(video))

    return reconstruct


def request_of(video: VideoRequest, settings: Settings, folder: Path) -> GenerationRequest:
    """As the pipeline takes it; its pictures and its video go into `folder`."""
    width, height = (video.side, video.side) if video.side else settings.size
    return GenerationRequest(
        image=_save(video.picture, folder / "start.png"),
        prompt=video.prompt,
        negative_prompt=video.negative,
        model=video.model,
        seconds=settings.seconds * video.sections,
        seed=video.seed,
        steps=video.steps or settings.steps,
        sampler=settings.sampler,  # pyright: ignore[reportArgumentType]
        window=settings.window,
        length="sections",
        width=width,
        height=height,
        end_frame=None if video.end is None else EndFrame(image=_save(video.end, folder / "end.png")),
        frames=tuple(
            Keyframe(image=_save(picture, folder / f"key-{i}.png"), second=second)
            for i, (second, picture) in enumerate(video.keyframes)
        ),
        **video.steering,  # pyright: ignore[reportArgumentType]
        output=OutputSettings(path=folder / "video.mkv", format="mkv", live=False),
    )


def _save(picture: Picture, file: Path) -> PictureFile:
    Image.fromarray(picture).save(file, compress_level=1)
    return PictureFile(file=file)
