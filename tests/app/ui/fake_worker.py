"""A worker that paints videos instead of generating them: real files with real metadata, in no time, without torch.

A prompt with the word `explode` fails in the second section; one with `until NAME` is not finished before there is a
file NAME in the outputs folder, so that whoever watches can be sure to see it run.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from framepack.media.video import VideoWriter
from framepack.spec.events import Event, Finished, SectionDone, StageStarted, StepDone
from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest

TARGET = "fake_worker:make"
SIZE = (192, 128)


def paint(at: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A sun over hills, uint8 (H, W, 3); `at` 0..1 is the time of day."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / np.array([[[height]], [[width]]])
    sky = np.stack([0.95 - 0.5 * y * at, 0.6 - 0.25 * y + 0.1 * at, 0.35 + 0.5 * y * at], -1)
    disc = ((x - 0.2 - 0.6 * at) * 1.5) ** 2 + (y - 0.55 + 0.35 * np.sin(np.pi * at)) ** 2 < 0.012
    sky[disc] = (1, 0.92, 0.7)
    for depth, shade in ((0.62, 0.42), (0.75, 0.26), (0.88, 0.13)):
        hill = y > depth + 0.07 * np.sin(7 * x * (1 + depth) + 9 * depth + at * shade * 6)
        sky[hill] = np.array([0.9, 0.45, 0.4]) * shade + np.array([0, 0, 0.06])
    return (sky.clip(0, 1) * 255).astype(np.uint8)


def may_go_on(request: GenerationRequest, outputs: Path) -> bool:
    """Whether the file that the prompt waits for is there, or it waits for none."""
    awaited = re.search(r"until (\w+)", request.prompt)
    return awaited is None or (outputs / awaited[1]).exists()


def make(pause: float = 0.03) -> "FakeWorker":
    return FakeWorker(pause)


class FakeWorker:
    def __init__(self, pause: float) -> None:
        self.pause = pause

    def memory(self) -> dict[str, int]:
        return {"ram": 1_340_000_000}

    def __call__(
        self, request: GenerationRequest, *, outputs: Path, work: Path, preserve: str | None = None
    ) -> Iterator[Event]:
        yield StageStarted(stage="encode", message="reading pictures and prompt")
        sections, total = plan(request), request.latent_count
        metadata = json.dumps({"framepack": "test", "request": request.model_dump(mode="json")})
        path = request.output.path
        part = path.with_name(f"{path.stem}.part{path.suffix}")
        done: list[range] = []
        for section in sections:
            yield StageStarted(stage="section", message="imagining the motion", section=section.index)
            for step in range(request.steps):
                time.sleep(self.pause)
                share = (step + 1) / request.steps
                noise = np.random.default_rng(step).integers(0, 255, (len(section.latents), 16, 24, 3))
                clear = np.stack([paint(latent / total, (24, 16)) for latent in section.latents])
                preview = (clear * share + noise * (1 - share)).astype(np.uint8)
                count = {"section": section.index, "sections": len(sections)}
                yield StepDone(**count, step=step, steps=request.steps, preview=preview)
                while len(done) == len(sections) - 1 and not may_go_on(request, outputs):
                    time.sleep(0.05)
                    yield StepDone(**count, step=step, steps=request.steps, preview=preview)
                if "explode" in request.prompt and section.index == 1:
                    raise RuntimeError("the paint exploded")
            done.append(section.latents)
            latents = sorted(latent for span in done for latent in span)
            frames = [4 * latent - 3 + offset for latent in latents for offset in range(4)]
            last = len(done) == len(sections)
            target = path if last else part
            with VideoWriter(target, fps=request.output.fps, size=SIZE, metadata=metadata) as writer:
                for frame in [0, *frames] if last else frames:
                    writer.write(paint(frame / (4 * total)))
            yield SectionDone(**count, frames=len(frames) + last, seconds=0.1, file=target)
        part.unlink(missing_ok=True)
        yield StageStarted(stage="finish", message="finishing the file")
        yield Finished(file=path, frames=4 * total + 1, seconds=1.0)
