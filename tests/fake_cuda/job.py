"""A whole 13 B job, at real shapes and without weights, on the card that is not there; tells what it took as JSON.

    python job.py '{"limit": "8GB", "request": {"end_frame": "examples/harbour.jpg"}, "lora": false}'

Weights are memory that nobody wrote to, so that the process takes 4 GB of RAM; copies between host buffers, which
would write to it, are left out. Everything else is the product's own way from request to video.
"""

import ctypes
import json
import os
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from framepack import FramePack, GenerationRequest
from framepack.files.assets import BUNDLED
from framepack.memory import Budget, MemoryManager, copy_streams, disk
from framepack.memory.allocator import limit_device
from framepack.models.hunyuan import encoders
from framepack.models.hunyuan.family import empty_transformer
from framepack.models.hunyuan.vae import PreviewMap, VideoVAE, empty_vae
from framepack.models.lora import fuse_loras
from framepack.pipeline import engine, material
from framepack.pipeline import framepack as pipeline
from framepack.spec.events import Notice, StepDone
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.meta import MetaModels
from framepack.weights.sources import ModelSource

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = 1 << 16
SIGLIP = {"size": {"height": 384, "width": 384}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


class Unread(Loader):
    """The 13 B parts, with weights that were never read."""

    @cached_property
    def places(self) -> dict[str, Path]:
        shapes = self.family.shapes
        assert shapes is not None
        return {name: shapes / name for name in self.variant.repositories}

    def load(self, name: str, *, loras: Any = (), files: Any = None) -> nn.Module:
        component = self.family[name]
        made = MAKE[name](self.places[component.place], self.dtype(component))
        fuse_loras(made, [(lora.file, lora.strength) for lora in loras])
        return made

    def sizes(self) -> dict[str, int]:
        return MetaModels(self.family, self.places, self.precision).sizes()


def text(base: Path, dtype: torch.dtype) -> nn.Module:
    words = encoders.load_tokenizers(BUNDLED / "mini" / "hunyuanvideo-community" / "HunyuanVideo")
    llama, clip = (
        make(base / folder)[0]
        for make, folder in ((encoders.empty_llama, "text_encoder"), (encoders.empty_clip, "text_encoder_2"))
    )
    turns = type(llama.rotary_emb)(llama.config)
    llama, clip = in_ram(llama, dtype), in_ram(clip, dtype)
    llama.rotary_emb = turns
    return encoders.TextEncoder(llama, places(clip), *words).eval()


def image(vision: Path, dtype: torch.dtype) -> nn.Module:
    siglip = in_ram(encoders.empty_siglip(vision / "image_encoder")[0], dtype)
    return encoders.ImageEncoder(places(siglip), SIGLIP).eval()


def vae(base: Path, dtype: torch.dtype) -> nn.Module:
    colours = PreviewMap(weight=torch.zeros(3, 16), bias=torch.zeros(3))
    return VideoVAE(in_ram(empty_vae(base / "vae"), dtype), colours).eval()


def transformer(folder: Path, dtype: torch.dtype) -> nn.Module:
    return in_ram(empty_transformer(folder), dtype)


MAKE = {"text": text, "image": image, "vae": vae, "transformer": transformer}


def in_ram(module: Any, dtype: torch.dtype) -> Any:
    """Give a module on the meta device weights that no page of RAM is taken for."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                kind = dtype if weight.is_floating_point() else weight.dtype
                part._parameters[name] = nn.Parameter(torch.empty(weight.shape, dtype=kind), requires_grad=False)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else torch.zeros(buffer.shape, dtype=buffer.dtype)
    return module.eval()


def places(module: Any) -> Any:
    """Fill in the position ids, which index embeddings."""
    for name, ids in encoders._position_ids(module).items():
        parent, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(parent), leaf, ids)
    return module


def let_it_pass() -> None:
    """What fills page-locked buffers writes nothing; neither RAM nor what is computed is what is tested here."""
    copy, fill = copy_streams.CudaCopyStream.copy, disk.DiskReader._fill_cast

    def to_the_card_only(self: Any, target: Any, source: Any, after: Any) -> Any:
        on_host = target.device.type == source.device.type == "cpu" and target.nbytes > LARGE
        return self.record() if on_host else copy(self, target, source, after)

    def files_only(self: Any, part: Any, target: Any) -> None:
        if not (isinstance(part.source, torch.Tensor) and part.count > LARGE):
            fill(self, part, target)

    copy_streams.CudaCopyStream.copy, disk.DiskReader._fill_cast = to_the_card_only, files_only
    unchecked(pipeline, "stay_in_files", frozenset())
    unchecked(pipeline, "check_lora_room")
    unchecked(material, "check_conditioning")
    unchecked(engine, "require_usable")


def unchecked(where: Any, name: str, answer: Any = None) -> None:
    """Let a function of a module, which must be used there, answer the same to all."""
    getattr(where, name)
    setattr(where, name, lambda *_, **__: answer)


def lora_file(folder: Path) -> Path:
    """One that changes two of the sixty blocks."""
    shapes = {"lora_A": (4, 3072), "lora_B": (3072, 4)}
    halves = [(f"transformer.{name}.{half}.weight", shape) for name in CHANGED for half, shape in shapes.items()]
    file = folder / "lora.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in halves}, file)
    return file


CHANGED = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_k")


def main(limit: str | None, request: dict[str, Any], lora: bool, folder: Path) -> dict[str, Any]:
    """Run the job; what it took."""
    let_it_pass()
    where = torch.device("cuda")
    budget = Budget.of(where, limit, None, None)
    limit_device(budget)
    loader = Unread(VARIANTS["framepack"], ModelSource(), choose_precision(where), device=where)
    memory = MemoryManager(where, budget=budget)
    framepack = FramePack(loader, memory, "allow")
    wanted = {"image": EXAMPLES / "ball.jpg", "prompt": "the camera pans left", "width": 704, "height": 544}
    wanted |= {"model": "framepack", "seconds": 2.4, "steps": 2, "output": {"path": folder / "v.mp4"}} | request
    if lora:
        wanted["loras"] = [{"file": lora_file(folder), "strength": 1}]
    notices, blocks = [], set()
    for event in framepack.generate(GenerationRequest.model_validate(wanted), work=folder / "work"):
        if isinstance(event, Notice):
            notices.append(event.message)
        if isinstance(event, StepDone):
            blocks.add(memory.report().modules["transformer"].where.partition(" of ")[0])
    copied = memory.report().bytes_copied
    return {
        "notices": notices,
        "blocks": min(int(count) if count.isdigit() else 60 for count in blocks),
        "copied": copied,
        "races": ctypes.CDLL(os.environ["FAKE_LIBRARY"]).fake_races(),
        "out of memory": torch.cuda.memory_stats()["num_ooms"],
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        took = main(asked.get("limit"), asked.get("request", {}), asked.get("lora", False), Path(folder))
    print(json.dumps(took))
