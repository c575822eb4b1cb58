"""Latents of single moments that are made before the sections, as some of these begin from them or pass through them.

A still is the last latent of a window (`Variant.still_window`), placed as in inverted order. Where the prompt changes,
it is what the text before has come to, and the start picture of what follows: in inverted order sections, in both
orders other stills. A keyframe of less than full strength is noised and made anew from there, without seeing itself, as
a window of one latent: at strength 1 it is itself, towards 0 it is what the model shows at that time anyway (SDEdit,
arXiv 2108.01073). No tensors.
"""

from dataclasses import dataclass, replace

from framepack.spec.plan import beyond, start_at, still_width
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import (
    REACH,
    changes_of,
    image_mix,
    is_backward,
    keyframes_of,
    origin_of,
    prompt_at,
    still_from,
    view_of,
)
from framepack.spec.windows import EMPTY, Noise, Window, steered

EVENNESS = 1.5
"""Power of a keyframe's strength with which its nearness at its time rises evenly; measured, see docs/control.md."""
LEAST_NOISE = 0.001
"""A keyframe with less is the picture itself."""
SEEDS = 1 << 63


@dataclass(frozen=True, kw_only=True)
class Still(Window):
    """One latent, the last of its window, to be put into the latent bank under `key`.

    `level`: its share of noise at the begin, above 0 and at most 1; below 1 what the bank has under `key` is the rest.
    """

    key: str
    level: float = 1.0


def stills(request: GenerationRequest) -> tuple[Still, ...]:
    """In the order of time, in which each sees those before it."""
    keyframes, changes = keyframes_of(request), changes_of(request)
    levels = {g.latent: (g.key, 1 - g.strength**EVENNESS) for g in keyframes}
    wanted = {latent: (key, level) for latent, (key, level) in levels.items() if level > LEAST_NOISE}
    until = request.latent_count if is_backward(request) else max(wanted, default=0)
    begins = {change.latent for change in changes if change.latent < until} - {0, *levels}
    wanted |= {latent: (start_at((), latent), 1.0) for latent in begins}
    made = []
    for latent, (key, level) in sorted(wanted.items()):
        place = range(latent, latent + 1)
        origin, far = origin_of(changes, place), (REACH + 1) * request.window - 1
        width = still_width(request, latent - origin) if level == 1 else 1
        view = view_of(request, origin, latent + 1 - width, far)
        at, context = beyond(view, width, request.geometry, keyframes, origin)
        still = Still(
            key=key,
            level=level,
            latents=place,
            at=at,
            context=tuple(replace(span, source=EMPTY) if span.source == "history" else span for span in context),
            noise=Noise((request.seed + 1 + len(made)) % SEEDS),
            prompt=prompt_at(request, changes, place),
            still=latent >= still_from(request),
            image=image_mix(keyframes, place),
        )
        made.append(steered(still, request))
    return tuple(made)
