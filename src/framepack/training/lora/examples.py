"""From a clip's latents to one thing to learn: a section's clean latents and the context inference would give it.

The plan is the pipeline's own (`spec.plan`) and so is the history, so a LoRA is trained on exactly the layouts it will
be used in, whatever the variant. Boundary: latents and indices; no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from framepack.models.packing import ContextLatents
from framepack.pipeline.history import History
from framepack.spec.geometry import HUNYUAN
from framepack.spec.picture import Picture
from framepack.spec.plan import SectionPlan, plan
from framepack.spec.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Example:
    """One section of one clip."""

    clean: Tensor
    """(1, C, T, h, w): what is to be made."""
    at: Sequence[float]
    """RoPE indices of its latents."""
    context: list[ContextLatents]
    sees_image: bool
    """False for pictures: these are drawn from the caption alone, without start latent and image features."""


def sections_of(model: str, latents: int, window: int) -> tuple[SectionPlan, ...]:
    """The plan of a clip of `latents` latents, the first frame's included; a shorter one is one section."""
    window = min(window, max(latents - 1, 1))
    count = max((latents - 1) // window, 1)
    seconds = count * window * HUNYUAN.temporal / HUNYUAN.fps
    return plan(
        GenerationRequest(
            image=Picture(file=Path("clip")), model=model, seconds=seconds, window=window, length="sections"
        )
    )


def example(sections: tuple[SectionPlan, ...], index: int, latents: Tensor) -> Example:
    """Section `index` (in the order of making) of a clip's latents (1, C, 1 + k, h, w), its history the true one.

    A picture (one latent) is the only latent of its section, and its start is empty.
    """
    is_picture = latents.shape[2] == 1
    start = torch.zeros_like(latents) if is_picture else latents[:, :, :1]
    timeline = torch.cat([start, latents], dim=2) if is_picture else latents
    section = sections[index]
    history = History(section.direction, start, max(HUNYUAN.history, *(s.decode_latents for s in sections)))
    for made in sections[:index]:
        _add_anchors(history, made.before, start)
        history.add(_window(timeline, made))
    _add_anchors(history, section.before, start)
    context = [
        ContextLatents(
            latents=history.take(span.take) if span.source == "history" else start, at=span.at, scale=span.scale
        )
        for span in section.context
    ]
    return Example(clean=_window(timeline, section), at=section.at, context=context, sees_image=not is_picture)


def _window(timeline: Tensor, section: SectionPlan) -> Tensor:
    return timeline[:, :, section.latents.start : section.latents.stop]


def _add_anchors(history: History, anchors: tuple, start: Tensor) -> None:
    for _ in anchors:
        history.add(start)
