"""The latents made so far, seen from the edge the video grows at. Knows neither variant nor section.

Only what a later section can still read is kept, so memory is constant in the video's length.
"""

from typing import Literal

import torch
from torch import Tensor


class History:
    """A window of `keep` latents (1, C, keep, h, w) in timeline order, zeros where nothing was made yet.

    Those zeros are real inputs of the model (FramePack, arXiv 2504.12626): a first section sees them as context.
    """

    def __init__(
        self, direction: Literal["backward", "forward"], like: Tensor, keep: int, begin: Tensor | None = None
    ) -> None:
        """like: a latent (1, C, t, h, w). begin: latents that are there already, in timeline order."""
        self.backward = direction == "backward"
        self.keep = keep
        self.latents = torch.zeros_like(like[:, :, :1]).repeat(1, 1, keep, 1, 1)
        if begin is not None:
            self.add(begin)

    def add(self, latents: Tensor) -> None:
        """Let (1, C, T, h, w) in timeline order join at the growing edge."""
        if self.backward:
            self.latents = torch.cat([latents, self.latents], 2)[:, :, : self.keep].clone()
        else:
            self.latents = torch.cat([self.latents, latents], 2)[:, :, -self.keep :].clone()

    def take(self, distances: range) -> Tensor:
        """The latents at these distances from the growing edge (0 = nearest), in the order asked for."""
        last = self.latents.shape[2] - 1
        return self.latents[:, :, [d if self.backward else last - d for d in distances]]

    def edge(self, count: int) -> Tensor:
        """The `count` latents nearest the growing edge, in timeline order: a clip to decode."""
        return self.latents[:, :, :count] if self.backward else self.latents[:, :, -count:]
