"""Does a section cost the same however long the video is? And is every frame encoded once?

    python benchmarks/long_video.py [--sections 50] [--width 704] [--height 544]

Runs one job through the real pipeline (history, joining, encoding, publishing) with stubs for the models, at the real
latent size: what is measured is what the application adds to the models. Prints, for the section early and the one at
the end, seconds (median of five neighbours) and resident memory, for a forward and an inverted job. As single sections
vary by several percent, the ratio is also that of the straight line through all of them, in seconds and in processor
time; joining, early and late, is the only part of a section that handles the whole video. Then frames encoded for each
frame delivered, with and without the provisional tail of the live file.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from framepack import GenerationRequest
from framepack.memory import FallbackLevel
from framepack.models.conditioning import ConditionTable
from framepack.models.hunyuan.blocks import Execution
from framepack.models.hunyuan.encoders import TextFeatures
from framepack.pipeline import framepack as story
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.output import VideoOutput
from framepack.spec.events import Finished, Planned, SectionDone


class StubText:
    """A prompt without meaning."""

    def encode(self, prompt: str) -> TextFeatures:
        return TextFeatures(text=torch.zeros(1, 1, 1), pooled=torch.zeros(1, 1), text_cut=0, pooled_cut=0)


class StubImage:
    """A picture without features."""

    def encode(self, picture: np.ndarray) -> Tensor:
        return torch.zeros(1, 1, 1)


class StubVae:
    """Latents to frames by enlarging three channels: real sizes, no real work."""

    def encode(self, frames: np.ndarray, **options: object) -> Tensor:
        return torch.zeros(1, 16, 1, frames.shape[1] // 8, frames.shape[2] // 8)

    def decode_float(self, latents: Tensor, **options: object) -> Tensor:
        frames = 4 * (latents.shape[2] - 1) + 1
        size = (frames, 8 * latents.shape[3], 8 * latents.shape[4])
        return F.interpolate(latents[:, :3], size=size)[0].permute(1, 2, 3, 0).clamp(-1, 1).contiguous()

    def preview_map(self) -> object:
        return lambda latents: None


class StubTransformer:
    """A velocity that leads to a slowly changing picture."""

    execution = Execution()

    def condition(self, timesteps: Tensor, *rest: object) -> ConditionTable:
        empty = torch.zeros(len(timesteps), 1, 1, 1)
        return ConditionTable(modulation=(), final=empty, text=empty, text_mask=None, image=torch.zeros(1, 1, 1))

    def project_image(self, image: Tensor) -> Tensor:
        return image

    def pack(self, context: list, at: range, shape: tuple[int, int, int]) -> Tensor:
        return context[0].latents

    def __call__(self, x: Tensor, *rest: object) -> Tensor:
        return x - 0.3 * F.interpolate(x[..., ::8, ::8], size=x.shape[-3:])


class StubMemory:
    """Lends the stubs."""

    device = torch.device("cpu")
    high_vram = False

    def __init__(self) -> None:
        self.parts = {"text": StubText(), "image": StubImage(), "vae": StubVae(), "transformer": StubTransformer()}

    @contextmanager
    def lease(self, name: str, **options: object):  # noqa: ANN201
        yield self.parts[name]

    def retry_with_less_memory(self, phase: str, work: Callable[[FallbackLevel], Any], **options: object) -> Any:
        return work(FallbackLevel(name="as planned"))

    def news(self) -> list[str]:
        return []

    def end_job(self) -> None:
        """Nothing to leave."""


class StubPack(FramePack):
    """The real story, told with stubs and nothing foreseen."""

    def __init__(self, model: str) -> None:
        self.model, self.loras, self.lora_times = model, (), ()
        self.memory: Any = StubMemory()

    def plan(self, *_: object) -> tuple[Any, Planned]:
        choices = SimpleNamespace(
            tiling="never", room=lambda *_: 0, encode_at=lambda _: "whole", decode_at=lambda _: "whole"
        )
        choices.rows_at = lambda _: None
        return choices, Planned(device="cpu", capacity=0, stages=(), peak=0, host=0, seconds=None)


def measure(model: str, sections: int, width: int, height: int, live: bool) -> dict[str, float]:
    """One job; seconds and memory after each section, and what the encoder did."""
    outputs: list[Any] = []

    class Watched(VideoOutput):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # pyright: ignore[reportArgumentType]
            self.joining = 0.0
            outputs.append(self)

        def join(self, *pieces: Any, **options: Any) -> Any:
            began = time.perf_counter()
            joined = super().join(*pieces, **options)
            self.joining += time.perf_counter() - began
            return joined

    seconds, work, joining, memory, delivered = [], [], [], [], 0
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "a.png"
        Image.new("RGB", (width, height), (90, 120, 150)).save(picture)
        request = GenerationRequest.model_validate(
            {
                "image": picture,
                "model": model,
                "seconds": sections * 1.2,
                "steps": 2,
                "width": width,
                "height": height,
                "output": {"path": Path(folder) / "v.mp4", "live": live},
            }
        )
        story.VideoOutput = Watched  # pyright: ignore[reportPrivateImportUsage]
        last, worked = time.perf_counter(), time.process_time()
        for event in StubPack(model).generate(request):
            if isinstance(event, SectionDone):
                now, done = time.perf_counter(), time.process_time()
                seconds.append(now - last)
                work.append(done - worked)
                joining.append(outputs[-1].joining)
                outputs[-1].joining = 0.0
                memory.append(process.memory_info().rss)
                last, worked = now, done
            if isinstance(event, Finished):
                delivered = event.frames
    early, late = slice(1, 6), slice(len(seconds) - 6, len(seconds) - 1)
    return {
        "early": median(seconds[early]),
        "late": median(seconds[late]),
        "fit": growth(seconds[1:-1]),
        "join early": 1000 * median(joining[early]),
        "join late": 1000 * median(joining[late]),
        "cpu": growth(work[1:-1]),
        "growth": (median(memory[late]) - median(memory[early])) / max(len(seconds) - 6, 1) / 1e6,
        "encoded": outputs[-1].frames_encoded / delivered,
    }


def growth(costs: list[float]) -> float:
    """The last section's cost over the first one's, on the straight line through all of them."""
    slope, start = np.polyfit(range(len(costs)), costs, 1)
    return 1 + slope * (len(costs) - 1) / start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=50)
    parser.add_argument("--width", type=int, default=704)
    parser.add_argument("--height", type=int, default=544)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{options.sections} sections at {options.width}x{options.height}, {time.strftime('%Y-%m-%d')}")
    print("model    live  s/section early  late  ratio  by fit  of CPU  joining ms  MB/section  encoded/delivered")
    for model in ("mini", "mini-f1"):
        for live in (False, True):
            row = measure(model, options.sections, options.width, options.height, live)
            print(
                f"{model:8} {live!s:5} {row['early']:15.2f} {row['late']:5.2f} {row['late'] / row['early']:6.3f}"
                f" {row['fit']:7.3f} {row['cpu']:7.3f} {row['join early']:5.0f} {row['join late']:5.0f}"
                f" {row['growth']:11.2f} {row['encoded']:18.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
