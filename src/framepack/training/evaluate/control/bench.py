"""What every measure of a control works with: scenes, models, and the ways from a request to frames.

Boundary: calls `FramePack` like a user, in a temporary folder; knows no measure.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from framepack.media.read import read_video
from framepack.media.video import VideoWriter
from framepack.pipeline.engine import SectionResult
from framepack.pipeline.framepack import FramePack
from framepack.spec.events import Finished
from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS
from framepack.training.evaluate.metrics import Video
from framepack.training.evaluate.results import Settings
from framepack.training.evaluate.scenes import Picture, Scene, photo_scenes, procedural_scenes, prompt_for

SECTION = 1.2
"""Seconds of a section of nine latents."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one video, or of one place in it."""

    part: str
    model: str
    scene: str
    case: str
    """What was asked, in a few words."""
    values: dict[str, float]
    """By the names of the table's columns."""
    course: tuple[float, ...] = ()
    """The value that matters over the sections, for a plot."""


@dataclass(kw_only=True)
class Bench:
    """The videos of an evaluation, made one after the other; the weights of one model are loaded at a time."""

    settings: Settings
    models: dict[str, FramePack]
    folder: Path
    """For pictures and videos on the way."""
    loaded: list[str] = field(default_factory=list)

    def scenes(self) -> list[Scene]:
        """Held-out pictures."""
        settings = self.settings
        drawn = procedural_scenes(settings.procedural, settings.size)
        return [*drawn, *photo_scenes(settings.photos, settings.size)]

    def orders(self, *planners: str) -> list[str]:
        """The models that are made in one of these orders; all without any."""
        return [name for name in self.settings.models if not planners or VARIANTS[name].planner in planners]

    def model(self, name: str) -> FramePack:
        """A model, with no other one's weights loaded."""
        if self.loaded and self.loaded[0] != name:
            self.models[self.loaded[0]].unload()
        self.loaded[:] = [name]
        return self.models[name]

    def save(self, picture: Picture, name: str) -> Path:
        """A picture as a lossless file."""
        file = self.folder / f"{name}.png"
        Image.fromarray(picture).save(file, compress_level=1)
        return file

    def clip(self, video: Video, name: str) -> Path:
        """A video as a lossless file."""
        file = self.folder / f"{name}.mkv"
        file.unlink(missing_ok=True)
        with VideoWriter(file, size=self.settings.size) as writer:
            writer.write(video)
        return file

    def request(self, model: str, scene: Scene, motion: str = "", **fields: Any) -> GenerationRequest:
        """A video of a scene, of one section where `seconds` says nothing else; its prompt asks for `motion`."""
        width, height = self.settings.size
        usual = {
            "image": self.save(scene.picture, "start"),
            "prompt": prompt_for(motion, scene.index) if motion else "",
            "model": model,
            "seconds": SECTION,
            "length": "sections",
            "width": width,
            "height": height,
            "steps": self.settings.steps,
            "seed": self.settings.seed + 1000 * scene.index,
            "output": {"path": self.folder / "video.mkv", "format": "mkv", "overwrite": True, "live": False},
        }
        return GenerationRequest.model_validate(usual | fields)

    def frames(self, request: GenerationRequest) -> Video:
        """The new frames, without a file."""
        return np.asarray(self.model(request.model).frames(request))

    def file(self, request: GenerationRequest, work: Path | None = None) -> Video:
        """The frames of the file, a source's with them."""
        *_, finished = self.model(request.model).generate(request, work=work)
        assert isinstance(finished, Finished)
        return np.stack(list(read_video(finished.file)))

    def latents(self, request: GenerationRequest) -> list[SectionResult]:
        """The sections in the order they are made, without frames."""
        made = self.model(request.model).sections(request, frames_from=len(plan(request.resolved())))
        return [one for one in made if isinstance(one, SectionResult)]


Measure = Callable[[Bench], Iterable[Row]]
