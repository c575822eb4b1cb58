"""The section before, as the model itself makes it: what a long video's next section truly has to go on from.

Trained on true histories alone a model never meets its own softness and its own small errors, and each section adds to
those of the last (exposure bias; cf. self forcing, arXiv 2506.08009). Boundary: samples without gradients, in the
order and with the context that generation has; the loss is `training.loss`'s.
"""

import torch
from torch import Generator, Tensor

from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.models.packing import ContextLatents
from framepack.sampling import x0_of
from framepack.sampling.schedule import make_sigmas
from framepack.sampling.unipc import unipc
from framepack.training.data.clips import ClipBatch
from framepack.training.transformer.loss import draw_normal
from framepack.training.transformer.towers import Features

GUIDANCE = 10_000.0
"""distilled guidance times 1000, as generation has it by default"""
STEPS = (3, 6)
"""fewest and most steps of a sampling; generation takes more, but these tell little by little less"""
ASTRAY = 0.5
"""share of the way from the start to the true section by which what was made may be off"""


def with_own_history(
    model: HunyuanVideoTransformer3DModelPacked, features: Features, batch: ClipBatch, random: Generator
) -> ClipBatch:
    """The batch with its rehearsed window as the model makes it, where that is near the truth; else with the true one.

    What went astray would teach to jump back at a section's edge.
    """
    if batch.rehearsed is None:
        return batch
    true, start = batch.rehearsed.noisy, batch.context[0][:, :, :1]
    made = _sample(model, features, batch.rehearsed, random)
    near = _distance(made, true) < ASTRAY * _distance(start, true)
    return batch.knowing(torch.where(near, made, true))


@torch.no_grad()
def _sample(
    model: HunyuanVideoTransformer3DModelPacked, features: Features, batch: ClipBatch, random: Generator
) -> Tensor:
    """The window of a batch, (B, C, T, h, w) float32."""
    count, _, frames, height, width = batch.noisy.shape
    steps = int(torch.randint(STEPS[0], STEPS[1] + 1, (), generator=random))
    sigmas = make_sigmas(steps, frames * height * width // 4)
    levels = sigmas[:-1].to(batch.noisy.device)
    guidance = torch.full((count,), GUIDANCE, device=levels.device)
    table = model.condition(1000 * levels, guidance, features.pooled, features.text, None, features.image)
    context = [
        ContextLatents(latents=latents, at=part.at, scale=part.scale)  # pyright: ignore[reportArgumentType]
        for part, latents in zip(batch.section.context, batch.context, strict=True)
    ]
    packed = model.pack(context, batch.section.noisy_at, (frames, height, width))

    def denoise(x: Tensor, step: int) -> Tensor:
        return x0_of(x, model(x, table.step(step), packed), float(sigmas[step]))

    *_, last = unipc(denoise, draw_normal(batch.noisy, random), sigmas)
    return last.denoised


def _distance(made: Tensor, true: Tensor) -> Tensor:
    return (made - true).square().mean(dim=(1, 2, 3, 4), keepdim=True)
