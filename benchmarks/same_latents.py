"""Whether two checkouts make the same videos, to the bit: `python benchmarks/same_latents.py OLD NEW`.

Eleven requests (both orders, keyframes, end frame, prompts over time, cfg, both caches, another window, a LoRA, resume,
motion and consistency) run with the bundled model in each checkout, on this machine, in a process of its own. Every
section's latents and all frames are compared. A recorded sum would not do: latents differ between CPUs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

SMALL = {"resolution": 64, "steps": 3, "seconds": 1.5, "window": 4, "length": "exact", "model": "mini", "seed": 11}
CASES: dict[str, dict[str, Any]] = {
    "inverted": {},
    "forward": {"model": "mini-f1"},
    "keyframes": {
        "frames": [{"image": "noon.png", "second": 0.6, "strength": 0.5}],
        "end_frame": {"image": "dusk.png"},
    },
    "prompts over time": {"model": "mini-f1", "prompts": [{"second": 0.7, "text": "night falls"}]},
    "cfg": {"cfg": 1.4, "cfg_rescale": 0.5, "negative_prompt": "a zoom in"},
    "teacache": {"cache": "teacache", "cache_threshold": 0.3, "steps": 6},
    "first-block cache": {"cache": "first-block", "cache_threshold": 0.3, "steps": 6, "sampler": "dpm++2m"},
    "window 5, whole sections": {"window": 5, "length": "sections"},
    "LoRA": {"loras": [{"file": "lora.safetensors", "strength": 0.7}]},
    "resume": {},
    "motion and consistency": {"motion": 0.6, "consistency": 1.5},
}
RESUMED = ("resume",)


def main() -> None:
    """Compare OLD with NEW; the exit code is 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="+", type=Path, metavar="OLD NEW")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(json.dumps(dict(make(options.checkouts[0], options.dtype))))
        return
    if len(options.checkouts) != 2:
        parser.error("name two checkouts")
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))
        old, new = (sums_of(checkout.resolve(), Path(folder), options.dtype) for checkout in options.checkouts)
    for name in CASES:
        print(f"{name:28} {len(old[name])} sums  {'equal' if old[name] == new[name] else 'DIFFERENT'}")
    sys.exit(old != new)


def sums_of(checkout: Path, folder: Path, dtype: str) -> dict[str, list[str]]:
    """What a checkout makes, by case."""
    command = [sys.executable, __file__, "--make", "--dtype", dtype, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "2"}
    made = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(made.stdout)


def draw(folder: Path) -> None:
    """The pictures and the LoRA that the cases name, drawn from a fixed seed."""
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    random = np.random.default_rng(5)
    for name in ("start", "noon", "dusk"):
        coarse = Image.fromarray(random.integers(0, 255, (6, 6, 3), np.uint8))
        coarse.resize((96, 80), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    torch.manual_seed(5)
    config = json.loads(
        (Path(__file__).parents[1] / "src/framepack/assets/mini/framepack/mini/config.json").read_text()
    )
    width = config["num_attention_heads"] * config["attention_head_dim"]
    halves = {"lora_A": torch.randn(4, width) / 8, "lora_B": torch.randn(width, 4) / 8}
    save_file(
        {f"transformer_blocks.0.attn.to_q.{name}.weight": half for name, half in halves.items()},
        folder / "lora.safetensors",
    )


def make(folder: Path, dtype: str) -> Iterator[tuple[str, list[str]]]:
    """(case, sums of its latents and frames), with the framepack that is imported here."""
    import framepack
    from framepack.spec.events import SectionDone

    load = getattr(framepack, "load", None) or framepack.FramePack.load
    os.chdir(folder)
    loaded: dict[str, Any] = {}
    for name, settings in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            video = Path(place) / "video.mkv"
            wanted = {**SMALL, "image": "start.png", "prompt": "a slow pan left, then a zoom out", **settings}
            request = framepack.GenerationRequest.stored({**wanted, "output": {"path": str(video), "mark": False}})
            if request.model not in loaded:
                loaded[request.model] = load(request.model, device="cpu", dtype=dtype)
            model = loaded[request.model]
            for again in range(2 if name in RESUMED else 1):
                events = model.generate(request, work=Path(place) / "work")
                for event in events:
                    if isinstance(event, SectionDone) and name in RESUMED and not again:
                        break
                events.close()
            yield (
                name,
                [*map(tensors_sum, sorted(Path(place, "work").rglob("section-*.safetensors"))), frames_sum(video)],
            )


def tensors_sum(file: Path) -> str:
    """Of a section's latents."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        return sha256(tensors.get_tensor("latents").contiguous().numpy().tobytes()).hexdigest()


def frames_sum(file: Path) -> str:
    """Of all frames of a lossless video."""
    import av

    total = sha256()
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            total.update(frame.to_ndarray(format="rgb24").tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    main()
