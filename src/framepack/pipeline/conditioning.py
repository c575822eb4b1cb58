"""What a job's pictures and prompts become: latents, features, and the transformer's tables. Computed once a job.

Leases each encoder in turn, so at most one of them is on the device. Features and tables wait in RAM, so that what the
device holds grows neither with the sections nor with the prompts.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from framepack.media.clips import look, size_for
from framepack.media.cuts import cuts
from framepack.media.edit import fitted
from framepack.models.conditioning import ConditionTable
from framepack.models.hunyuan.encoders import TextFeatures
from framepack.models.nag import Nag
from framepack.models.transfer import to_device, to_host
from framepack.pipeline.runner import Runner
from framepack.pipeline.sources import Sources
from framepack.sampling import needs_negative
from framepack.spec.plan import SectionPlan
from framepack.spec.request import GenerationRequest
from framepack.spec.stills import stills
from framepack.spec.variants import VARIANTS
from framepack.spec.windows import Said, Window

NOISE_SCALE = 1000.0
"""Timesteps and guidance enter the model times 1000."""
Mix = tuple[tuple[str, float], ...]
"""Keys of pictures and their weights; see `SectionPlan.image`."""


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """Encoded prompts and pictures. Keys of `latents` and `features` are the plan's: "start", "end", "frame:0" ..."""

    latents: dict[str, Tensor]
    """(1, C, t, h, w) float32 of the pictures, t = 1, or of clips, on the device; those of clips: see `sources`."""
    features: dict[str, Tensor]
    """(1, N, I) of the pictures, in RAM; empty for a family that has none."""
    texts: dict[Said, TextFeatures]
    """In RAM."""
    start: np.ndarray | None = None
    """The start picture, uint8 (H, W, 3), as the video's frames have it; None where there is none."""
    sources: Sources = field(default_factory=Sources)
    """What a task is given beside its pictures."""


def load_pictures(request: GenerationRequest) -> tuple[dict[str, np.ndarray], list[str]]:
    """All pictures of a request, edited and brought to the video's size: uint8 (H, W, 3) by key.

    And a sentence for each of which that cuts off much.
    """
    pictures = {key: look(request, key, picture) for key, picture in request.pictures.items()}
    height, width = size_for(request, *pictures["start"].shape[:2])
    said = cuts(request, {key: (pixels.shape[1], pixels.shape[0]) for key, pixels in pictures.items()})
    return {key: fitted(pictures[key], picture, width, height) for key, picture in request.pictures.items()}, said


def prompts_of(request: GenerationRequest, sections: tuple[SectionPlan, ...]) -> list[Said]:
    """Every text that must be encoded, once each; the negative one only where it has a say."""
    prompts = [window.said for window in (*sections, *stills(request))]
    if needs_negative(request.cfg) or nag_of(request):
        prompts.append(Said(request.negative_prompt))
    return list(dict.fromkeys(prompts))


def nag_of(request: GenerationRequest) -> Nag | None:
    """How attention leads away from the negative prompt; None where it does not."""
    if request.nag == 1 or request.nag_alpha == 0:
        return None
    return Nag(scale=request.nag, alpha=request.nag_alpha, tau=request.nag_tau, end=request.nag_end)


def encode(runner: Runner, pictures: dict[str, np.ndarray], prompts: list[Said]) -> Conditioning:
    """Run the text encoders, the image encoder and the VAE's encoder."""
    read = dict.fromkeys(alone for said in prompts for alone in said.alone)
    known = runner.run(
        "text",
        lambda text, modes: {said: in_ram(text.encode(said.text, still=said.still)) for said in read},
    )
    texts = {said: blend([(known[one], share) for one, share in said.alone.items()]) for said in prompts}
    features: dict[str, Tensor] = {}
    if "image" in runner.stages:
        features = runner.run(
            "image", lambda image, modes: {key: to_host(image.encode(pixels)) for key, pixels in pictures.items()}
        )
    latents = runner.run(
        "encode",
        lambda vae, modes: {key: vae.encode(pixels[None], mode=modes.encode) for key, pixels in pictures.items()},
    )
    return Conditioning(latents=latents, features=features, texts=texts, start=pictures.get("start"))


def blend(parts: list[tuple[TextFeatures, float]]) -> TextFeatures:
    """Features of several texts, mixed by their shares; a shorter one's last token is repeated. One text is itself."""
    first = parts[0][0]
    if len(parts) == 1:
        return first
    longest = max(features.text.shape[1] for features, _ in parts)

    def padded(text: Tensor) -> Tensor:
        return torch.cat([text, text[:, -1:].repeat(1, longest - text.shape[1], 1)], dim=1)

    text = torch.stack([padded(features.text) * share for features, share in parts]).sum(0)
    return replace(first, text=text, pooled=torch.stack([one.pooled * share for one, share in parts]).sum(0))


def in_ram(features: TextFeatures) -> TextFeatures:
    """The same features, off the device."""
    return replace(features, text=to_host(features.text), pooled=features.pooled.cpu())


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The condition tables of a job, in RAM: modulation and text by prompt, image tokens by mix of pictures.

    A long video with an end frame has as many mixes as sections, so only those in use are on the device.
    """

    runner: Runner
    by_prompt: dict[Said, ConditionTable]
    """Without image tokens: each section brings its own."""
    by_mix: dict[Mix, Tensor]
    """(1, N, D)"""

    def table(self, prompt: Said, section: Window, negative: Said | None = None) -> ConditionTable:
        """The table for `prompt` with the section's mix of pictures, brought to the device; drop it after the section.

        negative: a prompt whose text attention is to lead away from. Raises MemoryExhaustedError where the device has
        not enough memory for it.
        """
        waiting = self.by_prompt[prompt]
        waiting = replace(waiting, image=self.by_mix.get(section.image, waiting.image))
        if negative is not None:
            waiting = replace(waiting, negative=self.by_prompt[negative].text)
        device = self.runner.device
        return self.runner.memory.retry_with_less_memory(
            "prepare", lambda level: waiting.to(device), supported=self.runner.stages["prepare"].supports
        )


@dataclass(frozen=True, kw_only=True)
class PooledNag:
    """Leads prompts' pooled text away from the negative one's, in the steps in which attention is led away."""

    nag: Nag
    negative: Said

    def guided(self, pooled: dict[Said, Tensor], sigmas: Tensor) -> dict[Said, Tensor]:
        """(1, P) each to (S, 1, P); the negative prompt's own stays as it is, as cfg may guide with it too."""
        away = pooled[self.negative]
        acts = torch.tensor([self.nag.acts_at(sigma) for sigma in sigmas[:-1].tolist()])[:, None, None]
        led = {said: torch.where(acts, self.nag.guided(own, away), own) for said, own in pooled.items()}
        return led | {self.negative: away}


def pooled_nag_of(request: GenerationRequest) -> PooledNag | None:
    """None where there is nothing to lead away from, and for models that are led in the attention alone."""
    nag = nag_of(request)
    if nag is None or not request.negative_prompt or not VARIANTS[request.model].pooled_nag:
        return None
    return PooledNag(nag=nag, negative=Said(request.negative_prompt))


def make_tables(
    runner: Runner,
    conditioning: Conditioning,
    sections: tuple[Window, ...],
    sigmas: Tensor,
    guidance: float,
    away: PooledNag | None = None,
) -> Tables:
    """Everything that step, prompt and picture decide, for all steps and sections of the job; one at a time."""
    device, features, prepare = runner.device, conditioning.features, runner.stages["prepare"]
    pooled = {said: text.pooled for said, text in conditioning.texts.items()}
    if away:
        pooled = away.guided(pooled, sigmas)
    timesteps = (sigmas[:-1] * NOISE_SCALE).to(device)
    scale = torch.tensor([guidance * NOISE_SCALE], device=device)
    mixes = dict.fromkeys(section.image for section in sections) if features else {}

    def work(transformer: Any, modes: Any) -> Tables:
        def table(said: Said, text: TextFeatures) -> ConditionTable:
            words, tokens = pooled[said].to(device), to_device(text.text, device)
            return prepare.work(transformer, timesteps, scale, words, tokens, None, None, modes=modes).to("cpu")

        by_prompt = {said: table(said, text) for said, text in conditioning.texts.items()}
        by_mix = {mix: to_host(transformer.project_image(mixed(features, mix, device))) for mix in mixes}
        return Tables(runner=runner, by_prompt=by_prompt, by_mix=by_mix)

    return runner.run("prepare", work)


def mixed(features: dict[str, Tensor], mix: Mix, device: torch.device) -> Tensor:
    """Weighted mean of the pictures' features, on the device; a single picture's are passed on untouched."""
    if len(mix) == 1:
        return to_device(features[mix[0][0]], device)
    return torch.stack([to_device(features[key], device) * weight for key, weight in mix]).sum(0)
