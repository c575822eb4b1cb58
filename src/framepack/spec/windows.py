"""What the sampler is given for a stretch of latents: where it lies, what it sees, under which text and noise.

Indices called `at` are RoPE time indices, counted afresh in each window. `steered` gives one the request's motion and
consistency. Knows nothing of tensors or models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

from framepack.spec.request import GenerationRequest

LEAST_MOTION, MOST_MOTION = 0.5, 1.22
"""Space between RoPE indices at motion -1 and 1; beyond it mini is over 1 dB farther from a true video so fast."""
NEIGHBOUR = "neighbour"
"""The bank's key of the section on a section's far side, which stays as it is."""
MOST_CONSISTENCY = 1.06
"""What the start picture's keys are multiplied by at consistency 2, and divided by at 0."""


EMPTY = "empty"
"""Source of a span that sees nothing: zeros, as before anything is made."""


class Noise(NamedTuple):
    """Where a section's noise comes from: of the generator of `seed`, the draw after `draw` others.

    Each draw before it has the size of one section's: those of the plan, in order.
    """

    seed: int
    draw: int = 0


class Said(NamedTuple):
    """A text for the text encoders, and whether it stands still where nothing in it is known; see `Window`.

    `others` are blended into it, each with its share; the text has what is left of 1.
    """

    text: str
    still: bool = False
    others: tuple[tuple[str, float], ...] = ()

    @property
    def alone(self) -> dict["Said", float]:
        """What the encoders read, and the shares."""
        shares = {Said(self.text, self.still): 1 - sum(share for _, share in self.others)}
        for text, share in self.others:
            one = Said(text, self.still)
            shares[one] = shares.get(one, 0.0) + share
        return shares


@dataclass(frozen=True, kw_only=True)
class ContextSpan:
    """Latents a section sees: from `source` ("history", EMPTY, or a key of the latent bank), compressed `scale` times.

    `take` counts from the history's growing edge (0 = nearest); a bank entry is one latent, `take` = range(1).
    `weight` scales its share in each softmax, `key_scale` its keys.
    """

    source: str
    take: range
    at: Sequence[float]
    scale: Literal[1, 2, 4]
    weight: float = 1.0
    key_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the sampler is given for `latents` of the timeline. `at` are the RoPE indices of the noisy window.

    A window may be wider than what is kept of it: then its first latents are left out.
    """

    latents: range
    at: Sequence[float]
    context: tuple[ContextSpan, ...]
    noise: Noise
    prompt: str
    still: bool = False
    """Whether a model of few words is to stand still where it knows nothing of the prompt, as neither a picture ahead
    nor a LoRA knows better."""
    blended: tuple[tuple[str, float], ...] = ()
    """Other prompts, near in time, and their shares."""
    image: tuple[tuple[str, float], ...]
    """Bank keys whose SigLIP features are mixed for this section, weights summing to 1."""

    @property
    def made(self) -> range:
        """The latents of the timeline that are made, of which `latents` are the last ones."""
        return range(self.latents.stop - len(self.at), self.latents.stop)

    @property
    def said(self) -> Said:
        """What the text encoders are to read."""
        return Said(self.prompt, self.still, self.blended)


W = TypeVar("W", bound=Window)


def steered(window: W, request: GenerationRequest, origin: int = 0) -> W:
    """The window as the request's motion and consistency have it. origin: see `spaced`."""
    return held(spaced(window, request.motion, origin), request.consistency)


def spaced(window: W, motion: float, origin: int) -> W:
    """The window with RoPE indices farther apart, or nearer: the model takes more or less time to have passed.

    Up to the index `origin` they stay: the start picture's; forward the oldest history's too, so that it remains
    behind the start.
    """
    if not motion:
        return window
    step = spacing(motion)

    def placed(at: Sequence[float]) -> tuple[float, ...]:
        return tuple(index if index <= origin else origin + step * (index - origin) for index in at)

    context = tuple(replace(span, at=placed(span.at)) for span in window.context)
    return replace(window, at=placed(window.at), context=context)


def spacing(motion: float) -> float:
    """Between neighbouring RoPE indices, for a motion bias of -1..1; 1 at 0."""
    return MOST_MOTION**motion if motion > 0 else LEAST_MOTION**-motion


def held(section: W, consistency: float) -> W:
    """The window with the start picture's keys scaled, and with another share of the image features for it."""
    if consistency == 1:
        return section
    scale = MOST_CONSISTENCY ** (consistency - 1)
    context = tuple(replace(span, key_scale=scale) if span is section.context[0] else span for span in section.context)
    weights = {key: weight * (consistency if key == "start" else 1.0) for key, weight in section.image}
    total = sum(weights.values()) or 1.0
    image = tuple((key, weight / total) for key, weight in weights.items() if weight > 1e-6 * total)
    return replace(section, context=context, image=image or section.image)


def single(source: str, at: int, weight: float = 1.0) -> ContextSpan:
    """One latent in full detail at RoPE index `at`."""
    return ContextSpan(source=source, take=range(1), at=range(at, at + 1), scale=1, weight=weight)
