"""What a request's files and prompts become: read into memory, then encoded."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from framepack.pipeline.beside import Clips
from framepack.pipeline.conditioning import Conditioning, encode, prompts_of
from framepack.pipeline.runner import Runner
from framepack.pipeline.sources import Sources, encode_sources
from framepack.pipeline.usable import check_conditioning
from framepack.spec.events import Event, Notice, StageStarted
from framepack.spec.plan import SectionPlan
from framepack.spec.request import GenerationRequest


class Material(NamedTuple):
    """What of a request was read from files: its pictures, (H, W, 3) by key, and its sources."""

    pictures: dict[str, np.ndarray]
    sources: Sources

    def shown(self, request: GenerationRequest) -> Clips:
        """The clips whose frames are in the file."""
        return {side: clip for side, clip in self.sources.clips.items() if side in request.beside}


def encoded(
    runner: Runner, request: GenerationRequest, sections: tuple[SectionPlan, ...], material: Material
) -> Generator[Event, None, Conditioning]:
    """What pictures, sources and prompts become."""
    conditioning = encode(runner, material.pictures, prompts_of(request, sections))
    latents = encode_sources(runner, request, material.sources, material.pictures)
    conditioning = replace(conditioning, latents=conditioning.latents | latents, sources=material.sources)
    check_conditioning(conditioning, request.model)
    yield from notices(conditioning)
    yield StageStarted(stage="prepare", message="preparing all steps")
    return conditioning


def notices(made: Conditioning) -> Iterator[Notice]:
    """What the encoders had to leave out, and, once for all prompts, what the model does not know."""
    for text in made.texts.values():
        if message := text.notice():
            yield Notice(message=message)
    if unknown := next((text.unknown for text in made.texts.values() if text.unknown), None):
        yield Notice(message=unknown)
