"""Makes the sections of a plan from conditioning: a generator that knows no files and no listeners.

Sections that exist already are handed in and not made again: a resume, one section made anew, a longer video are all
"which are there". Memory is constant in the video's length. Closing the generator cancels within a step.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from framepack.caching import CACHES
from framepack.models.hunyuan.vae import to_uint8, to_unit
from framepack.models.hunyuan.vae_tiles import TileMemo
from framepack.models.packing import ContextLatents, PackedTokens
from framepack.models.transfer import to_device
from framepack.pipeline.borders import settled
from framepack.pipeline.clip import ClipJoiner
from framepack.pipeline.conditioning import Conditioning, Tables, make_tables, nag_of, pooled_nag_of
from framepack.pipeline.denoiser import Branch, Guidance, NoiseSource, make_denoiser
from framepack.pipeline.drift import DriftGuard, DriftMeter
from framepack.pipeline.given import Given, sigmas_of
from framepack.pipeline.history import History
from framepack.pipeline.runner import Runner
from framepack.pipeline.seams import joined
from framepack.pipeline.usable import UnusableError, require_usable
from framepack.sampling import SAMPLERS, SampleStep, make_sigmas, needs_negative
from framepack.spec.ends import MADE_FIRST
from framepack.spec.events import Look, Notice, StageStarted, StepDone
from framepack.spec.plan import SectionPlan
from framepack.spec.request import GenerationRequest
from framepack.spec.stills import Still, stills
from framepack.spec.windows import EMPTY, NEIGHBOUR, Said, Window

OVERFLOWN = (
    "the transformer's output is not finite, so there would be nothing to see: use --dtype bfloat16 or float32 in "
    "place of float16. Otherwise the model is damaged (`framepack models verify {model}`) or a LoRA, or --cfg is too "
    "high"
)


@dataclass(frozen=True, kw_only=True)
class SectionResult:
    """A section that is there now."""

    section: SectionPlan
    latents: Tensor
    """(1, C, T, h, w) float32, on the device."""
    given: bool
    """It was handed in, not made."""
    frames: Tensor | None
    """uint8 (T, H, W, 3): final, no later section changes them. None where they were not wanted.

    Of a wide engine: float32, 0..1."""
    provisional: Tensor
    """As `frames`: those at the growing edge that the next section will still blend."""
    seconds: float
    """That it took."""
    look: Look | None = None
    """What it looks like; None where it was not decoded."""


Made = StageStarted | StepDone | Notice | SectionResult
Known = Callable[[SectionPlan], Tensor | None]
"""The latents (1, C, T, h, w) of a section that exists already; None for one that is to be made."""


def nothing_given(section: SectionPlan) -> None:
    """All sections are to be made."""


class Engine:
    """What one run holds between its sections: history, joiner, noise and tables. Nothing of it outlives the run."""

    def __init__(
        self,
        runner: Runner,
        request: GenerationRequest,
        sections: tuple[SectionPlan, ...],
        conditioning: Conditioning,
        *,
        history: Tensor | None = None,
        wide: bool = False,
    ) -> None:
        """history: latents (1, C, T, h, w), in timeline order, that lie before the first section; zeros where none.

        wide: frames are handed on as the decoder's floats, not in 8 bits.
        """
        self.shown = to_unit if wide else to_uint8
        start = conditioning.latents["start"]
        self.runner, self.request, self.sections = runner, request, sections
        self.memo, self.meter, self.guard = TileMemo(), DriftMeter(conditioning.start), DriftGuard(request.guard)
        self.latents = {
            key: to_device(latent, runner.device) for key, latent in conditioning.latents.items() if key != "source"
        }
        self.given = Given(request, conditioning, runner.device)
        keep = max(request.geometry.history, *(section.decode_latents for section in sections))
        self.history = History(sections[0].direction, self.latents["start"], keep, history)
        self.joiner = ClipJoiner(sections[0].direction)
        self.noise = NoiseSource([len(section.at) for section in sections], start)
        self.still_noise = NoiseSource([1], start)
        # while the VAE is still on the device
        self.preview = runner.run("encode", lambda vae, modes: vae.preview_map())
        pixels = (side * request.geometry.spatial for side in start.shape[-2:])
        tokens = request.window * request.geometry.tokens(*pixels)
        self.sigmas = sigmas_of(request, tokens)
        self.stills = stills(request)
        levels = make_sigmas(request.steps, tokens, request.shift)
        self.still_sigmas = {still.key: levels * still.level for still in self.stills if still.level < 1}

        def tables(windows: tuple[Window, ...], sigmas: Tensor) -> Tables:
            return make_tables(runner, conditioning, windows, sigmas, request.guidance, pooled_nag_of(request))

        self.tables = tables((*sections, *self.stills), self.sigmas)
        self.still_tables = {
            still.key: tables((still,), self.still_sigmas[still.key]) for still in self.stills if still.level < 1
        }

    def run(self, given: Known = nothing_given, *, frames_from: int = 0) -> Generator[Made]:
        """Make the sections in their order.

        frames_from: the first section, by its index, whose frames are wanted; those before must be given, and of the
        last of them the provisional frames are decoded, into which the next one blends.
        """
        for still in self.stills:
            yield from self._make_still(still)
        for section in self.sections:
            began = time.monotonic()
            self._anchor(section.before)
            latents = given(section)
            if made := latents is None:
                self._see_neighbour(section, given)
                yield StageStarted(stage="section", message="sampling", section=section.index)
                latents = self.guard.held(section, (yield from self._sample(section)))
                latents = self.given.kept(section, settled(section, latents, self.latents, self.history))
                yield from self._notices()
            else:
                latents = to_device(latents, self.runner.device)
            self.guard.note(section, latents)
            self.history.add(latents)
            if section.index == 0:
                self.latents[MADE_FIRST] = latents
            self._anchor(section.after)
            frames, look, wanted = None, None, section.index >= frames_from
            if wanted or (section.index == frames_from - 1 and section.index < len(self.sections) - 1):
                again = "lost frames again" if wanted else "the growing edge again"
                said = "decoding" if made else f"decoding {again}"
                yield StageStarted(stage="decode", message=said, section=section.index)
                frames, look = self._join(section, wanted=wanted)
                yield from self._notices()
            yield SectionResult(
                section=section,
                latents=latents,
                given=not made,
                frames=frames,
                provisional=self.shown(self.joiner.provisional),
                seconds=time.monotonic() - began if made else 0.0,
                look=look,
            )

    def _anchor(self, anchors: tuple[Any, ...]) -> None:
        """Let pictures join the history."""
        for anchor in anchors:
            latents = self.latents[anchor.source]
            self.history.add(latents if anchor.take is None else latents[:, :, list(anchor.take)])

    def _make_still(self, still: Still) -> Generator[StageStarted]:
        """Put a moment's latent into the bank: as a section of it would begin, or of a keyframe with some noise."""
        noise = to_device(self.still_noise.draw(still.noise, len(still.at)), self.runner.device)
        if still.level < 1:
            start = still.level * noise + (1 - still.level) * self.latents[still.key]
            steps = self._steps(still, start, self.still_sigmas[still.key], self.still_tables[still.key])
        else:
            steps = self._begun(still, noise)
        for step in steps:
            yield StageStarted(stage="section", message=f"making a still, step {step.index + 1}")
            self.latents[still.key] = step.denoised[:, :, -1:]

    def _see_neighbour(self, section: SectionPlan, given: Known) -> None:
        """Let a section that is made between two others see the one on its far side, which is given."""
        if all(span.source != NEIGHBOUR for span in section.context):
            return
        if (latents := given(self.sections[section.index + 1])) is None:
            raise ValueError(f"section {section.index + 2} of the plan must be given: the one before it is made beside")
        self.latents[NEIGHBOUR] = to_device(latents, self.runner.device)

    def _sample(self, section: SectionPlan) -> Generator[StepDone, None, Tensor]:
        """Denoise one window: (1, C, T, h, w) float32, what is kept of it."""
        noise = to_device(self.noise.draw(section.noise, len(section.at)), self.runner.device)
        denoised, kept = noise, slice(-len(section.latents), None)
        for step in self._begun(section, noise):
            denoised = step.denoised[:, :, kept]
            yield StepDone(
                section=section.index,
                sections=len(self.sections),
                step=step.index,
                steps=self.request.steps,
                preview=self.preview(denoised),
            )
        return denoised

    def _branches(self, window: Window, tables: Tables) -> list[Branch]:
        """The positive branch, which may be led away from the negative prompt itself, and the negative one."""
        request, negative, nag = self.request, Said(self.request.negative_prompt), nag_of(self.request)

        def branch(said: Said, away: Said | None = None) -> Branch:
            cache = CACHES[request.cache](steps=request.steps, threshold=request.cache_threshold)
            return Branch(table=tables.table(said, window, away), cache=cache, nag=nag if away else None)

        positive = branch(window.said, negative if nag else None)
        return [positive, branch(negative)] if needs_negative(request.cfg) else [positive]

    def _begun(self, window: Window, noise: Tensor) -> Iterator[SampleStep]:
        """Denoise one window from noise and what is given of it, which stays where it stands still."""
        start = self.given.begun(window, noise, float(self.sigmas[0]))
        return self._steps(window, start, self.sigmas, self.tables, kept=True)

    def _steps(
        self, window: Window, start: Tensor, sigmas: Tensor, tables: Tables, *, kept: bool = False
    ) -> Iterator[SampleStep]:
        """Denoise one window from `start`, (1, C, T, h, w) float32, at the first of the noise levels.

        kept: a motion mask holds.
        """
        request = self.request
        branches, packed = self._branches(window, tables), self._pack(window, start)
        guidance = Guidance(scale=request.cfg, rescale=request.cfg_rescale, mode=request.guidance_mode)
        denoiser = make_denoiser(self.runner, packed, sigmas, branches, guidance)
        if kept:
            denoiser = self.given.held(window, denoiser)
        for step in SAMPLERS[request.sampler](denoiser, start, sigmas):
            if not step.denoised.isfinite().all():
                raise UnusableError(OVERFLOWN.format(model=request.model))
            yield step

    def _pack(self, section: Window, noise: Tensor) -> PackedTokens:
        """The section's context, from history and conditioning latents."""

        def source(name: str, take: range) -> Tensor:
            if name == EMPTY:
                return torch.zeros_like(noise[:, :, :1]).repeat(1, 1, len(take), 1, 1)
            return self.history.take(take) if name == "history" else self.latents[name][:, :, list(take)]

        context = [
            ContextLatents(
                latents=source(span.source, span.take),
                at=span.at,
                scale=span.scale,
                weight=span.weight,
                key_scale=span.key_scale,
            )
            for span in section.context
        ]
        frames, rows, columns = noise.shape[-3:]
        return self.runner.run(
            "sample",
            lambda transformer, modes: transformer.pack(context, section.at, (frames, rows, columns)),
            phase="pack",
        )

    def _join(self, section: SectionPlan, *, wanted: bool) -> tuple[Tensor | None, Look]:
        """Decode the section's clip and blend it in; its final frames, where they are wanted, and its look.

        The look is that of the newest frames, before any blending.
        """
        clip = self._decode(section)
        count = self.request.geometry.frames_of(len(section.latents))
        look = self.meter.look(clip[:count] if section.direction == "backward" else clip[-count:])
        if not wanted:
            self.joiner.hold(clip, section.provisional)
            return None, look
        return self.shown(self.joiner.join(clip, section.overlap, section.provisional)), look

    def _decode(self, section: SectionPlan) -> Tensor:
        """The clip at the growing edge, float32 (T, H, W, 3); tiles of time that the last clip had are remembered."""
        self.memo.repeats = section.repeats
        latents = self.history.edge(section.decode_latents)
        clip = self.runner.run(
            "decode", lambda vae, modes: vae.decode_float(latents, mode=modes.decode, memo=self.memo)
        )
        require_usable("VAE", clip, self.request.model)
        return joined(clip, section, self.given)

    def _notices(self) -> Iterator[Notice]:
        """What was given up since the last call so that the work could go on."""
        for message in self.runner.memory.notices():
            yield Notice(message=message)


def whole(sections: tuple[SectionPlan, ...], runs: list[Tensor]) -> Tensor:
    """Runs of final frames, in the order they were made, as one video."""
    return torch.cat(runs[::-1] if sections[0].direction == "backward" else runs)
