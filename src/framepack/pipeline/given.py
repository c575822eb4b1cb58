"""What a section is given of its own latents before it is made: a video to be restyled, what stands still."""

from bisect import bisect_right

import torch
import torch.nn.functional as F
from torch import Tensor

from framepack.models.transfer import to_device
from framepack.pipeline.conditioning import Conditioning
from framepack.sampling import Denoiser, make_sigmas
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import keyframes_of
from framepack.spec.windows import Window


def sigmas_of(request: GenerationRequest, tokens: int) -> Tensor:
    """Noise levels of a section's steps, (steps + 1,); a video that is restyled has less noise at first."""
    first = request.strength if request.task == "restyle" else 1.0
    return make_sigmas(request.steps, tokens, request.shift, first)


class Given:
    """Of one job."""

    def __init__(self, request: GenerationRequest, conditioning: Conditioning, device: torch.device) -> None:
        self.request, self.device = request, device
        self.latents, self.sources = conditioning.latents, conditioning.sources
        self.mask: Tensor | None = None
        if self.sources.mask is not None:
            rows, columns = conditioning.latents["start"].shape[-2:]
            mask = F.adaptive_avg_pool2d(torch.from_numpy(self.sources.mask)[None, None], (rows, columns))
            self.mask = mask[:, :, None].to(device)
        self.keyframes = keyframes_of(request)

    def begun(self, section: Window, noise: Tensor, sigma: float) -> Tensor:
        """The latents a section begins with at the first noise level: x = (1 - s) z + s e where a video is restyled."""
        if self.request.task != "restyle":
            return noise
        return (1 - sigma) * self.base(section) + sigma * noise

    def held(self, section: Window, denoiser: Denoiser) -> Denoiser:
        """The denoiser that keeps z outside the mask: x0 = m x0 + (1 - m) z.

        A sampler's step is linear and takes a constant x0 to (1 - s) z + s e, so each step is that outside.
        """
        if self.mask is None:
            return denoiser
        mask, base = self.mask, self.base(section)
        return lambda x, step: mask * denoiser(x, step) + (1 - mask) * base

    def kept(self, section: Window, latents: Tensor) -> Tensor:
        """A section's latents that were changed since, with z outside the mask."""
        if self.mask is None:
            return latents
        return self.mask * latents + (1 - self.mask) * self.base(section)[:, :, -latents.shape[2] :]

    def base(self, section: Window) -> Tensor:
        """z of all the window makes, (1, C, T, h, w): of the restyled video, else of the pictures standing still."""
        if "source" in self.latents:
            return to_device(self.latents["source"][:, :, list(section.made)], self.device)
        return torch.cat([self._still(latent) for latent in section.made], dim=2)

    def _still(self, latent: int) -> Tensor:
        """One latent of the start that stands still; between keyframes, which a mask does not hold, mixed by time."""
        place = bisect_right(self.keyframes, latent, key=lambda keyframe: keyframe.latent)
        key, since = (self.keyframes[place - 1].key, self.keyframes[place - 1].latent) if place else ("start", 0)
        still = self.latents[f"standing:{key}"]
        if place < len(self.keyframes):
            future = self.keyframes[place]
            share = future.strength * (latent - since) / (future.latent - since)
            still = still.lerp(self.latents[f"standing:{future.key}"], share)
        return still
