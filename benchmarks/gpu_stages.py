"""Peak device memory of the stages beside sampling, Llama 3 8B and the VAE at their full shapes, within a budget.

Random weights, made on the spot. With `gpu_memory.py`'s rows this covers the whole pipeline. Each row is printed as
soon as it is measured, with the peak that the rehearsal foretold; one that fails is noted and the others go on.

    python benchmarks/gpu_stages.py [--scale full|small] [--device cuda] [--size 544x704] [--budgets 4GB 6GB 8GB 24GB]
                                    [--quick]

`--quick` decodes one tile of time instead of a section's clip.
"""

import argparse
import copy
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from shapes_13b import Pool, device_of
from torch import nn
from transformers import LlamaConfig, LlamaModel

from framepack.memory import MemoryManager, parse_bytes
from framepack.memory.rehearsal import measure
from framepack.models.vae import VideoVAE

GB = 1_000_000_000
LLAMA = {
    "full": {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "vocab_size": 128320},
    "small": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 8, "vocab_size": 512},
}
LAYERS = {"full": 30, "small": 4}
VAE = {
    "full": {},
    "small": {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
}
DECODED = 18
"""Latents a section decodes."""
ONE_TILE = 5
EXACT = ("whole", "rows")


def llama(scale: str) -> nn.Module:
    """The text encoder's layers that are run (two of 32 are not)."""
    config = LlamaConfig(num_key_value_heads=8, num_hidden_layers=LAYERS[scale], **LLAMA[scale])
    with torch.device("meta"):
        module = LlamaModel(config).to(torch.bfloat16).eval()
    Pool().fill(module)
    module.rotary_emb = type(module.rotary_emb)(config)  # its buffer is computed, not loaded
    return module


def vae(scale: str) -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(
        AutoencoderKLHunyuanVideo(**VAE[scale]).to(torch.float16 if scale == "full" else torch.float32)
    ).eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=list(LLAMA), default="full")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="544x704", help="height x width")
    parser.add_argument("--budgets", nargs="+", default=["4GB", "6GB", "8GB", "24GB"])
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    device = device_of(args.device)
    height, width = (int(part) for part in args.size.split("x"))
    count = ONE_TILE if args.quick else DECODED
    memory = MemoryManager(device, vram_limit=parse_bytes(args.budgets[0]), high_vram=False)
    memory.add("text", llama(args.scale), blocks=lambda module: module.layers)
    coder = vae(args.scale)
    memory.add("vae", coder)
    costs = foretold(coder, count, height, width)
    tokens = torch.randint(0, 500, (1, 120), device=device)
    latents = torch.randn(1, 16, count, height // 8, width // 8, device=device)
    picture = torch.randint(0, 255, (1, height, width, 3), dtype=torch.uint8).numpy()
    work: dict[str, tuple[str, Callable[[Any], object]]] = {
        "text": ("text", lambda module: module(tokens, use_cache=False).last_hidden_state.float().cpu()),
        "encode": ("vae", lambda module: module.encode(picture)),
        "decode, tiled": ("vae", lambda module: module.decode_float(latents, spatial_tiling=True)),
        "decode, rows": ("vae", lambda module: module.decode_float(latents, rows=True)),
        "decode, whole": ("vae", lambda module: module.decode_float(latents)),
    }
    print(f"{args.size}, {count} latents, torch {torch.__version__}, {args.device}", flush=True)
    for text in args.budgets:
        budget = parse_bytes(text)
        if device.type == "cuda":
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, budget / total), device)
        memory.budget = replace(memory.budget, vram_limit=budget)
        for label, (name, stage) in work.items():
            print(f"{text:>5} {label:>14}: {measured(memory, name, stage, costs.get(label))}", flush=True)
    return 0


def foretold(coder: VideoVAE, count: int, height: int, width: int) -> dict[str, int]:
    """Bytes beside weights that each way of decoding should take, by rehearsal; tiles are slow to rehearse."""
    shapes = copy.deepcopy(coder).to("meta")
    z = torch.empty(1, 16, min(count, ONE_TILE), height // 8, width // 8, device="meta")
    z = z.to(next(shapes.parameters()).dtype)
    return {f"decode, {way}": measure(lambda way=way: shapes.decode_tile(z, way)).activations for way in EXACT}


@torch.no_grad()
def measured(memory: MemoryManager, name: str, stage: Callable[[Any], object], foreseen: int | None) -> str:
    """Seconds and peak of one stage, or that it does not fit."""
    cuda = memory.device.type == "cuda"
    gc.collect()
    memory.free()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    try:
        with memory.lease(name, activations=foreseen or 0) as module:
            held = memory.report().held
            stage(module)
            where = memory.report().modules[name].where
    except torch.OutOfMemoryError:
        return "does not fit" + (f", {foreseen / GB:.2f} GB foreseen beside weights" if foreseen else "")
    except (RuntimeError, ValueError, TypeError) as error:
        return f"failed: {type(error).__name__}: {str(error).splitlines()[0]}"
    if cuda:
        torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() if cuda else 0
    said = f", foreseen {(held + foreseen) / GB:.2f}" if foreseen else ""
    return f"{time.perf_counter() - began:.2f} s, peak {peak / GB:.2f} GB{said}, {where}"


if __name__ == "__main__":
    sys.exit(main())
