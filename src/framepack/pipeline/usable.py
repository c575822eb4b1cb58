"""Whether what a component hands on can be used. Damaged weights, and numbers beyond float16, end here in a sentence.

One reduction an output, where it is waited for anyway: encoders once a job, the VAE once a section.
"""

from typing import Literal

from torch import Tensor

from framepack.models.transfer import to_host
from framepack.pipeline.conditioning import Conditioning

Component = Literal["text encoders", "image encoder", "VAE's encoder", "VAE"]


class UnusableError(ValueError):
    """A component's output is not finite, or one number throughout; the message names it and the way out."""


def require_usable(component: Component, output: Tensor, model: str) -> None:
    """UnusableError unless the output is finite and not one number throughout, as no sound model's is."""
    low, high = (value.item() for value in to_host(output).aminmax())
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise UnusableError(
            f"the {component} made numbers that are not finite, so there would be nothing to see: look for damage with "
            f"`framepack models verify {model}`; where it finds none, use --dtype float32"
        )
    if low == high:
        raise UnusableError(
            f"the {component} made {low:g} throughout, so there would be nothing to see: its weights are damaged; "
            f"look for where with `framepack models verify {model}`"
        )


def check_conditioning(made: Conditioning, model: str) -> None:
    """UnusableError for what an encoder made of a prompt or picture."""
    for text in made.texts.values():
        require_usable("text encoders", text.text, model)
        require_usable("text encoders", text.pooled, model)
    for features in made.features.values():
        require_usable("image encoder", features, model)
    for latent in made.latents.values():
        require_usable("VAE's encoder", latent, model)
