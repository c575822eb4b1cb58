"""What a job's pictures and prompts become: latents, features, and the transformer's tables. Computed once a job.

Leases each encoder in turn, so at most one of them is on the device.
"""

from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from framepack.media.image import bucket_crop, load_image
from framepack.memory import Effort, MemoryManager
from framepack.models.conditioning import ConditionTable
from framepack.models.encoders import TextFeatures
from framepack.pipeline.choices import Choices
from framepack.sampling import needs_negative
from framepack.spec.plan import SectionPlan
from framepack.spec.request import GenerationRequest

NOISE_SCALE = 1000.0
"""Timesteps and guidance enter the model times 1000."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Encoded inputs. Keys of `bank` and `features` are the plan's: "start", "end", "frame:0" ..."""

    bank: dict[str, Tensor]
    """(1, C, 1, h, w) float32 latents of the pictures."""
    features: dict[str, Tensor]
    """(1, N, I) SigLIP features of the pictures."""
    texts: dict[str, TextFeatures]
    """By prompt."""


def load_pictures(request: GenerationRequest) -> dict[str, np.ndarray]:
    """All pictures of a request, cropped to the video's size: uint8 (H, W, 3) by bank key."""
    pictures = {key: load_image(file) for key, file in request.pictures.items()}
    height, width = request.size or request.size_for(*pictures["start"].shape[:2])
    return {key: bucket_crop(picture, width, height) for key, picture in pictures.items()}


def prompts_of(request: GenerationRequest, sections: tuple[SectionPlan, ...]) -> list[str]:
    """Every text that must be encoded, once each; the negative one only where it has a say."""
    prompts = [section.prompt for section in sections]
    if needs_negative(request.cfg):
        prompts.append(request.negative_prompt)
    return list(dict.fromkeys(prompts))


def encode_inputs(
    memory: MemoryManager, pictures: dict[str, np.ndarray], prompts: list[str], choices: Choices
) -> Inputs:
    """Run the text encoders, the image encoder and the VAE's encoder."""

    def read_prompts(effort: Effort) -> dict[str, TextFeatures]:
        with memory.lease("text", activations=choices.room("text")) as text_encoder:
            return {prompt: text_encoder.encode(prompt) for prompt in prompts}

    def look_at_pictures(effort: Effort) -> dict[str, Tensor]:
        with memory.lease("image", activations=choices.room("image")) as image_encoder:
            return {key: image_encoder.encode(picture) for key, picture in pictures.items()}

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
    """The condition tables of a job: modulation and text by prompt, image tokens by mix of pictures."""

    by_prompt: dict[str, ConditionTable]
    by_mix: dict[tuple[tuple[str, float], ...], Tensor]

    def table(self, prompt: str, section: SectionPlan) -> ConditionTable:
        """The table for `prompt` with the section's mix of pictures."""
        return replace(self.by_prompt[prompt], image=self.by_mix[section.image])


def make_tables(
    memory: MemoryManager,
    inputs: Inputs,
    sections: tuple[SectionPlan, ...],
    sigmas: Tensor,
    guidance: float,
    choices: Choices,
) -> Tables:
    """Everything that step, prompt and picture decide, for all steps and sections of the job."""
    device = memory.device
    timesteps = (sigmas[:-1] * NOISE_SCALE).to(device)
    scale = torch.tensor([guidance * NOISE_SCALE], device=device)
    mixes = {section.image: mix_features(inputs.features, section.image).to(device) for section in sections}
    any_mix = next(iter(mixes.values()))

    def work(effort: Effort) -> Tables:
        with memory.lease("transformer", once=True, activations=choices.room("prepare")) as transformer:
            tables = {
                prompt: transformer.condition(
                    timesteps, scale, text.pooled.to(device), text.text.to(device), None, any_mix
                )
                for prompt, text in inputs.texts.items()
            }
            images = {mix: transformer.project_image(features) for mix, features in mixes.items()}
        return Tables(by_prompt=tables, by_mix=images)

    return memory.attempt("prepare", work, heeds={"resident", "disk"})


def mix_features(features: dict[str, Tensor], mix: tuple[tuple[str, float], ...]) -> Tensor:
    """Weighted mean of the pictures' features; a single picture's are passed on untouched."""
    if len(mix) == 1:
        return features[mix[0][0]]
    return torch.stack([features[key] * weight for key, weight in mix]).sum(0)
