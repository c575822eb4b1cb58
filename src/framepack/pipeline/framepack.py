"""Generates one video: encode, plan, prepare, then section after section, reported as events.

A generator: closing it cancels within a step. All state of a run is local to `generate`; the device's memory does not
grow with the video's length. Source of the method: FramePack (arXiv 2504.12626).
"""

import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from framepack.media.clips import lasting
from framepack.media.credentials import require_signing
from framepack.media.finishing import check_steps
from framepack.memory import Budget, FileSlice, MemoryManager
from framepack.memory.allocator import limit_device
from framepack.memory.budget import Size
from framepack.memory.report import NOT_LOADED
from framepack.models.family import Component
from framepack.pipeline.conditioning import load_pictures
from framepack.pipeline.device import choose_device
from framepack.pipeline.engine import Engine, Known, Made, SectionResult, nothing_given, whole
from framepack.pipeline.estimate import Estimator
from framepack.pipeline.finish_job import finish_job
from framepack.pipeline.in_files import check_lora_room, stay_in_files
from framepack.pipeline.material import Material, encoded
from framepack.pipeline.memory_plan import MemoryPlan, check_tiling
from framepack.pipeline.output import VideoOutput
from framepack.pipeline.record import recorded
from framepack.pipeline.runner import Runner
from framepack.pipeline.section_store import SectionStore
from framepack.pipeline.sources import read_sources
from framepack.pipeline.stages import stages_of
from framepack.spec.attention import left_to_sdpa
from framepack.spec.events import Event, Finished, Notice, Planned, StageStarted
from framepack.spec.formats import check_size
from framepack.spec.ignored import ignored_settings
from framepack.spec.machine import Tiling
from framepack.spec.parts import Lora
from framepack.spec.plan import SectionPlan, plan
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import variant_of
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.meta import MetaModels
from framepack.weights.sources import ModelSource

BUSY = "this model is generating another video: wait for it, close it, or load a second model"


class FramePack:
    """A model; `framepack.load` makes it. One generation at a time: another one is refused until it ends.

    with framepack.load("mini") as model:
        for event in model.generate(request): ...
    """

    def __init__(self, loader: Loader, memory: MemoryManager, tiling: Tiling = "never") -> None:
        """Use `framepack.load`. Checks that all files are there, reads none yet; `memory` lends the components."""
        check_tiling(tiling)
        self.model = loader.variant.name
        self.family = loader.family
        self.loader = loader
        self.memory = memory
        self.tiling: Tiling = tiling
        """Whether the VAE may work in spatial tiles, which leave faint seams, where memory is short."""
        self.mapped: frozenset[str] = frozenset()
        """Components whose weights stay in their files."""
        self.estimator = Estimator(MetaModels(loader.family, loader.places, loader.precision), memory.device)
        self.stages = stages_of(loader.family, loader.attention)
        self.loras: tuple[Lora, ...] = ()
        """What the transformer's weights hold beside their own."""
        self.lora_times: tuple[int, ...] = ()
        """When these files were last changed, nanoseconds."""
        self.lora_notices: tuple[str, ...] = ()
        """What of them has no effect."""
        self._at_work = Lock()
        self.add_components()

    @classmethod
    def load(
        cls,
        model: str = "mini",
        *,
        device: str | torch.device | None = "auto",
        dtype: str | None = "auto",
        models_dir: Path | str | None = None,
        revision: str | None = None,
        offline: bool = False,
        attention: str = "auto",
        vram_limit: Size = None,
        ram_limit: Size = None,
        preserve: Size = None,
        vae_tiling: Tiling = "never",
    ) -> Self:
        """Find `model`, a key of VARIANTS, and prepare to load its components when they are first needed.

        The others are the fields of MachineOptions (docs/reference.md). Sizes are bytes or texts such as 6GB.
        Raises ValueError, in a sentence, for files that are missing and for what this machine cannot do.
        """
        where, folder = choose_device(device), None if models_dir is None else Path(models_dir)
        source = ModelSource(models_dir=folder, revision=revision, offline=offline)
        precision = choose_precision(where, None if dtype == "auto" else dtype)
        loader = Loader(variant_of(model), source, precision, attention=attention, device=where)
        budget = Budget.of(where, vram_limit, ram_limit, preserve)
        limit_device(budget)
        return cls(loader, MemoryManager(where, budget=budget), vae_tiling)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all weights and files."""
        self.memory.close()

    def add_components(self) -> None:
        """Put everything into the care of `memory`; each component is loaded when first needed."""
        self.mapped = self._in_files(self.loader.sizes())
        for component in self.family.components:
            self._add(component)

    def unload(self) -> None:
        """Let go of all weights, so that another model has the memory; they are read anew when next needed."""
        self.memory.close()
        self.add_components()

    def _add(self, component: Component) -> None:
        """Where RAM is limited, or too small, weights stay in their files, unless LoRAs have changed them."""
        files: dict[str, FileSlice] | None = {} if component.name in self.mapped else None
        loras = self.loras if component.loras else ()
        self.memory.add(
            component.name,
            partial(self.loader.load, component.name, loras=loras, files=files),
            files=files,
            blocks=component.blocks,
            once=component.once,
            pin=component.pin,
        )

    def _in_files(self, sizes: dict[str, int]) -> frozenset[str]:
        return stay_in_files(self.family, self.memory.budget, sizes, changed=bool(self.loras))

    def use_loras(self, loras: tuple[Lora, ...]) -> None:
        """Let the model hold these LoRAs and no others: where they differ, it will be loaded anew.

        Raises LoraError for one that does not fit, ValueError for more RAM than allowed, OSError for a missing file.
        """
        loras = tuple(lora for lora in loras if lora.strength != 0)
        if (loras, times_of(loras)) != (self.loras, self.lora_times):
            if loras:
                check_lora_room(self.memory.budget, self.loader.sizes()["transformer"])
            self.lora_notices = self.loader.check_loras(loras)
            self.holds_loras(loras)
            self.reload_transformer()

    def holds_loras(self, loras: tuple[Lora, ...]) -> None:
        """Say that the transformer has these in it already: as adapters in training, just saved to their files."""
        self.loras, self.lora_times = loras, times_of(loras)

    def reload_transformer(self) -> None:
        """Forget the transformer, and whatever was added to it; it is read from disk when next needed."""
        self.memory.remove("transformer")
        modules = self.memory.report().modules
        there = {name for name, part in modules.items() if part.where != NOT_LOADED} | (self.mapped - {"transformer"})
        stay = self._in_files({name: size for name, size in self.loader.sizes().items() if name not in there})
        self.mapped = (self.mapped - {"transformer"}) | (stay & {"transformer"})
        self._add(self.family["transformer"])

    def plan(
        self, request: GenerationRequest, sections: tuple[SectionPlan, ...], size: tuple[int, int]
    ) -> tuple[MemoryPlan, Planned]:
        """How the job is done at `size`, (height, width), and what it takes.

        Raises ValueError where it cannot be done, or not without a change of the picture that nobody allowed.
        """
        memory = self.memory
        return self.estimator.plan(
            request,
            sections,
            size,
            memory.budget,
            tiling=self.tiling,
            high_vram=memory.high_vram,
            mapped=self.mapped,
            held=memory.report().held,
        )

    @torch.inference_mode()
    def generate(
        self, request: GenerationRequest, *, outputs: Path | str = Path("outputs"), work: Path | str | None = None
    ) -> Generator[Event]:
        """Make the video of `request`, yielding events: `Planned` before the first work, `Finished` as the last one.

        outputs: where a request without a path puts its file. work: a folder that keeps each finished section; the
        same request with the same folder goes on after the last of them, to the same latents.
        Raises ValueError for what the user can fix (a file, a size, another model, a folder that another run uses),
        OSError for a full disk.
        """
        yield from self._alone(self._generate(request, Path(outputs), None if work is None else Path(work)), request)

    @torch.inference_mode()
    def sections(
        self,
        request: GenerationRequest,
        given: Known = nothing_given,
        *,
        history: Tensor | None = None,
        frames_from: int = 0,
    ) -> Generator[Event | Made]:
        """Make the video of `request` without any file: events, and a `SectionResult` for each section.

        given: latents of sections that exist already; they are not made again. history: see `Engine`. frames_from: the
        first section whose frames are wanted; with the number of sections nothing is decoded.
        """
        yield from self._alone(self._sections(request, given, history, frames_from), request)

    def frames(self, request: GenerationRequest) -> np.ndarray:
        """The whole video of `request`, uint8 (T, H, W, 3) at the model's own rate; no file is written.

        Of a task that goes on from a video, the new part.
        """
        request = lasting(request.resolved())
        sections, made = plan(request), self.sections(request)
        runs = [event.frames for event in made if isinstance(event, SectionResult) and event.frames is not None]
        return whole(sections, runs).numpy()[: request.frame_count]

    def _alone(self, made: Generator[Any], request: GenerationRequest) -> Generator[Any]:
        if request.model != self.model:
            raise ValueError(f"this is {self.model}, the request asks for {request.model}: load that model instead")
        if not self._at_work.acquire(blocking=False):
            raise ValueError(BUSY)
        try:
            yield from made
        finally:
            self.memory.end_job()
            self._at_work.release()

    def _begin(
        self, request: GenerationRequest, sections: tuple[SectionPlan, ...]
    ) -> Generator[Event, None, tuple[Runner, Material]]:
        """Read the pictures and sources, plan the work, and say what there is to be said before it."""
        yield StageStarted(stage="encode", message="reading pictures and prompt")
        check_steps(request.finish)
        if request.output.sign:
            require_signing(request.output.path)
        self.use_loras(request.loras)
        pictures, cut = load_pictures(request)
        height, width = pictures["start"].shape[:2]
        check_size((width, height), request.output.codec_name)
        sources, changed = read_sources(request, (height, width))
        memory_plan, planned = self.plan(request, sections, (height, width))
        yield planned
        of_model = (*self.loader.notices(), *self.lora_notices, *left_to_sdpa(self.loader.attention_name, sections))
        for message in (*of_model, *ignored_settings(request), *cut, *changed):
            yield Notice(message=message)
        return Runner(self.memory, memory_plan, self.stages), Material(pictures, sources)

    def _sections(
        self, request: GenerationRequest, given: Known, history: Tensor | None, frames_from: int
    ) -> Generator[Event | Made]:
        request = lasting(request.resolved())
        sections = plan(request)
        runner, material = yield from self._begin(request, sections)
        conditioning = yield from encoded(runner, request, sections, material)
        yield from Engine(runner, request, sections, conditioning, history=history).run(given, frames_from=frames_from)

    def _generate(self, request: GenerationRequest, outputs: Path, work: Path | None) -> Generator[Event]:
        began, request = time.monotonic(), lasting(request.resolved())
        sections = plan(request)
        runner, material = yield from self._begin(request, sections)
        with (
            SectionStore.open(work, request, outputs) as store,
            VideoOutput.open(request, outputs, store, sections, material.shown(request)) as video,
        ):
            for message in store.notices:
                yield Notice(message=message)
            if video.kept:
                yield Notice(message=f"the file of an earlier run with this name is kept as {video.kept}")
            conditioning = yield from encoded(runner, request, sections, material)
            del material  # all frames of a restyled video
            store.save_conditioning(conditioning, sections[0].said)
            engine = Engine(runner, request, sections, conditioning, wide=request.output.wide)
            yield from recorded(engine, store, video)
            yield StageStarted(stage="finish", message="finishing the file")
            file, frames = yield from finish_job(request, video, self.memory)
        yield Finished(file=file, frames=frames, seconds=time.monotonic() - began)


def times_of(loras: tuple[Lora, ...]) -> tuple[int, ...]:
    """When their files were written, in nanoseconds."""
    return tuple(lora.file.stat().st_mtime_ns for lora in loras)
