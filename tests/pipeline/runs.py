"""Short requests, and the latents they leave in a work folder."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from framepack import FramePack, GenerationRequest
from framepack.spec.events import Finished


def request_of(picture: Path, output: Path, **fields: object) -> GenerationRequest:
    settings = {"steps": 2, "width": 32, "height": 32, "window": 3, "seconds": 1.2, "length": "sections"}
    file = {"path": output, "overwrite": True}
    return GenerationRequest.model_validate({"image": picture, "output": file, **settings, **fields})


def latents(work: Path) -> list[torch.Tensor]:
    return [load_file(file)["latents"] for file in sorted(work.glob("section-*.safetensors"))]


def make(framepack: FramePack, request: GenerationRequest, work: Path) -> list[torch.Tensor]:
    events = list(framepack.generate(request, work=work))
    assert isinstance(events[-1], Finished)
    return latents(work)
