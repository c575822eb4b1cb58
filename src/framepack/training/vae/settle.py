"""What is done to a VAE's latents once it has been trained, so that a transformer finds them as it wants them.

A new one gets latents of size one. One whose encoder moved while a transformer stands on its latents gets these turned
back as near to the old ones as an affine map of the channels brings them; the decoder undoes the map. Both are exact:
no picture is coded otherwise. Boundary: the VAE's first and last 1x1x1 convolutions and its config.
"""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch import Tensor

from framepack.training.data.block_encoder import BlockEncoder


def measure_scale(vae: AutoencoderKLHunyuanVideo, clips: Tensor) -> None:
    """Register the factor that brings the latents of clips (N, 3, 1 + 4k, H, W) to size one, as the fit did."""
    encoder = BlockEncoder(vae)
    size = encoder.clip(clips).square().mean().sqrt()
    vae.register_to_config(scaling_factor=float(encoder.scaling_factor / size))


@torch.no_grad()
def turn_back(vae: AutoencoderKLHunyuanVideo, before: BlockEncoder, clips: Tensor) -> float:
    """Turn the latents to those `before` makes of clips (N, 3, 1 + 4k, H, W); every channel keeps its mean and spread.

    Returns the share of the old latents' variance that the new ones then explain, 0..1.
    """
    wanted, found = (_rows(encoder.clip(clips) / encoder.scaling_factor) for encoder in (before, BlockEncoder(vae)))
    centred = found - found.mean(0)
    turn = torch.linalg.lstsq(centred, wanted - wanted.mean(0)).solution.T
    turn = turn * (wanted.std(0) / (centred @ turn.T).std(0))[:, None]  # least squares alone would shrink them
    shift = wanted.mean(0) - turn @ found.mean(0)
    left = (wanted - (found @ turn.T + shift)).square().sum() / (wanted - wanted.mean(0)).square().sum()
    back, latents = torch.linalg.inv(turn), len(turn)
    first: Any = vae.quant_conv
    last: Any = vae.post_quant_conv
    weight, bias = first.weight[:latents].double(), first.bias[:latents].double()
    first.weight[:latents] = torch.einsum("ij,jcthw->icthw", turn, weight).to(first.weight.dtype)
    first.bias[:latents] = (turn @ bias + shift).to(first.bias.dtype)
    weight = torch.einsum("ojthw,ji->oithw", last.weight.double(), back)
    last.bias.sub_(torch.einsum("oithw,i->o", weight, shift).to(last.bias.dtype))
    last.weight.copy_(weight)
    return 1 - float(left)


def _rows(latents: Tensor) -> Tensor:
    """(N, C, t, h, w) -> (N t h w, C), float64."""
    return latents.movedim(1, -1).flatten(0, -2).double()
