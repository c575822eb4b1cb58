"""A generator that makes numbers instead of videos, keeps its sections as the real one does, and fails on demand.

The request's prompt is a JSON object: `begin` seconds before the first event, `pause` seconds a step, `fail` what to do
at `section` and `step` (section -1 is before the first event), at most `times` times over all attempts (counted in the
work folder), `record` to write its `preserve` into a file beside the video, `notice` a sentence of a notice.
"""

import ctypes
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.Image  # noqa: F401 - previews need it; loading it in the first step would make that a slow one

from framepack.spec.events import Event, Finished, Notice, SectionDone, StageStarted, StepDone
from framepack.spec.geometry import HUNYUAN
from framepack.spec.request import GenerationRequest

TARGET = "fake_generator:make"


def ask(*, seed: int = 1, sections: int = 3, steps: int = 4, **script) -> GenerationRequest:
    """A request for the fake."""
    return GenerationRequest.model_validate(
        {"image": "x.png", "seed": seed, "steps": steps, "seconds": sections * 1.2, "prompt": json.dumps(script)}
    )


def make(**settings) -> "Fake":
    if settings.get("broken"):
        raise ValueError("no such device")
    if settings.get("crash"):
        ctypes.string_at(0)
    if file := settings.get("crash_while_there"):
        while Path(file).exists():
            os._exit(7)
    return Fake()


class Fake:
    def memory(self) -> dict[str, int]:
        return {"ram": 1000}

    def __call__(
        self, request: GenerationRequest, *, outputs: Path, work: Path, preserve: str | None = None
    ) -> Iterator[Event]:
        script = json.loads(request.prompt)
        time.sleep(script.get("begin", 0.0))
        misbehave(script, -1, 0, work)
        if script.get("record"):
            request.output.path.with_suffix(".preserve").write_text(str(preserve))
        sections = HUNYUAN.section_count(request.seconds, request.window)
        yield StageStarted(stage="encode", message="reading")
        if script.get("notice"):
            yield Notice(message=script["notice"])
        done = []
        for section in range(sections):
            kept = work / f"section-{section:04d}.npy"
            if kept.exists():
                done.append(np.load(kept))
                continue
            yield StageStarted(stage="section", message="sampling", section=section)
            state = np.random.default_rng(request.seed * 1000 + section).normal(size=100) + (done[-1] if done else 0)
            for step in range(request.steps):
                time.sleep(script.get("pause", 0.0))
                misbehave(script, section, step, work)
                state = np.sin(state * 3)
                preview = np.full((2, 3, 4, 3), step, np.uint8)
                yield StepDone(section=section, sections=sections, step=step, steps=request.steps, preview=preview)
            done.append(state)
            write(kept, lambda file, state=state: np.save(file, state))
            part = outputs / f"{request.output.path.stem}.part.mp4"
            write(part, lambda file: file.write(np.concatenate(done).tobytes()))
            yield SectionDone(section=section, sections=sections, frames=36 * len(done), seconds=0.1, file=part)
        yield StageStarted(stage="finish", message="finishing")
        write(request.output.path, lambda file: file.write(np.concatenate(done).tobytes()))
        (outputs / f"{request.output.path.stem}.part.mp4").unlink(missing_ok=True)
        yield Finished(file=request.output.path, frames=36 * sections, seconds=1.0)


def expected(request: GenerationRequest) -> bytes:
    """What an undisturbed run writes."""
    done = []
    for section in range(HUNYUAN.section_count(request.seconds, request.window)):
        state = np.random.default_rng(request.seed * 1000 + section).normal(size=100) + (done[-1] if done else 0)
        for _ in range(request.steps):
            state = np.sin(state * 3)
        done.append(state)
    return np.concatenate(done).tobytes()


def write(file: Path, fill) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with temporary.open("wb") as out:
        fill(out)
    temporary.replace(file)


def misbehave(script: dict, section: int, step: int, work: Path) -> None:
    if (script.get("section", 0), script.get("step", 0)) != (section, step) or "fail" not in script:
        return
    count = work / "failures"
    before = int(count.read_text()) if count.exists() else 0
    if before >= script.get("times", 1):
        return
    count.write_text(str(before + 1))
    if script["fail"] == "context":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if script["fail"] == "exit":
        os._exit(7)
    if script["fail"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if script["fail"] == "segfault":
        ctypes.string_at(0)
    if script["fail"] == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    if script["fail"] == "deadlock":
        ctypes.PyDLL(None).sleep(600)
    if script["fail"] == "leave":
        sys.exit(3)
    if script["fail"] == "garbage":
        for descriptor in range(3, 20):
            with suppress(OSError):
                os.write(descriptor, b"\xff\x00 garbage\n")
        time.sleep(600)
    if script["fail"] == "orphan":
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "20"])
        os.kill(os.getpid(), signal.SIGKILL)
    if script["fail"] == "full":
        raise OSError(errno.ENOSPC, "No space left on device", str(work))
    if script["fail"] == "error":
        raise ValueError("the picture is too small; use a larger one")
