"""Whether what a component hands on can be used. Damaged weights, and numbers beyond float16, end here in a sentence.

One reduction an output, where it is waited for anyway: encoders once a job, the VAE once a section.
"""

from typing import Literal

from torch import Tensor

from framepack.models.transfer import to_host
from framepack.pipeline.conditioning import Conditioning

Component = Literal["text encoders", "image encoder", "VAE's encoder", "VAE"]


class UnusableError(ValueError):
    """A component's output is not finite, or one number everywhere. The message names it and the fix."""


def require_usable(component: Component, output: Tensor, model: str) -> None:
    """Raise UnusableError for an output that is not finite or one number everywhere: the weights are damaged then."""
    low, high = (value.item() for value in to_host(output).aminmax())
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise UnusableError(
            f"the {component}'s output is not finite, so there would be nothing to see: look for damage with "
            f"`framepack models verify {model}`. If there is none, use --dtype float32"
        )
    if low == high:
        raise UnusableError(
            f"the {component}'s output is {low:g} everywhere, so there would be nothing to see: its weights are "
            f"damaged. Find the file with `framepack models verify {model}`"
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
