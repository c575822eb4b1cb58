"""Scheduled sampling: a section's history as the model itself generates it, which is what a long video continues from.

Trained on true histories alone a model never meets its own softness and small errors, and each section adds to those of
the last (exposure bias; cf. self forcing, arXiv 2506.08009). Boundary: samples without gradients, in the order and with
the context of generation; the loss is `loss`'s.
"""

import torch
from torch import Generator, Tensor

from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.sampling import x0_of
from framepack.sampling.schedule import make_sigmas
from framepack.sampling.unipc import unipc
from framepack.training.data.clips import ClipBatch
from framepack.training.transformer.loss import context_latents, draw_normal
from framepack.training.transformer.towers import Features

GUIDANCE = 10_000.0
"""distilled guidance times 1000, as generation has it by default"""
STEPS = (3, 6)
"""fewest and most steps of a sampling; more of them, as in generation, change little"""
LARGEST_ERROR = 0.5
"""of what was generated, as a share of the true section's distance from the start"""


def with_generated_history(
    model: HunyuanVideoTransformer3DModelPacked, features: Features, batch: ClipBatch, random: Generator
) -> ClipBatch:
    """The batch with its previous window as the model generates it, or the true one where that is too far from it.

    Too large an error would teach the model to jump back at a section's edge.
    """
    if batch.previous is None:
        return batch
    true, start = batch.previous.noisy, batch.context[0][:, :, :1]
    generated = _sample(model, features, batch.previous, random)
    near = _distance(generated, true) < LARGEST_ERROR * _distance(start, true)
    return batch.with_history(torch.where(near, generated, true))


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
    packed = model.pack(context_latents(batch), batch.section.noisy_at, (frames, height, width))

    def denoise(x: Tensor, step: int) -> Tensor:
        return x0_of(x, model(x, table.step(step), packed), float(sigmas[step]))

    *_, last = unipc(denoise, draw_normal(batch.noisy, random), sigmas)
    return last.denoised


def _distance(latents: Tensor, true: Tensor) -> Tensor:
    return (latents - true).square().mean(dim=(1, 2, 3, 4), keepdim=True)
