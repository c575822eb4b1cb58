"""Time and peak device memory of the stages beside sampling, Llama 3 8B and the VAE at their full shapes.

Random weights, made on the spot; Llama's layers share theirs. With `gpu_memory.py` this covers the whole pipeline. A
section's clip is decoded in tiles of time; one of them is decoded here.

    python benchmarks/gpu_stages.py [--device cuda] [--size 544x704] [--seconds 600] [--budgets 8GB]
"""

import copy
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from gpu_rows import FAILURES, Rows, arguments, failure
from shapes_13b import device_of, fill_shared, lane_of
from torch import nn
from transformers import LlamaConfig, LlamaModel

from framepack.memory import MemoryManager
from framepack.memory.estimate import estimate
from framepack.models.hunyuan.vae import VideoVAE
from framepack.spec.events import VaeMode
from framepack.spec.machine import parse_bytes

LLAMA = {
    "full": {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "vocab_size": 128320},
    "small": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 8, "vocab_size": 512},
}
LAYERS = {"full": 30, "small": 4}
VAE = {
    "full": {},
    "small": {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
}
ONE_TILE = 5
"""Latents."""


def llama(scale: str) -> nn.Module:
    """The text encoder's layers that are run (two of 32 are not)."""
    config = LlamaConfig(num_key_value_heads=8, num_hidden_layers=LAYERS[scale], **LLAMA[scale])
    with torch.device("meta"):
        module = LlamaModel(config).to(torch.float16 if scale == "full" else torch.float32).eval()
    fill_shared(module, module.layers)
    module.rotary_emb = type(module.rotary_emb)(config)  # its buffer is computed, not loaded
    return module


def vae(scale: str) -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(
        AutoencoderKLHunyuanVideo(**VAE[scale]).to(torch.float16 if scale == "full" else torch.float32)
    ).eval()


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--budgets", nargs="+", default=["8GB"], help="beside all of the card")
    args = parser.parse_args()
    rows, device = Rows(args.rows, args.seconds), device_of(args.device)
    height, width = (int(part) for part in args.size.split("x"))
    memory = MemoryManager(device, vram_limit=None, high_vram=False, copy_stream=lane_of(device))
    memory.add("text", llama(args.scale), blocks=lambda module: module.layers)
    coder = vae(args.scale)
    memory.add("vae", coder)
    costs = planned(coder, height, width)
    tokens = torch.randint(0, 500, (1, 120), device=device)
    latents = torch.randn(1, 16, ONE_TILE, height // 8, width // 8, device=device)
    picture = torch.randint(0, 255, (1, height, width, 3), dtype=torch.uint8).numpy()
    work: dict[str, tuple[str, Callable[[Any], object]]] = {
        "decode, whole": ("vae", lambda module: module.decode_float(latents)),
        "decode, chunked": ("vae", lambda module: module.decode_float(latents, mode="chunked")),
        "text, 120 tokens": ("text", lambda module: module(tokens, use_cache=False).last_hidden_state.float().cpu()),
        "encode": ("vae", lambda module: module.encode(picture)),
        "decode, tiled": ("vae", lambda module: module.decode_float(latents, mode="tiled")),
    }
    for budget in (None, *map(parse_bytes, args.budgets)):
        limit(memory, budget)
        for label, (name, stage) in work.items():
            title = f"{label}: {'all of the card' if budget is None else f'{budget / 1e9:g} GB'}"
            if not rows.is_late(title):
                began = time.monotonic()
                rows.add(title, **measured(memory, name, stage, costs.get(label)))
                rows.longest = max(rows.longest, time.monotonic() - began)
    return 0


def limit(memory: MemoryManager, budget: int | None) -> None:
    """Use no more of the device from now on."""
    if memory.device.type == "cuda":
        total = torch.cuda.get_device_properties(memory.device).total_memory
        share = 1.0 if budget is None else min(1.0, budget / total)
        torch.cuda.set_per_process_memory_fraction(share, memory.device)
    memory.budget = replace(memory.budget, vram_limit=budget)


def planned(coder: VideoVAE, height: int, width: int) -> dict[str, int]:
    """Bytes beside weights that each exact way of decoding should take; tiles are slow to plan."""
    shapes = copy.deepcopy(coder).to("meta")
    z = torch.empty(1, 16, ONE_TILE, height // 8, width // 8, device="meta").to(next(shapes.parameters()).dtype)
    modes: tuple[VaeMode, ...] = ("whole", "chunked")
    return {f"decode, {mode}": estimate(lambda mode=mode: shapes.decode_tile(z, mode)).activations for mode in modes}


@torch.no_grad()
def measured(memory: MemoryManager, name: str, stage: Callable[[Any], object], cost: int | None) -> dict[str, Any]:
    """Seconds and peak of one stage, or why it did not run."""
    cuda = memory.device.type == "cuda"
    gc.collect()
    memory.free()
    if cuda:
        torch.cuda.reset_peak_memory_stats(memory.device)
    notes: dict[str, Any] = {}
    try:
        with memory.lease(name, activations=cost or 0) as module:
            stage(module)  # libraries choose their kernels
            if cuda:
                torch.cuda.synchronize(memory.device)
            began, report = time.perf_counter(), memory.report()
            stage(module)
            if cuda:
                torch.cuda.synchronize(memory.device)
            notes.update(seconds=time.perf_counter() - began, note=report.modules[name].where)
            notes["planned"] = report.held + cost if cost else None
    except FAILURES as error:
        notes["note"] = failure(error)
    if cuda:
        notes["peak"] = torch.cuda.max_memory_allocated(memory.device)
    return notes


if __name__ == "__main__":
    sys.exit(main())
