"""What a worker process loads: a callable that makes videos with whichever model a request asks for.

Keeps the last model loaded, as the next job will most likely want it too.
"""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch

from framepack.pipeline.framepack import FramePack
from framepack.pipeline.load import load
from framepack.spec.events import Event
from framepack.spec.request import GenerationRequest


class Generator:
    """Settings are those of `framepack.load`."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._framepack: FramePack | None = None
        self._opened: dict[str, Any] = {}
        self._process = psutil.Process()

    def __call__(
        self, request: GenerationRequest, *, outputs: Path, work: Path, preserve: str | None = None
    ) -> Iterator[Event]:
        """Make the video. `preserve`: GPU memory to leave free in this job, in place of the settings' own."""
        yield from self._model(request.model, preserve).generate(request, outputs=outputs, work=work)

    def memory(self) -> dict[str, int]:
        """Bytes in use: `ram`, and `vram` where there is a GPU."""
        used = {"ram": self._process.memory_info().rss}
        if torch.cuda.is_initialized():
            used["vram"] = sum(map(torch.cuda.memory_reserved, range(torch.cuda.device_count())))
        return used

    def _model(self, name: str, preserve: str | None) -> FramePack:
        wanted: dict[str, Any] = self._settings | ({"preserve": preserve} if preserve else {})
        if self._framepack is None or (self._framepack.model, self._opened) != (name, wanted):
            self._framepack = None
            gc.collect()
            self._framepack, self._opened = load(name, **wanted), wanted
        return self._framepack


def make_generator(models_dir: str | None = None, threads: int | None = None, **settings: Any) -> Generator:
    """`settings` as JSON has them; `threads` limits the processor's share of one worker."""
    if threads:
        torch.set_num_threads(threads)
    return Generator(models_dir=Path(models_dir) if models_dir else None, **settings)
