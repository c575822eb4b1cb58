"""Short requests, and the latents they leave in a work folder; modules lent to stages that are tested alone."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from framepack import FramePack, GenerationRequest
from framepack.memory import MemoryManager
from framepack.memory.estimate import Cost
from framepack.models.attention import automatic
from framepack.models.families import FAMILIES
from framepack.pipeline.memory_plan import WHOLE, MemoryPlan
from framepack.pipeline.runner import Runner
from framepack.pipeline.stages import Modes, stages_of
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


def lending(device: torch.device, modes: Modes = WHOLE, **modules: nn.Module) -> Runner:
    """Lends modules that are on the device already, and asks for no memory."""
    memory = MemoryManager("cpu")
    for name, module in modules.items():
        memory.add(name, module, once=getattr(module, "once_per_job", ()))
    memory.device = device
    free = MemoryPlan(cost=lambda stage, modes: Cost(activations=0, flops=0), device="cpu", size="", modes=modes)
    return Runner(memory, free, stages_of(FAMILIES["hunyuan"], automatic))
