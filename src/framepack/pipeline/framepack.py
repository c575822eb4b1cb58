"""The story of one video: encode, plan, prepare, then section after section, told as events.

A generator: closing it cancels within a step. All state of a run is local to `generate`; the device's memory does not
grow with the video's length. Source of the method: FramePack (arXiv 2504.12626).
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

import torch

from framepack.memory import FileSlice, MemoryManager
from framepack.memory.report import NOT_LOADED
from framepack.pipeline.choices import Choices, Tiling, check_tiling
from framepack.pipeline.conditioning import Inputs, encode_inputs, load_pictures, prompts_of
from framepack.pipeline.device import choose_device
from framepack.pipeline.foresight import Foresight, check_lora_room, stay_in_files
from framepack.pipeline.output import VideoOutput
from framepack.pipeline.run import Run
from framepack.pipeline.skeleton import Skeleton
from framepack.pipeline.usable import check_inputs
from framepack.pipeline.work import WorkFolder
from framepack.spec.attention import left_to_sdpa
from framepack.spec.events import Event, Finished, Notice, Planned, StageStarted
from framepack.spec.plan import SectionPlan, plan
from framepack.spec.request import GenerationRequest, Lora
from framepack.spec.unheeded import unheeded
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_dtypes
from framepack.weights.sources import ModelSource


class FramePack:
    """A loaded model. `FramePack.load("mini").generate(request)` yields events; one generation at a time."""

    def __init__(self, loader: Loader, memory: MemoryManager, tiling: Tiling = "never") -> None:
        """Use `load`; `memory` lends "text", "image", "vae" and "transformer"."""
        self.model = loader.variant.name
        self.loader = loader
        self.memory = memory
        self.tiling: Tiling = tiling
        """Whether the VAE may work in spatial tiles, which leave faint seams, where memory is short."""
        self.mapped: frozenset[str] = frozenset()
        """Modules whose weights stay in their files."""
        self.foresight = Foresight(Skeleton(loader.folders, loader.dtypes), memory.device)
        self.loras: tuple[Lora, ...] = ()
        """What the transformer's weights hold beside their own."""
        self.lora_times: tuple[int, ...] = ()
        """When these files were last changed, nanoseconds."""
        self.lora_notices: tuple[str, ...] = ()
        """What of them has no effect."""

    @classmethod
    def load(
        cls,
        model: str = "mini",
        *,
        models_dir: Path | str | None = None,
        dtype: str | None = None,
        device: str | torch.device | None = "auto",
    ) -> Self:
        """Find `model` (a key of VARIANTS) and prepare to load its parts when they are first needed.

        dtype: float32, bfloat16 or float16; None is what suits the device. device: "auto" and None are the best there
        is. Raises ValueError where files are missing and for a device that is not here.
        """
        if model not in VARIANTS:
            raise ValueError(f"model must be one of {', '.join(VARIANTS)}, got {model!r}")
        where = choose_device(device)
        source = ModelSource(models_dir=None if models_dir is None else Path(models_dir))
        return cls.from_loader(Loader(VARIANTS[model], source, choose_dtypes(where, dtype)), MemoryManager(where))

    @classmethod
    def from_loader(cls, loader: Loader, memory: MemoryManager, tiling: Tiling = "never") -> Self:
        """Put a loader's parts into the care of `memory`. Checks that all files are there, reads none yet.

        tiling: "never", "allow" where nothing exact fits, or "always"; see `choices`.
        """
        check_tiling(tiling)
        _ = loader.folders
        framepack = cls(loader, memory, tiling)
        framepack.add_parts()
        return framepack

    def add_parts(self) -> None:
        """Put everything into the care of `memory`; each part is loaded when first needed."""
        self.mapped = stay_in_files(self.memory.budget, self.loader.sizes(), changed=bool(self.loras))
        self.add_text()
        self.memory.add("image", self.loader.image)
        self.memory.add("vae", self.loader.vae)
        self.add_transformer()

    def forget(self) -> None:
        """Let go of all weights, so that another model has the room; they are read anew when next needed."""
        self.memory.close()
        self.add_parts()

    def add_text(self) -> None:
        """Put the text encoders into the care of `memory`; as the transformer, they may stay in their files.

        They are passed through once a prompt, so no pinned buffers hold them: the transformer needs those more.
        """
        files: dict[str, FileSlice] | None = {} if "text" in self.mapped else None
        load = partial(self.loader.text, files)
        self.memory.add("text", load, files=files, blocks=lambda text: text.blocks, pin=False)

    def add_transformer(self) -> None:
        """Put the transformer, with the LoRAs in use, into the care of `memory`; it is loaded when first needed.

        Where RAM is limited, or too small, its weights stay in their files, unless LoRAs have changed them.
        """
        files: dict[str, FileSlice] | None = {} if "transformer" in self.mapped else None
        self.memory.add(
            "transformer",
            partial(self.loader.transformer, self.loras, files),
            files=files,
            blocks=lambda model: model.blocks,
            once=lambda model: model.once_per_job,
        )

    def use_loras(self, loras: tuple[Lora, ...]) -> None:
        """Let the transformer hold these LoRAs and no others: where they differ, it will be loaded anew.

        Raises LoraError for one that does not fit, ValueError for more RAM than allowed, OSError for a missing file.
        """
        loras = tuple(lora for lora in loras if lora.strength != 0)
        times = tuple(lora.file.stat().st_mtime_ns for lora in loras)
        if (loras, times) != (self.loras, self.lora_times):
            if loras:
                check_lora_room(self.memory.budget, self.loader.sizes()["transformer"])
            self.lora_notices = self.loader.check_loras(loras)
            self.loras, self.lora_times = loras, times
            self.reload_transformer()

    def reload_transformer(self) -> None:
        """Forget the transformer, and whatever was added to it; it is read from disk when next needed."""
        self.memory.remove("transformer")
        there = {name for name, part in self.memory.report().modules.items() if part.where != NOT_LOADED}
        waiting = {name: size for name, size in self.loader.sizes().items() if name not in there}
        if "text" in self.mapped:
            waiting.pop("text", None)
        stay = stay_in_files(self.memory.budget, waiting, changed=bool(self.loras))
        self.mapped = (self.mapped & {"text"}) | (stay & {"transformer"})
        self.add_transformer()

    def plan(
        self, request: GenerationRequest, sections: tuple[SectionPlan, ...], picture: tuple[int, int]
    ) -> tuple[Choices, Planned]:
        """How the job is to be done at `picture`, (height, width), and what it is foreseen to take.

        Raises ValueError where it cannot be done, or not without a change of the picture that nobody allowed.
        """
        memory = self.memory
        return self.foresight.of(
            request,
            sections,
            picture,
            memory.budget,
            tiling=self.tiling,
            high_vram=memory.high_vram,
            mapped=self.mapped,
            held=memory.report().held,
        )

    @torch.inference_mode()
    def generate(
        self, request: GenerationRequest, *, outputs: Path | str = Path("outputs"), work: Path | str | None = None
    ) -> Iterator[Event]:
        """Make the video of `request`, yielding events: `Planned` before the first work, `Finished` as the last one.

        outputs: where a request without a path puts its file. work: a folder that keeps each finished section; the
        same request with the same folder goes on after the last of them, to the same latents.
        Raises ValueError for what the user can mend (a file, a size, another model, a folder that another run uses),
        OSError for a full disk.
        """
        if request.model != self.model:
            raise ValueError(f"this is {self.model}, the request asks for {request.model}: load that model instead")
        request = request.resolved()
        try:
            yield from self._generate(request, Path(outputs), None if work is None else Path(work))
        finally:
            self.memory.end_job()

    def _generate(self, request: GenerationRequest, outputs: Path, work: Path | None) -> Iterator[Event]:
        began = time.monotonic()
        yield StageStarted(stage="encode", message="reading pictures and prompt")
        self.use_loras(request.loras)
        sections = plan(request)
        pictures, cut = load_pictures(request)
        choices, planned = self.plan(request, sections, pictures["start"].shape[:2])
        yield planned
        told = (*self.loader.notices(), *self.lora_notices, *left_to_sdpa(self.loader.attention_name, sections))
        for message in (*told, *unheeded(request), *cut):
            yield Notice(message=message)
        with (
            WorkFolder.open(work, request, outputs) as folder,
            VideoOutput.open(request, outputs, folder, sections) as video,
        ):
            for message in folder.notices:
                yield Notice(message=message)
            if video.kept:
                yield Notice(message=f"what an earlier run had made under this name is kept as {video.kept}")
            inputs = encode_inputs(self.memory, pictures, prompts_of(request, sections), choices)
            check_inputs(inputs, self.model)
            folder.save_conditioning(inputs.bank["start"], inputs.texts[sections[0].said], inputs.features["start"])
            yield from notices(inputs)
            yield StageStarted(stage="prepare", message="preparing all steps")
            run = Run(self.memory, request, sections, inputs, folder, video, choices)
            finished = yield from run.take_over()
            for section in sections[finished:]:
                yield from run.section(section)
            yield StageStarted(stage="finish", message="finishing the file")
            file, frames = video.finish()
        yield Finished(file=file, frames=frames, seconds=time.monotonic() - began)


def notices(inputs: Inputs) -> Iterator[Notice]:
    """What the encoders had to leave out, and, once for all prompts, what the model does not know."""
    for text in inputs.texts.values():
        if message := text.notice():
            yield Notice(message=message)
    if unknown := next((text.unknown for text in inputs.texts.values() if text.unknown), None):
        yield Notice(message=unknown)
