"""What a job's pictures and prompts become: latents, features, and the transformer's tables. Computed once a job.

Leases each encoder in turn, so at most one of them is on the device. Features and tables wait in RAM, so that what the
device holds grows neither with the sections nor with the prompts.
"""

from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from framepack.media.cuts import cuts
from framepack.media.edit import edited, fitted
from framepack.media.image import load_image
from framepack.memory import Effort, MemoryManager
from framepack.models.conditioning import ConditionTable
from framepack.models.encoders import TextFeatures
from framepack.models.transfer import to_device, to_host
from framepack.pipeline.choices import Choices
from framepack.sampling import needs_negative
from framepack.spec.plan import Said, SectionPlan
from framepack.spec.request import GenerationRequest

NOISE_SCALE = 1000.0
"""Timesteps and guidance enter the model times 1000."""
Mix = tuple[tuple[str, float], ...]
"""Keys of pictures and their weights; see `SectionPlan.image`."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Encoded inputs. Keys of `bank` and `features` are the plan's: "start", "end", "frame:0" ..."""

    bank: dict[str, Tensor]
    """(1, C, 1, h, w) float32 latents of the pictures, on the device."""
    features: dict[str, Tensor]
    """(1, N, I) SigLIP features of the pictures, in RAM."""
    texts: dict[Said, TextFeatures]
    """In RAM."""


def load_pictures(request: GenerationRequest) -> tuple[dict[str, np.ndarray], list[str]]:
    """All pictures of a request, edited and brought to the video's size: uint8 (H, W, 3) by bank key.

    And a sentence for each of which that cuts off much.
    """
    pictures = {key: edited(load_image(picture.file), picture) for key, picture in request.pictures.items()}
    height, width = request.size or request.size_for(*pictures["start"].shape[:2])
    said = cuts(request, {key: (pixels.shape[1], pixels.shape[0]) for key, pixels in pictures.items()})
    return {key: fitted(pictures[key], picture, width, height) for key, picture in request.pictures.items()}, said


def prompts_of(request: GenerationRequest, sections: tuple[SectionPlan, ...]) -> list[Said]:
    """Every text that must be encoded, once each; the negative one only where it has a say."""
    prompts = [section.said for section in sections]
    if needs_negative(request.cfg):
        prompts.append(Said(request.negative_prompt))
    return list(dict.fromkeys(prompts))


def encode_inputs(
    memory: MemoryManager, pictures: dict[str, np.ndarray], prompts: list[Said], choices: Choices
) -> Inputs:
    """Run the text encoders, the image encoder and the VAE's encoder."""

    def read_prompts(effort: Effort) -> dict[Said, TextFeatures]:
        with memory.lease("text", activations=choices.room("text")) as text_encoder:
            return {said: in_ram(text_encoder.encode(said.text, still=said.still)) for said in prompts}

    def look_at_pictures(effort: Effort) -> dict[str, Tensor]:
        with memory.lease("image", activations=choices.room("image")) as image_encoder:
            return {key: to_host(image_encoder.encode(picture)) for key, picture in pictures.items()}

    def encode_pictures(effort: Effort) -> dict[str, Tensor]:
        tiled = choices.encode_at(effort) == "tiled"
        with memory.lease("vae", activations=choices.room("encode", effort)) as vae:
            return {key: vae.encode(picture[None], spatial_tiling=tiled) for key, picture in pictures.items()}

    knobs = {"resident", "disk"}
    return Inputs(
        texts=memory.attempt("text", read_prompts, heeds=knobs),
        features=memory.attempt("image", look_at_pictures, heeds=knobs),
        bank=memory.attempt("encode", encode_pictures, heeds=knobs | {"tiled"}, **tiles(choices)),
    )


def in_ram(features: TextFeatures) -> TextFeatures:
    """The same features, off the device."""
    return replace(features, text=to_host(features.text), pooled=features.pooled.cpu())


class Consent(TypedDict):
    """What `MemoryManager.attempt` is told of tiles."""

    consent: bool
    advice: str


def tiles(choices: Choices) -> Consent:
    """Whether the VAE may be tiled when memory runs out, and what to advise where it may not."""
    consent = choices.tiling != "never"
    advice = "" if consent else "allow VAE tiles, which leave faint seams, with --vae-tiling allow"
    return {"consent": consent, "advice": advice}


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The condition tables of a job, in RAM: modulation and text by prompt, image tokens by mix of pictures.

    A long video with an end frame has as many mixes as sections, so only those in use are on the device.
    """

    memory: MemoryManager
    by_prompt: dict[Said, ConditionTable]
    """Without image tokens: each section brings its own."""
    by_mix: dict[Mix, Tensor]
    """(1, N, D)"""

    def table(self, prompt: Said, section: SectionPlan) -> ConditionTable:
        """The table for `prompt` with the section's mix of pictures, brought to the device; drop it after the section.

        Raises MemoryExhaustedError where the device has no room for it.
        """
        waiting = replace(self.by_prompt[prompt], image=self.by_mix[section.image])
        device = self.memory.device
        return self.memory.attempt("prepare", lambda effort: waiting.to(device), heeds={"resident", "disk"})


def make_tables(
    memory: MemoryManager,
    inputs: Inputs,
    sections: tuple[SectionPlan, ...],
    sigmas: Tensor,
    guidance: float,
    choices: Choices,
) -> Tables:
    """Everything that step, prompt and picture decide, for all steps and sections of the job; one at a time."""
    device = memory.device
    timesteps = (sigmas[:-1] * NOISE_SCALE).to(device)
    scale = torch.tensor([guidance * NOISE_SCALE], device=device)
    no_image = inputs.features["start"][:, :0].to(device)

    def work(effort: Effort) -> Tables:
        with memory.lease("transformer", once=True, activations=choices.room("prepare")) as transformer:
            by_prompt = {
                prompt: transformer.condition(
                    timesteps, scale, text.pooled.to(device), to_device(text.text, device), None, no_image
                ).to("cpu")
                for prompt, text in inputs.texts.items()
            }
            by_mix = {
                mix: to_host(transformer.project_image(mix_features(inputs.features, mix, device)))
                for mix in dict.fromkeys(section.image for section in sections)
            }
        return Tables(memory=memory, by_prompt=by_prompt, by_mix=by_mix)

    return memory.attempt("prepare", work, heeds={"resident", "disk"})


def mix_features(features: dict[str, Tensor], mix: Mix, device: torch.device) -> Tensor:
    """Weighted mean of the pictures' features, on the device; a single picture's are passed on untouched."""
    if len(mix) == 1:
        return to_device(features[mix[0][0]], device)
    return torch.stack([to_device(features[key], device) * weight for key, weight in mix]).sum(0)
