"""One denoising forward on the CPU: ours against diffusers' class, same weights, same dtype, in one run.

The mini model's shape (256 wide, 1 double + 8 single blocks) at 128 px: a window of 9 latents of 16x16, 19 + 1 context
latents, 16 image and 10 text tokens. Ours has `condition` and `pack` done, as in a job; their cost is printed too.
The two are timed in turns; the ratio is the median over the turns, so that a busy machine slows both sides of it.

    python benchmarks/transformer_cpu.py [--rounds 30] [--threads 1]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel as Reference

from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked as Ours
from framepack.models.packing import ContextLatents

GOALS = {torch.bfloat16: 1.5, torch.float32: 1.1}
WINDOW, SIZE, STEPS = 9, 16, 25
MINI: dict[str, Any] = {
    "in_channels": 16,
    "out_channels": 16,
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "num_layers": 1,
    "num_single_layers": 8,
    "num_refiner_layers": 1,
    "text_embed_dim": 128,
    "pooled_projection_dim": 64,
    "image_proj_dim": 64,
    "rope_axes_dim": (16, 24, 24),
    "has_image_proj": True,
    "has_clean_x_embedder": True,
}


def calls(dtype: torch.dtype) -> dict[str, Callable[[], Any]]:
    """The forwards to time, on the same weights and inputs."""
    torch.manual_seed(0)
    reference = Reference(**MINI).eval().requires_grad_(False)
    ours = Ours(TransformerConfig.from_dict(MINI)).eval().requires_grad_(False)
    ours.load_state_dict(reference.state_dict())
    reference.to(dtype)
    ours.to(dtype)

    def latents(frames: int) -> torch.Tensor:
        return torch.randn(1, 16, frames, SIZE, SIZE, dtype=dtype)

    x, clean, context_2x, context_4x = (latents(frames) for frames in (WINDOW, 2, 2, 16))
    text, pooled, image = (torch.randn(*shape, dtype=dtype) for shape in ((1, 10, 128), (1, 64), (1, 16, 64)))
    mask, guidance = torch.ones(1, 10, dtype=torch.bool), torch.full((1,), 10000.0)
    at = {"clean": [0, 19], "2x": [20, 21], "4x": list(range(22, 38)), "noisy": list(range(10, 19))}
    timesteps = torch.linspace(1000, 100, STEPS)

    def theirs() -> torch.Tensor:
        return reference(
            x,
            timesteps[:1].to(dtype),
            text,
            mask,
            pooled,
            image,
            torch.tensor(at["noisy"]),
            guidance.to(dtype),
            clean,
            torch.tensor(at["clean"]),
            context_2x,
            torch.tensor(at["2x"]),
            context_4x,
            torch.tensor(at["4x"]),
            return_dict=False,
        )[0]

    spans = [
        ContextLatents(latents=clean, at=at["clean"], scale=1),
        ContextLatents(latents=context_2x, at=at["2x"], scale=2),
        ContextLatents(latents=context_4x, at=at["4x"], scale=4),
    ]

    def condition() -> Any:
        return ours.condition(timesteps, guidance, pooled, text, mask, image)

    def pack() -> Any:
        return ours.pack(spans, at["noisy"], (WINDOW, SIZE, SIZE))

    step, packed = condition().step(0), pack()
    error = (ours(x, step, packed) - theirs()).std() / theirs().float().std()
    print(f"{dtype}: relative difference {float(error):.1e}")
    return {"theirs": theirs, "ours": lambda: ours(x, step, packed), "condition": condition, "pack": pack}


def timed(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, made in turns after three warm-up rounds."""
    milliseconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 3):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn >= 3:
                milliseconds[name].append(1000 * (time.perf_counter() - start))
    return milliseconds


@torch.inference_mode()
def main() -> None:
    """Print one row for each dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for dtype, goal in GOALS.items():
        runs = timed(calls(dtype), arguments.rounds)
        ratio = statistics.median(a / b for a, b in zip(runs["theirs"], runs["ours"], strict=True))
        ms = {name: statistics.median(values) for name, values in runs.items()}
        print(f"  diffusers {ms['theirs']:.1f} ms, ours {ms['ours']:.1f} ms: {ratio:.2f}x (goal {goal}x)")
        print(f"  besides, once a job ({STEPS} steps) {ms['condition']:.1f} ms, once a section {ms['pack']:.1f} ms")


if __name__ == "__main__":
    main()
