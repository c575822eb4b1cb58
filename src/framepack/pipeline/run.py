"""One run of the section loop: everything a job holds between its sections, and nothing that outlives it."""

import time
from collections.abc import Generator

import torch
from torch import Tensor

from framepack.caching import CACHES
from framepack.memory import Effort, MemoryManager
from framepack.models.packing import ContextLatents, PackedTokens
from framepack.models.transfer import to_device
from framepack.models.vae import PreviewMap
from framepack.models.vae_tiles import TileMemo
from framepack.pipeline.choices import Choices
from framepack.pipeline.clip import ClipJoiner, to_uint8
from framepack.pipeline.conditioning import Inputs, make_tables, tiles
from framepack.pipeline.denoiser import Branch, draw_noise, make_denoiser
from framepack.pipeline.history import History
from framepack.pipeline.output import VideoOutput
from framepack.pipeline.seal import DamagedError
from framepack.pipeline.usable import UnusableError, require_usable
from framepack.pipeline.work import WorkFolder
from framepack.sampling import SAMPLERS, make_sigmas, needs_negative
from framepack.spec.events import Event, Notice, SectionDone, StageStarted, StepDone
from framepack.spec.plan import HISTORY, Said, SectionPlan
from framepack.spec.request import GenerationRequest

OVERFLOWN = (
    "the transformer's numbers have left what their type can hold, so there would be nothing to see: use --dtype "
    "bfloat16 or float32 where it was float16, else look for a damaged model (`framepack models verify {model}`) or "
    "LoRA, or a high --cfg"
)


class Run:
    """History, joiner, noise and tables of one job."""

    def __init__(
        self,
        memory: MemoryManager,
        request: GenerationRequest,
        sections: tuple[SectionPlan, ...],
        inputs: Inputs,
        folder: WorkFolder,
        video: VideoOutput,
        choices: Choices,
    ) -> None:
        start = inputs.bank["start"]
        height, width = start.shape[-2:]
        self.memory, self.request, self.sections = memory, request, sections
        self.folder, self.video, self.choices = folder, video, choices
        self.memo = TileMemo()
        self.device = memory.device
        self.bank = {key: to_device(latent, self.device) for key, latent in inputs.bank.items()}
        self.history = History(
            sections[0].grows, self.bank["start"], max(HISTORY, *(s.decode_latents for s in sections))
        )
        self.joiner = ClipJoiner(sections[0].grows)
        self.noise = torch.Generator("cpu").manual_seed(request.seed)
        # while the VAE is still on the device
        self.preview = memory.attempt("encode", self.preview_map, heeds={"resident", "disk"})
        self.sigmas = make_sigmas(request.steps, request.window * (height // 2) * (width // 2), request.shift)
        self.tables = make_tables(memory, inputs, sections, self.sigmas, request.guidance, choices)

    def preview_map(self, effort: Effort) -> PreviewMap:
        """How latents look at a glance."""
        with self.memory.lease("vae", activations=self.choices.room("encode", effort)) as vae:
            return vae.preview_map()

    def section(self, section: SectionPlan) -> Generator[Event]:
        """Make one section: sample it, decode it, hand on what is settled, and write it down."""
        began = time.monotonic()
        noise = self.begin(section)
        yield StageStarted(stage="section", message="sampling", section=section.index)
        latents = yield from self.sample(section, noise)
        yield from self.news()
        yield StageStarted(stage="decode", message="decoding", section=section.index)
        self.remember(section, latents)
        self.show(section)
        self.folder.save_section(section.index, latents, self.video.sum)
        yield from self.news()
        yield self.published(section, time.monotonic() - began)

    def show(self, section: SectionPlan) -> None:
        """Decode a section and write down the frames that are settled with it."""
        settled = self.joiner.join(self.decode(section), section.overlap, section.unsettled)
        self.video.write(section.index, to_uint8(settled).numpy())

    def published(self, section: SectionPlan, seconds: float) -> SectionDone:
        """Make all frames up to a section playable."""
        file, frames = self.video.publish(section.index, to_uint8(self.joiner.unsettled).numpy())
        return SectionDone(
            section=section.index, sections=len(self.sections), frames=frames, seconds=seconds, file=file
        )

    def take_over(self) -> Generator[Event, None, int]:
        """Pick up the sections that an earlier run finished and nothing has damaged; return how many.

        Frames that are not in the file any more are decoded again, each section after an event, so that it can be
        cancelled.
        """
        whole, settled = yield from self.intact()
        lost = self.video.lost(whole - 1, settled) if whole else ""
        if lost:
            yield Notice(message=f"{lost}: its frames are decoded again from the finished sections")
        for section in self.sections[:whole]:
            self.begin(section)
            latents, _ = self.folder.load_section(section.index, self.shape(section))
            self.remember(section, to_device(latents, self.device))
            if lost:
                yield StageStarted(stage="decode", message="decoding lost frames again", section=section.index)
                self.show(section)
            if lost or self.folder.older:
                self.folder.save_section(section.index, latents, self.video.sum)
        if self.folder.older:
            self.folder.sign()
        if 0 < whole < len(self.sections):
            last = self.sections[whole - 1]
            if not lost:
                yield StageStarted(stage="decode", message="decoding the growing edge again", section=last.index)
                self.joiner.hold(self.decode(last), last.unsettled)
            yield self.published(last, 0.0)
        yield from self.news()
        return whole

    def intact(self) -> Generator[Event, None, tuple[int, str]]:
        """How many sections, from the first on, are as they were written, and the SHA-256 of their settled frames."""
        settled = ""
        for section in self.sections[: self.folder.finished()]:
            try:
                _, record = self.folder.load_section(section.index, self.shape(section))
            except DamagedError as error:
                where = f"section {section.index + 1} of {len(self.sections)}"
                yield Notice(message=f"{error}: the video is made again from {where} on")
                return section.index, settled
            settled = record.settled
        return min(self.folder.finished(), len(self.sections)), settled

    def shape(self, section: SectionPlan) -> tuple[int, ...]:
        """Of a section's latents: (1, C, T, h, w)."""
        start = self.bank["start"].shape
        return (*start[:2], len(section.latents), *start[-2:])

    def begin(self, section: SectionPlan) -> Tensor:
        """Draw the section's noise and let what comes before it join the history."""
        noise = to_device(draw_noise(self.noise, self.bank["start"], len(section.latents)), self.device)
        for anchor in section.before:
            self.history.add(self.bank[anchor.source] * anchor.weight)
        return noise

    def sample(self, section: SectionPlan, noise: Tensor) -> Generator[StepDone, None, Tensor]:
        """Denoise one window: (1, C, T, h, w) float32."""
        request = self.request
        steps = request.steps
        prompts = [section.said, Said(request.negative_prompt)][: 2 if needs_negative(request.cfg) else 1]
        branches = [
            Branch(
                table=self.tables.table(prompt, section),
                cache=CACHES[request.cache](steps=steps, threshold=request.cache_threshold),
            )
            for prompt in prompts
        ]
        denoised = noise
        packed = self.memory.attempt(
            "pack", lambda effort: self.pack(section, noise, effort), heeds={"resident", "rows", "disk"}
        )
        denoiser = make_denoiser(
            self.memory, packed, self.sigmas, branches, request.cfg, request.cfg_rescale, self.choices
        )
        for step in SAMPLERS[request.sampler](denoiser, noise, self.sigmas):
            denoised = step.denoised
            if not denoised.isfinite().all():
                raise UnusableError(OVERFLOWN.format(model=request.model))
            yield StepDone(
                section=section.index,
                sections=len(self.sections),
                step=step.index,
                steps=steps,
                preview=self.preview(denoised),
            )
        return denoised

    def pack(self, section: SectionPlan, noise: Tensor, effort: Effort) -> PackedTokens:
        """Gather the section's context from history and bank."""
        context = [
            ContextLatents(
                latents=self.history.take(span.take) if span.source == "history" else self.bank[span.source],
                at=span.at,
                scale=span.scale,
                weight=span.weight,
                key_scale=span.key_scale,
            )
            for span in section.context
        ]
        frames, height, width = noise.shape[-3:]
        with self.memory.lease("transformer", activations=self.choices.room("sample", effort)) as transformer:
            return transformer.pack(context, section.at, (frames, height, width))

    def remember(self, section: SectionPlan, latents: Tensor) -> None:
        """Let the section's latents, and those that close it, join the history."""
        self.history.add(latents)
        for anchor in section.after:
            self.history.add(self.bank[anchor.source] * anchor.weight)

    def decode(self, section: SectionPlan) -> Tensor:
        """The clip at the growing edge, float32 (T, H, W, 3); tiles of time that the last clip had are remembered."""
        count, again = section.decode_latents, len(section.latents) if section.unsettled else 0
        self.memo.repeats = range(again) if section.grows == "backward" else range(count - again, count)

        def work(effort: Effort) -> Tensor:
            way = self.choices.decode_at(effort)
            with self.memory.lease("vae", activations=self.choices.room("decode", effort)) as vae:
                return vae.decode_float(
                    self.history.edge(count), spatial_tiling=way == "tiled", rows=way == "rows", memo=self.memo
                )

        knobs = {"resident", "rows", "tiled", "disk"}
        clip = self.memory.attempt("decode", work, heeds=knobs, **tiles(self.choices))
        require_usable("VAE", clip, self.request.model)
        return clip

    def news(self) -> Generator[Notice]:
        """What was given up since the last call so that the work could go on."""
        for message in self.memory.news():
            yield Notice(message=message)
