"""Corrects a trained VAE's latents so that they suit a transformer: their scale, or their alignment with older ones.

A new VAE gets latents of unit size. Where the encoder was trained further and a transformer already uses the old
latents, an affine map of the channels brings the new ones as near to the old ones as it can; the decoder undoes it.
Both are exact: no picture is coded otherwise. Boundary: the VAE's first and last 1x1x1 convolutions and its config.
"""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch import Tensor

from framepack.training.data.block_encoder import BlockEncoder


def measure_scaling_factor(vae: AutoencoderKLHunyuanVideo, clips: Tensor) -> None:
    """Register the factor that brings the latents of clips (N, 3, 1 + 4k, H, W) to unit size."""
    encoder = BlockEncoder(vae)
    size = encoder.clip(clips).square().mean().sqrt()
    vae.register_to_config(scaling_factor=float(encoder.scaling_factor / size))


@torch.no_grad()
def align_latents(vae: AutoencoderKLHunyuanVideo, old: BlockEncoder, clips: Tensor) -> float:
    """Map the latents to those of `old` for clips (N, 3, 1 + 4k, H, W); every channel has its old mean and deviation.

    Returns the share of the old latents' variance that the new ones then explain, 0..1.
    """
    target, source = (_rows(encoder.clip(clips) / encoder.scaling_factor) for encoder in (old, BlockEncoder(vae)))
    centred = source - source.mean(0)
    matrix = torch.linalg.lstsq(centred, target - target.mean(0)).solution.T
    matrix = matrix * (target.std(0) / (centred @ matrix.T).std(0))[:, None]  # least squares alone would shrink them
    shift = target.mean(0) - matrix @ source.mean(0)
    residual = (target - (source @ matrix.T + shift)).square().sum() / (target - target.mean(0)).square().sum()
    inverse, latents = torch.linalg.inv(matrix), len(matrix)
    first: Any = vae.quant_conv
    last: Any = vae.post_quant_conv
    weight, bias = first.weight[:latents].double(), first.bias[:latents].double()
    first.weight[:latents] = torch.einsum("ij,jcthw->icthw", matrix, weight).to(first.weight.dtype)
    first.bias[:latents] = (matrix @ bias + shift).to(first.bias.dtype)
    weight = torch.einsum("ojthw,ji->oithw", last.weight.double(), inverse)
    last.bias.sub_(torch.einsum("oithw,i->o", weight, shift).to(last.bias.dtype))
    last.weight.copy_(weight)
    return 1 - float(residual)


def _rows(latents: Tensor) -> Tensor:
    """(N, C, t, h, w) -> (N t h w, C), float64."""
    return latents.movedim(1, -1).flatten(0, -2).double()
